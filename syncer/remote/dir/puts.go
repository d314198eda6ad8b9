package dir

import (
	"context"
	"encoding/hex"
	"fmt"

	"golang.org/x/sys/unix"

	"vdfs/internal/digest"
	"vdfs/internal/fault"
	"vdfs/syncer/remote"
)

// putsMax is how many files share a PutAll. Each has two descriptors.
const putsMax = 64

// puts are files on their way into the tree, each step of Put done for all of them before the next: so they share what makes
// them durable. One that fails is left out of what follows.
type puts struct {
	d      *Endpoint
	r      dirFD
	all    []*put
	dirs   map[remote.ItemID]dirFD // of new files
	proven bool                    // what is stored is read back before it gets its name
}

type put struct {
	u     *remote.Upload
	at    spot
	tmp   *temp // nil: not written yet
	entry remote.Entry
	err   error
}

func newPuts(d *Endpoint, r dirFD, all []*remote.Upload) *puts {
	g := &puts{d: d, r: r, dirs: make(map[remote.ItemID]dirFD)}
	for _, u := range all {
		g.all = append(g.all, &put{u: u})
	}
	return g
}

func (g *puts) close() {
	for _, p := range g.all {
		if p.tmp != nil {
			p.tmp.discard()
		}
		p.at.trash.close()
		p.at.dir.close()
	}
	for _, fd := range g.dirs {
		fd.close()
	}
}

// each does a step for all that have not failed. What fails is said to have failed at that.
func (g *puts) each(what string, step func(*put) error) {
	for _, p := range g.all {
		if p.err != nil {
			continue
		}
		if err := step(p); err != nil {
			p.entry, p.err = remote.Entry{}, fail(what, err)
		}
	}
}

// together is each for what is done once for all of them.
func (g *puts) together(what string, fds func(*put) []int, step func(fds ...int) error) {
	var all []int
	g.each(what, func(p *put) error {
		all = append(all, fds(p)...)
		return nil
	})
	if len(all) == 0 {
		return
	}
	err := step(all...)
	g.each(what, func(*put) error { return err })
}

// run does the steps of Put.
func (g *puts) run(ctx context.Context) {
	d := g.d
	g.each("put file", func(p *put) error {
		at, err := g.target(p.u)
		if err != nil {
			return err
		}
		p.at = at
		if p.tmp, err = d.spool(ctx, g.r, p.at, p.u, g.proven); err != nil {
			return err
		}
		return fault.Point(faultSpooled)
	})
	g.together("sync file", func(p *put) []int { return []int{p.tmp.fd} }, d.data.commit)
	if g.proven {
		g.readBack(ctx)
	}
	g.each("put file", func(p *put) error {
		if err := fault.Point(faultSynced); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		d.watch.begin(p.at.parent, p.at.leaf)
		if p.u.ID == "" {
			return d.publishNew(ctx, g.r, p.at, p.tmp)
		}
		return d.publishOver(ctx, g.r, &p.at, p.tmp, p.u.Pre)
	})
	g.together("put file", func(p *put) []int {
		if p.at.trash.own {
			return []int{p.at.dir.fd, p.at.trash.fd}
		}
		return []int{p.at.dir.fd}
	}, d.settle)
	g.each("put file", func(p *put) (err error) {
		if err = fault.Point(faultWritten); err == nil {
			p.entry, err = d.written(p.tmp, p.at)
		}
		return err
	})
}

// target is Endpoint.target, with one descriptor for all new files of a directory.
func (g *puts) target(u *remote.Upload) (t spot, err error) {
	dir, known := g.dirs[u.Parent]
	if u.ID != "" || !known {
		t, err = g.d.target(g.r, u)
		if err == nil && u.ID == "" {
			g.dirs[u.Parent] = t.dir
			t.dir.own = false
		}
		return t, err
	}
	t = spot{dir: dirFD{fd: dir.fd, dev: dir.dev}, leaf: u.Name} // borrowed
	a, err := parseID(u.Parent)
	if t.parent = a.Path; err == nil {
		err = checkName(t.parent, t.leaf)
	}
	if err == nil {
		err = g.d.vacant(t)
	}
	return t, err
}

// PutAll implements remote.Gatherer. Between 2 and 3 of Put the bytes are read back, past the page cache where the system allows,
// through the descriptors that wrote them, which nobody else has.
func (d *Endpoint) PutAll(ctx context.Context, all []*remote.Upload) []remote.Stored {
	out := make([]remote.Stored, len(all))
	r, err := d.begin(ctx)
	if err != nil {
		for i := range out {
			out[i].Err = fmt.Errorf("put file: %w", err)
		}
		return out
	}
	defer r.close()
	g := newPuts(d, r, all)
	defer g.close()
	g.proven = true
	g.run(ctx)
	for i, p := range g.all {
		out[i] = remote.Stored{Entry: p.entry, Proof: remote.ProofRead, Err: p.err}
		if p.err != nil {
			out[i].Proof = remote.ProofNone
		}
	}
	return out
}

// readBack proves what is stored. The disk is asked for all small files before any is waited for; a large one is read ahead of by
// the kernel, which would read all of it at once if it were asked.
func (g *puts) readBack(ctx context.Context) {
	advise := func(p *put, advice int) {
		if err := unix.Fadvise(p.tmp.fd, 0, 0, advice); err != nil {
			g.d.log.Debug("page cache not dropped", "error", err)
		}
	}
	g.each("", func(p *put) error {
		advise(p, unix.FADV_DONTNEED)
		return nil
	})
	g.each("", func(p *put) error {
		if p.tmp.facts.size <= chunk {
			advise(p, unix.FADV_WILLNEED)
		}
		return nil
	})
	g.each("prove file", func(p *put) error {
		sum, err := hashOf(ctx, p.tmp.fd, p.tmp.facts.size)
		if err == nil && sum != p.tmp.hash {
			err = remote.ErrCorrupt
		}
		return err
	})
}

// hashOf is the BLAKE3 of an open file.
func hashOf(ctx context.Context, fd int, size int64) (string, error) {
	buffers := buffersFor(size)
	p := buffers.Get().(*[]byte)
	defer buffers.Put(p)
	sum, err := digest.Of(size, *p, func(b []byte, off int64) error { return readFull(ctx, fd, b, off) })
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(sum[:]), nil
}

// readFull reads what a file has to have there, and tells of its progress.
func readFull(ctx context.Context, fd int, b []byte, off int64) error {
	for len(b) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := 0
		err := retry(func() (err error) {
			n, err = unix.Pread(fd, b, off)
			return err
		})
		if err == nil && n == 0 { // shorter than it was
			err = remote.ErrChanged
		}
		if err != nil {
			return err
		}
		remote.Progress(ctx)
		b, off = b[n:], off+int64(n)
	}
	return nil
}
