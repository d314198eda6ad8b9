package remotetest

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"vdfs/syncer/remote"
)

var createCases = []test{
	{"a file of any size comes back as it was put", nil, func(e *env) {
		for _, n := range []int{0, 1, 4095, 4096, 4097, 1<<20 - 1, 1 << 20, 1<<20 + 1, 5<<20 + 17} {
			data := pattern(n, 3)
			f := e.put(fmt.Sprintf("f%d", n), data)
			same(e, "size", f.Size, int64(n))
			now := e.stat(f.ID)
			same(e, "tag of stat", now.Tag, f.Tag)
			same(e, "content of stat", now.Content, f.Content)
			same(e, "name", now.Name, f.Name)
			if h := f.Hashes[remote.BLAKE3]; h != "" {
				same(e, "hash", h, blake(data))
			}
			got, err := e.read(e.ep, f.ID, f.Content, 0, -1)
			e.ok(err)
			if got != data {
				e.Fatalf("%d bytes came back as other bytes", n)
			}
		}
	}},
	{"a create on a taken name leaves the old file", nil, func(e *env) {
		e.put("f", "old")
		e.mkdir(e.root, "d")
		for _, name := range []string{"f", "d"} {
			_, err := e.ep.Put(e.ctx, creation(e.root, name, "new"))
			e.is(err, remote.ErrExists)
		}
		e.tree("f", "old", "d/", "")
	}},
	{"a create needs a directory", nil, func(e *env) {
		d := e.mkdir(e.root, "d")
		e.ok(e.ep.Delete(e.ctx, d.ID, remote.Pre{Empty: true}, ""))
		_, err := e.ep.Put(e.ctx, creation(d.ID, "f", "x"))
		e.is(err, remote.ErrNotFound)
		f := e.put("f", "x")
		_, err = e.ep.Put(e.ctx, creation(f.ID, "g", "x"))
		e.is(err, remote.ErrKind)
	}},
	{"of eight creates of one name one wins", need("Create", func(c *remote.Caps) bool { return c.Create == remote.Atomic }), func(e *env) {
		won, bodies := e.race(func(ep remote.Endpoint, data string) error {
			_, err := ep.Put(e.ctx, creation(e.root, "f", data))
			return err
		}, remote.ErrExists)
		same(e, "winners", won, 1)
		same(e, "files", len(bodies), 1)
	}},
	{"mtime and permissions are kept as far as the endpoint can", nil, func(e *env) {
		for _, mode := range []uint32{0o644, 0o755, 0o600} {
			u := creation(e.root, fmt.Sprintf("f%o", mode), "x")
			u.Attr = remote.Attr{Mtime: time.Date(2001, 2, 3, 4, 5, 6, 123456789, time.UTC), Mode: mode}
			f, err := e.ep.Put(e.ctx, u)
			e.ok(err)
			if g := e.caps.MtimeGrain; g > 0 {
				same(e, "mtime", f.Mtime.Truncate(g).UTC(), u.Attr.Mtime.Truncate(g))
				same(e, "mtime of stat", e.stat(f.ID).Mtime.UTC(), f.Mtime.UTC())
			}
			same(e, "mode", e.caps.Perm.Keep(f.Mode), e.caps.Perm.Keep(mode))
		}
	}},
}

// race runs eight writers over both sessions; all but the winners must get
// lost. It returns how many won and what the root then holds.
func (e *env) race(write func(ep remote.Endpoint, data string) error, lost ...error) (int, map[string]string) {
	e.Helper()
	type result struct {
		data string
		err  error
	}
	start, results := make(chan struct{}), make(chan result, 8)
	for i := range 8 {
		ep := e.ep
		if i%2 == 1 {
			ep = e.other
		}
		data := strings.Repeat(fmt.Sprint(i), 5000)
		go func() {
			<-start
			results <- result{data, write(ep, data)}
		}()
	}
	close(start)
	won, winner := 0, ""
	for range 8 {
		if r := <-results; r.err == nil {
			won, winner = won+1, r.data
		} else {
			e.is(r.err, lost...)
		}
	}
	tree := e.h.Direct.Tree(e.T)
	if got, is := tree["f"]; is && won == 1 {
		same(e, "content", got, winner)
	}
	return won, tree
}

