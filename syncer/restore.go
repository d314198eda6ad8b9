package syncer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"vdfs/cache"
	"vdfs/internal/wait"
	"vdfs/syncer/remote"
)

// A version is restored in this order: its bytes are brought here beside what the path has, then one transaction gives it the
// path and puts what that had into the drive's trash. From then on it is a change like any other. A kill before the
// transaction leaves the path as it was.

// RestoreRequest says what a path is to have again.
type RestoreRequest struct {
	Path    string // in the drive
	Version int    // as Versions counts them, from 1; 0: the newest
	At      int64  // what it had then, in nanoseconds since 1970, instead of a version; 0: no time
	To      string // another path to put it at, or a directory to put what was in it; "": its own
}

// Restoration is what came of a RestoreRequest.
type Restoration struct {
	Version Version // of a file, or the first of those in a directory
	Files   int64   // restored
	Bytes   int64   // theirs
	Same    int64   // files that had that content already
	Failed  []FailedPath
}

// FailedPath is a file that was left as it is.
type FailedPath struct {
	Path string
	Err  error
}

const (
	restoreTries    = 5 // looks at what moves away while it is restored
	restoreParallel = 4 // files of a directory at once
	settling        = 20 * time.Millisecond
	settlings       = 250
)

// Restore gives a path, or what was deleted in a directory, a version that it had. What the path has now goes to the drive's
// trash. told is called as bytes come, with how many of how many; it may be nil.
func (e *Engine) Restore(ctx context.Context, r RestoreRequest, told func(done, total int64)) (*Restoration, error) {
	out := &Restoration{}
	p := &came{told: told}
	fail := func(err error) (*Restoration, error) { return out, fmt.Errorf("restore %s: %w", r.Path, err) }
	if err := e.mayRestore(cmp.Or(r.To, r.Path)); err != nil {
		return fail(err)
	}
	for try := 1; ; try++ {
		found, err := e.find(ctx, r)
		if err != nil {
			return fail(err)
		}
		if found.Dir {
			if err := e.restoreDir(ctx, r, found.parts, out, p); err != nil {
				return fail(err)
			}
			return out, nil
		}
		v := found.parts[0]
		p.total = v.Size
		same, err := e.restoreFile(ctx, v, cmp.Or(r.To, r.Path), true, p)
		if isAny(err, surprises) && try < restoreTries {
			continue // it was on its way into the trash
		}
		if err != nil {
			return fail(err)
		}
		out.count(v, same)
		return out, nil
	}
}

// came counts the bytes that come, and tells of them.
type came struct {
	told  func(done, total int64)
	who   string // the command that fetches; "": vdfs restore
	total int64
	mu    sync.Mutex
	done  int64
}

func (c *came) add(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = min(c.done+n, c.total) // what comes anew after a failure counts once
	if c.told != nil {
		c.told(c.done, c.total)
	}
}

// through is a reader that counts what is read from r.
func (c *came) through(r io.Reader) io.Reader { return &counted{r, c} }

type counted struct {
	r io.Reader
	c *came
}

// Read implements io.Reader.
func (r *counted) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.c.add(int64(n))
	return n, err
}

// mayRestore refuses a place in which programs change nothing, before anything is fetched.
func (e *Engine) mayRestore(file string) error {
	var s search
	return e.Cache.View(func(tx *cache.Tx) error {
		s = search{e: e, file: file}
		if err := s.find(tx); err != nil {
			return err
		}
		for _, r := range s.reaches {
			if !within(file, r.root) {
				continue
			}
			frozen, err := tx.PlaceReadOnly(r.l.place)
			if err == nil && frozen {
				err = fmt.Errorf("%s is fed by conduit %s from outside: %w; restore it to another path with --to", r.root, r.l.conduitRow().Name, cache.ErrReadOnly)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// chosen are the versions that a request is about: those of files in a directory, each with the path that it is to have, or one of
// a file.
type chosen struct {
	Dir   bool
	parts []Version
}

// find chooses versions. There is at least one.
func (e *Engine) find(ctx context.Context, r RestoreRequest) (chosen, error) {
	if r.At != 0 {
		return e.findAt(ctx, r)
	}
	found, err := e.Versions(ctx, r.Path)
	if err != nil {
		return chosen{}, err
	}
	n := max(r.Version, 1)
	if n > len(found.Choices) {
		return chosen{}, found.tooFew()
	}
	c := found.Choices[n-1]
	if found.Dir {
		return chosen{true, moved(c.parts, r.Path, r.To)}, nil
	}
	return chosen{false, c.parts}, nil
}

// tooFew is why there is no such choice.
func (v *Versions) tooFew() error {
	switch n := len(v.Choices); {
	case n == 0 && v.Dir:
		return v.nothing("nothing that was deleted in it is kept")
	case v.Dir:
		return v.nothing(fmt.Sprintf("files in it were deleted at %d times", n))
	case n == 0:
		return v.nothing("nothing of it is kept")
	case n == 1:
		return v.nothing("there is 1 version of it")
	default:
		return v.nothing(fmt.Sprintf("there are %d versions of it", n))
	}
}

// findAt chooses what a path had at a time. Put at another one it is to be whole.
func (e *Engine) findAt(ctx context.Context, r RestoreRequest) (chosen, error) {
	m, err := e.instantOf(ctx, r.Path, r.At, r.To != "")
	if err != nil {
		return chosen{}, err
	}
	if v, ok := m.found[r.Path]; ok {
		v.Path, v.copied = r.Path, r.To != ""
		return chosen{false, []Version{v}}, nil
	}
	if len(m.found) > 0 {
		return chosen{true, m.versions(r.To)}, nil
	}
	if m.entry != nil && m.entry.Node.Kind == cache.Dir {
		return chosen{}, m.out.nothing("it has what it had then, or that is not kept")
	}
	return chosen{}, m.out.nothing("it has the version that it had then, or that is not kept")
}

// nothing is why there is no version; an endpoint that is away may have one.
func (v *Versions) nothing(why string) error {
	for _, a := range v.Away {
		if errors.Is(a.Err, ErrUnreachable) {
			return fmt.Errorf("%s; the trash of %s was not looked into, connect it and try again: %w", why, a.Endpoint, a.Err)
		}
	}
	return fmt.Errorf("%s: %w", why, ErrNoVersion)
}

func (r *Restoration) count(v Version, same bool) {
	if r.Version.Path == "" {
		r.Version = v
	}
	if same {
		r.Same++
		return
	}
	r.Files++
	r.Bytes += v.Size
}

// restoreDir restores what was deleted in a directory, or all that it had at a time. What is put in another directory takes no
// name there.
func (e *Engine) restoreDir(ctx context.Context, r RestoreRequest, parts []Version, out *Restoration, p *came) error {
	for _, v := range parts {
		p.total += v.Size
	}
	for try := 1; len(parts) > 0; try++ {
		failed, err := e.restoreAll(ctx, parts, r.At != 0 && r.To == "", out, p)
		if err != nil {
			return err
		}
		gone := map[string]bool{}
		for _, f := range failed {
			if isAny(f.Err, overtaken) && try < restoreTries {
				gone[f.Path] = true
				continue
			}
			out.Failed = append(out.Failed, f)
		}
		if len(gone) == 0 {
			break
		}
		if parts, err = e.newest(ctx, r); err != nil { // what was on its way into the trash is there
			return err
		}
		parts = slices.DeleteFunc(parts, func(v Version) bool { return !gone[v.Path] })
	}
	return nil
}

// overtaken says that a version is not any more where it was found.
var overtaken = append([]error{cache.ErrStale, cache.ErrNotFound}, surprises...)

// newest are the versions that a request is about as they are now: of what was deleted the newest of each path.
func (e *Engine) newest(ctx context.Context, r RestoreRequest) ([]Version, error) {
	if r.At != 0 {
		found, err := e.findAt(ctx, r)
		if errors.Is(err, ErrNoVersion) {
			return nil, nil
		}
		return found.parts, err
	}
	found, err := e.Versions(ctx, r.Path)
	if err != nil {
		return nil, err
	}
	var out []Version
	seen := map[string]bool{}
	for _, v := range found.all {
		if !seen[v.Path] {
			seen[v.Path] = true
			out = append(out, v)
		}
	}
	return moved(out, r.Path, r.To), nil
}

// restoreAll restores files, several at once. Only what ends the request is an error.
func (e *Engine) restoreAll(ctx context.Context, parts []Version, replace bool, out *Restoration, p *came) (failed []FailedPath, err error) {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(restoreParallel)
	for _, v := range parts {
		g.Go(func() error {
			same, err := e.restoreFile(ctx, v, v.Path, replace, p)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = append(failed, FailedPath{v.Path, err})
			} else {
				out.count(v, same)
			}
			return nil
		})
	}
	err = g.Wait()
	slices.SortFunc(failed, func(a, b FailedPath) int { return cmp.Compare(a.Path, b.Path) })
	return failed, err
}

// restoreFile gives a path a version.
func (e *Engine) restoreFile(ctx context.Context, v Version, to string, replace bool, p *came) (same bool, err error) {
	if err := e.ready(ctx, to, replace); err != nil {
		return false, err
	}
	r := cache.Restored{
		Path: to, Trash: v.trash, Kind: v.Kind, Mode: v.Mode, Mtime: v.Mtime, Target: v.Target, UID: e.UID, GID: e.GID, Replace: replace,
	}
	if r.Mtime == 0 {
		r.Mtime = e.now()
	}
	if v.copied {
		r.Trash = 0
	}
	if r.Trash == 0 && v.Kind == cache.File && v.Size > 0 {
		if r.Stage, err = e.bring(ctx, v, p); err != nil {
			return false, err
		}
		defer func() { err = errors.Join(err, r.Stage.Close()) }()
	}
	for range restoreTries {
		same, err = e.Cache.Restore(r)
		if !isAny(err, []error{cache.ErrBusy, cache.ErrNotLocal, cache.ErrNotListed}) {
			break
		}
		if err := e.ready(ctx, to, replace); err != nil { // it came into use, or went, meanwhile
			return false, err
		}
	}
	return same, err
}

// ready has the directories on the way to a path listed, and what it has here whole and settled, so that the trash can keep it.
func (e *Engine) ready(ctx context.Context, to string, replace bool) error {
	now, err := e.reveal(ctx, to)
	if err == nil && now.Hidden() {
		err = fmt.Errorf("it is excluded, vdfs unpin it first: %w", cache.ErrExists)
	}
	if err != nil || now.Node.Kind != cache.File || !replace {
		return err
	}
	for i := 0; now.Node.Writing && i < settlings && !e.Cache.OpenWriters(now.Ino); i++ {
		if !wait.For(ctx, settling) {
			return ctx.Err()
		}
		if now, err = e.reveal(ctx, to); err != nil {
			return err
		}
	}
	n := now.Node
	if n.Writing || e.Cache.OpenWriters(n.Ino) {
		return fmt.Errorf("it is open for writing, close it and try again: %w", cache.ErrBusy)
	}
	if n.Kind != cache.File || n.Residency == cache.Full || n.Size == 0 || n.Nlink > 1 {
		return nil
	}
	if err := e.hydrate(ctx, n); err != nil {
		return fmt.Errorf("what it has now is not here and would be lost: %w", err)
	}
	return nil
}

// reveal finds what a path names, listing directories on the way that nobody has looked into. Of what is not there it is empty.
func (e *Engine) reveal(ctx context.Context, p string) (now cache.Entry, err error) {
	looked := cache.Ino(0)
	parts := strings.Split(strings.Trim(p, "/"), "/")
	for i := 0; ; {
		err := e.Cache.View(func(tx *cache.Tx) (err error) {
			now, err = tx.Resolve("/" + strings.Join(parts[:i], "/"))
			return err
		})
		switch {
		case errors.Is(err, cache.ErrNotFound):
			return cache.Entry{}, nil
		case err != nil, i == len(parts):
			return now, err
		case now.Node.Kind == cache.Dir && now.Node.Listing != cache.Listed && looked != now.Ino:
			looked = now.Ino
			if err := e.List(ctx, now.Ino); err != nil {
				return now, err
			}
		default:
			i++
		}
	}
}

// bring brings the bytes of a version here.
func (e *Engine) bring(ctx context.Context, v Version, p *came) (*cache.Stage, error) {
	s, err := e.stage(ctx, v, p)
	if errors.Is(err, ErrUnreachable) && v.From != "" {
		err = fmt.Errorf("only %s has this version, connect it and try again: %w", v.From, err)
	}
	return s, err
}

func (e *Engine) stage(ctx context.Context, v Version, p *came) (*cache.Stage, error) {
	r, err := e.openVersion(ctx, v)
	if err != nil {
		return nil, err
	}
	s, err := e.Cache.Stage(v.Size, cache.Reader{Program: cmp.Or(p.who, "vdfs restore"), Kind: "vdfs"})
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	n, err := io.CopyBuffer(io.NewOffsetWriter(s, 0), p.through(r), make([]byte, 256<<10))
	err = errors.Join(err, r.Close())
	if err == nil && n != v.Size {
		err = remote.ErrChanged
	}
	var h cache.Hash
	if err == nil {
		h, err = s.Seal(ctx)
	}
	if err == nil && v.Hash.Known() && h != v.Hash {
		err = remote.ErrCorrupt
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// openVersion begins to read a version where it is.
func (e *Engine) openVersion(ctx context.Context, v Version) (io.ReadCloser, error) {
	switch {
	case v.l != nil:
	case v.trash != 0:
		return e.Cache.OpenTrash(v.trash)
	default:
		return e.openFile(ctx, v.node)
	}
	ep, err := v.l.online(ctx)
	if err != nil {
		return nil, err
	}
	if v.remoteID != "" {
		err = e.Cache.View(func(tx *cache.Tx) (err error) {
			v.item, err = v.l.address(tx, v.remoteID)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	r, err := ep.Read(ctx, v.item, remote.Content(v.content), 0, -1)
	if err != nil {
		return nil, v.l.readFailed(err)
	}
	return &copyStream{r, v.l, ""}, nil
}

// openFile begins to read a file of the drive.
func (e *Engine) openFile(ctx context.Context, n cache.Node) (io.ReadCloser, error) {
	s, err := e.Cache.Snapshot(n.Ino, n.Version)
	if errors.Is(err, cache.ErrNotLocal) {
		if err = e.hydrate(ctx, n); err == nil {
			s, err = e.Cache.Snapshot(n.Ino, n.Version)
		}
	}
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(s, 0, s.Size()), s}, nil
}