var replaceCases = []test{
	{"a replace with the right tag changes tag and content", nil, func(e *env) {
		f := e.put("f", "old")
		g, err := e.ep.Put(e.ctx, replacement(f, "newer"))
		e.ok(err)
		if g.Tag == f.Tag || g.Content == f.Content {
			e.Fatalf("tokens stayed: %v, %v", f, g)
		}
		same(e, "id", g.ID, f.ID)
		same(e, "tag of stat", e.stat(g.ID).Tag, g.Tag)
		e.tree("f", "newer")
		e.kept(e.caps.Versions, "old")
	}},
	{"a replace with a stale tag changes nothing", nil, func(e *env) {
		f := e.put("f", "old")
		_, err := e.other.Put(e.ctx, replacement(f, "theirs"))
		e.ok(err)
		_, err = e.ep.Put(e.ctx, replacement(f, "ours"))
		e.is(err, remote.ErrPrecondition)
		u := replacement(f, "ours")
		u.Pre = remote.Pre{Content: f.Content}
		_, err = e.ep.Put(e.ctx, u)
		e.is(err, remote.ErrPrecondition)
		e.tree("f", "theirs")
	}},
	{"a replace that expects nothing is refused", nil, func(e *env) {
		f := e.put("f", "old")
		u := replacement(f, "new")
		u.Pre = remote.Pre{}
		_, err := e.ep.Put(e.ctx, u)
		e.is(err, remote.ErrPrecondition)
		_, err = e.ep.Update(e.ctx, f.ID, remote.Patch{Name: ptr("g")}, remote.Pre{}, "")
		e.is(err, remote.ErrPrecondition)
		e.is(e.ep.Delete(e.ctx, f.ID, remote.Pre{}, ""), remote.ErrPrecondition)
		e.tree("f", "old")
	}},
	{"a replace by force needs no expectation", nil, func(e *env) {
		f := e.put("f", "old")
		u := replacement(f, "new")
		u.Pre = remote.Pre{Force: true}
		_, err := e.ep.Put(e.ctx, u)
		e.ok(err)
		e.tree("f", "new")
	}},
	{"of eight replaces with one tag one wins", need("Replace", func(c *remote.Caps) bool { return c.Replace == remote.Atomic }), func(e *env) {
		f := e.put("f", "old")
		won, _ := e.race(func(ep remote.Endpoint, data string) error {
			_, err := ep.Put(e.ctx, replacement(f, data))
			return err
		}, remote.ErrPrecondition)
		same(e, "winners", won, 1)
	}},
	{"a replace of a deleted file creates nothing", nil, func(e *env) {
		f := e.put("f", "old")
		e.ok(e.other.Delete(e.ctx, f.ID, remote.Pre{Tag: f.Tag}, ""))
		_, err := e.ep.Put(e.ctx, replacement(f, "new"))
		e.is(err, remote.ErrPrecondition, remote.ErrNotFound)
		e.tree()
	}},
	{"a replace of a directory is refused", nil, func(e *env) {
		d := e.mkdir(e.root, "d")
		_, err := e.ep.Put(e.ctx, replacement(d, "new"))
		e.is(err, remote.ErrKind)
		e.tree("d/", "")
	}},
	{"a replace overtaken while its body is sent loses", nil, func(e *env) {
		f := e.put("f", "old")
		data := pattern(4<<20, 2)
		u := replacement(f, data)
		u.Body = &body{data: data, half: func() error {
			_, err := e.other.Put(e.ctx, replacement(f, "theirs"))
			return err
		}}
		_, err := e.ep.Put(e.ctx, u)
		e.is(err, remote.ErrPrecondition)
		e.tree("f", "theirs")
	}},
	{"a replace overtaken by a write behind the endpoint loses nothing", nil, func(e *env) {
		f := e.put("f", "old")
		data := pattern(4<<20, 2)
		u := replacement(f, data)
		u.Body = &body{data: data, half: func() error {
			e.h.Direct.Write(e.T, "f", "written in place")
			return nil
		}}
		_, err := e.ep.Put(e.ctx, u)
		e.is(err, remote.ErrPrecondition)
		e.tree("f", "written in place")
	}},
	{"a create overtaken while its body is sent loses", nil, func(e *env) {
		data := pattern(4<<20, 2)
		u := creation(e.root, "f", data)
		u.Body = &body{data: data, half: func() error {
			_, err := e.other.Put(e.ctx, creation(e.root, "f", "theirs"))
			return err
		}}
		_, err := e.ep.Put(e.ctx, u)
		e.is(err, remote.ErrExists)
		e.tree("f", "theirs")
	}},
	{"a tag is good at once after a write", nil, func(e *env) {
		f := e.put("f", "0")
		for i := range 20 {
			var err error
			f, err = e.ep.Put(e.ctx, replacement(f, fmt.Sprint(i)))
			e.ok(err)
		}
		e.tree("f", "19")
	}},
	{"a change of metadata breaks the tag and not the content", need("Perm", func(c *remote.Caps) bool { return c.Perm != remote.PermNone }), func(e *env) {
		f := e.put("f", "old")
		g, err := e.other.Update(e.ctx, f.ID, remote.Patch{Mode: ptr(uint32(0o755))}, remote.Pre{Tag: f.Tag}, "")
		e.ok(err)
		if g.Tag == f.Tag {
			e.Fatal("the tag stayed")
		}
		same(e, "content", g.Content, f.Content)
		_, err = e.ep.Put(e.ctx, replacement(f, "new"))
		e.is(err, remote.ErrPrecondition)
		u := replacement(f, "new")
		u.Pre = remote.Pre{Content: f.Content}
		_, err = e.ep.Put(e.ctx, u)
		e.ok(err)
		e.tree("f", "new")
	}},
	{"a reader during replaces sees whole versions only", need("AtomicPut", func(c *remote.Caps) bool { return c.AtomicPut }), func(e *env) {
		f := e.put("f", strings.Repeat("0", 100_000))
		id, stop, bad := f.ID, make(chan struct{}), make(chan error, 1)
		go func() { bad <- e.readWhole(id, stop) }()
		for i := range 60 {
			var err error
			f, err = e.ep.Put(e.ctx, replacement(f, strings.Repeat(string(rune('a'+i%26)), 100_000)))
			e.ok(err)
		}
		close(stop)
		e.ok(<-bad)
	}},
}

// readWhole reads a file over and over until stop; each read must give one
// version whole, or say that the content changed.
func (e *env) readWhole(id remote.ItemID, stop chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		data, err := e.read(e.other, id, "", 0, -1)
		if errors.Is(err, remote.ErrChanged) {
			continue
		}
		if err != nil {
			return err
		}
		if len(data) != 100_000 || strings.Count(data, data[:1]) != len(data) {
			return fmt.Errorf("a mix of %d bytes", len(data))
		}
	}
}

var bodyCases = []test{
	{"an aborted replace leaves the old version and no litter", nil, func(e *env) {
		f := e.put("f", "old")
		broken := errors.New("cut")
		for _, u := range []*remote.Upload{replacement(f, pattern(4<<20, 2)), creation(e.root, "g", pattern(4<<20, 2))} {
			u.Body = &body{data: pattern(4<<20, 2), half: func() error { return broken }}
			_, err := e.ep.Put(e.ctx, u)
			e.is(err, broken)
		}
		e.tree("f", "old")
		e.open(e.h.Open)
		if l := e.h.Direct.Litter(e.T); len(l) > 0 {
			e.Fatalf("left behind: %q", l)
		}
	}},
	{"a body of another length is not published", nil, func(e *env) {
		f := e.put("f", "old")
		for _, d := range []int64{-1, 1} {
			u := creation(e.root, "g", "12345")
			u.Size, u.Hashes = u.Size+d, nil
			if _, err := e.ep.Put(e.ctx, u); err == nil {
				e.Fatalf("a body that is %d off was taken", d)
			}
			u.ID, u.Pre = f.ID, remote.Pre{Tag: f.Tag}
			if _, err := e.ep.Put(e.ctx, u); err == nil {
				e.Fatalf("a body that is %d off was taken", d)
			}
		}
		e.tree("f", "old")
	}},
	{"a body with another hash is not published", nil, func(e *env) {
		f := e.put("f", "old")
		u := creation(e.root, "g", "data")
		u.Hashes[remote.BLAKE3] = blake("other")
		_, err := e.ep.Put(e.ctx, u)
		e.is(err, remote.ErrCorrupt)
		u.ID, u.Pre = f.ID, remote.Pre{Tag: f.Tag}
		_, err = e.ep.Put(e.ctx, u)
		e.is(err, remote.ErrCorrupt)
		e.tree("f", "old")
	}},
	{"progress is told up to the size", nil, func(e *env) {
		u := creation(e.root, "f", pattern(3<<20, 1))
		var last int64
		u.Sent = func(n int64) {
			if n < last {
				e.Errorf("progress went back from %d to %d", last, n)
			}
			last = n
		}
		_, err := e.ep.Put(e.ctx, u)
		e.ok(err)
		same(e, "progress", last, u.Size)
	}},
	{"an unknown resume token starts over", nil, func(e *env) {
		u := creation(e.root, "f", "data")
		u.Key, u.Resume = "k", []byte("from another world")
		_, err := e.ep.Put(e.ctx, u)
		e.ok(err)
		e.tree("f", "data")
	}},
	{"a put without free space fails whole", nil, func(e *env) {
		f := e.put("f", "old")
		if e.h.LimitSpace == nil {
			e.Skip("the harness cannot limit the space")
		}
		e.h.LimitSpace(e.T, 1<<20)
		_, err := e.ep.Put(e.ctx, creation(e.root, "g", pattern(8<<20, 1)))
		e.is(err, remote.ErrQuota)
		_, err = e.ep.Put(e.ctx, replacement(f, pattern(8<<20, 1)))
		e.is(err, remote.ErrQuota)
		e.tree("f", "old")
	}},
	{"a put larger than the endpoint takes is refused", need("MaxSize", func(c *remote.Caps) bool { return c.MaxSize > 0 && c.MaxSize < 1<<30 }), func(e *env) {
		u := creation(e.root, "f", "")
		u.Size, u.Hashes = e.caps.MaxSize+1, nil
		u.Body = io.NewSectionReader(zeros{}, 0, u.Size)
		_, err := e.ep.Put(e.ctx, u)
		e.is(err, remote.ErrTooLarge)
		e.tree()
	}},
}

type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}
