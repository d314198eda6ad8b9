package syncer

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"vdfs/cache"
	"vdfs/cache/event"
	"vdfs/internal/fault"
	"vdfs/internal/ignore"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/faulty"
	"vdfs/syncer/remote/memory"
)

// rigsBegan is when the machine of all rigs was started.
var rigsBegan = time.Now().Add(-time.Hour)

// rig is a drive with one place and one or more legs on it, whose endpoints are
// in memory. Cycles are run by hand, so that nothing happens by itself.
type rig struct {
	t      testing.TB
	dir    string
	c      *cache.Cache
	e      *Engine
	stores []*memory.Store
	script faulty.Script // for all of them
	ahead  atomic.Int64  // of the clock, in nanoseconds
	jumped atomic.Int64  // likewise, and no time has passed
	clock  time.Time     // it stands still there; zero: it is the one on the wall
	rests  bool          // changes rest as long as in any drive
	merge  func(base, ours, theirs []byte) ([]byte, bool)
	ignore []*ignore.List
	late   atomic.Bool
}

// flavour is a kind of endpoint that the engine has to get along with.
type flavour struct {
	name string
	opts func() memory.Options
}

func flavours() []flavour {
	with := func(change func(*remote.Caps)) func() memory.Options {
		return func() memory.Options {
			c := memory.AllCaps()
			change(&c)
			return memory.Options{Caps: &c}
		}
	}
	return []flavour{
		{"ids and feed", with(func(*remote.Caps) {})},
		{"paths and hints", with(func(c *remote.Caps) { c.StableID, c.Feed, c.FeedMoves = false, false, false })},
		{"paths without fingerprints", func() memory.Options {
			o := with(func(c *remote.Caps) { c.StableID, c.Feed, c.FeedMoves = false, false, false })()
			o.NoIdent = true
			return o
		}},
	}
}

func newRig(t testing.TB, stores ...*memory.Store) *rig {
	r := &rig{t: t, dir: t.TempDir(), stores: stores}
	r.begin()
	return r
}

// begin opens the drive and joins all stores to it.
func (r *rig) begin() {
	r.t.Helper()
	r.open()
	for i := range r.stores {
		r.join(i)
	}
	r.t.Cleanup(func() {
		for _, l := range r.e.current() {
			l.close()
		}
		r.must(r.c.Close())
	})
}

// newPolicyRig is a drive whose root is joined to an endpoint by a conduit of its own.
func newPolicyRig(t testing.TB, s Spec, store *memory.Store) *rig {
	r := &rig{t: t, dir: t.TempDir(), stores: []*memory.Store{store}}
	r.open()
	t.Cleanup(func() { r.must(r.c.Close()) })
	s.Name = "home"
	_, err := r.e.CreateConduit(context.Background(), s)
	r.must(err)
	return r
}

// eachPolicy is each for a conduit of one's own.
func eachPolicy(t *testing.T, s Spec, run func(t *testing.T, r *rig, f *far)) {
	for _, fl := range flavours() {
		t.Run(fl.name, func(t *testing.T) {
			t.Parallel()
			r := newPolicyRig(t, s, memory.New(fl.opts()))
			run(t, r, r.far(0))
		})
	}
}

// once runs one cycle of every leg.
func (r *rig) once() {
	r.t.Helper()
	for _, l := range r.legs() {
		r.must(r.cycle(l))
	}
}

// kept are the contents in the drive's trash, by the path they had.
func (r *rig) kept() map[string]string {
	r.t.Helper()
	out := map[string]string{}
	r.must(r.c.View(func(tx *cache.Tx) error {
		rows, err := tx.Trash(0, 1000)
		for _, row := range rows {
			switch {
			case row.Kind == cache.Symlink:
				out[row.Path] = "-> " + row.Target
			default:
				out[row.Path] = r.content(row.Content)
			}
		}
		return err
	}))
	return out
}

// content reads a backing file.
func (r *rig) content(id cache.ContentID) string {
	r.t.Helper()
	data, err := os.ReadFile(filepath.Join(r.dir, "content", fmt.Sprintf("%02x", int(id>>8)&0xff), strconv.FormatInt(int64(id), 16)))
	r.must(err)
	return string(data)
}

// keptThere are the contents in an endpoint's trash, by the path they had.
func (r *rig) keptThere(i int) map[string]string {
	out := map[string]string{}
	for _, k := range r.stores[i].Kept() {
		out[k.Path] = string(k.Data)
	}
	return out
}

func (r *rig) open() {
	r.t.Helper()
	o := cache.Options{
		Dir: r.dir, Device: "test", QuietMin: 1, QuietMax: 1, Clock: r.now,
		LocalOnly: func(name string) bool { return !r.late.Load() && strings.HasSuffix(name, "~") },
	}
	if r.rests {
		o.QuietMin, o.QuietMax = 0, 0
	}
	c, err := cache.Open(context.Background(), o)
	r.must(err)
	r.c = c
	r.e, err = New(Options{
		Cache: c, Device: "test", Logger: slog.New(slog.DiscardHandler), Clock: r.now, Merge: r.merge, Ignore: r.ignore, Late: &r.late, Events: overheard(),
		Elapsed: func() time.Duration { return time.Since(rigsBegan) + time.Duration(r.ahead.Load()) },
		Open: func(_ context.Context, endpoint string, _ cache.Leg) (remote.Endpoint, error) {
			var i int
			if _, err := fmt.Sscanf(endpoint, "mem:%d", &i); err != nil {
				return nil, err
			}
			return faulty.Wrap(r.stores[i].Open(), &r.script), nil
		},
	})
	r.must(err)
	if !r.rests {
		r.e.Quiet = 0
	}
}

// overheard is a bus with somebody who wants to hear of everything, so that all that is told is looked up in every test. The
// states of conduits take a look at all of them each time.
func overheard() *event.Bus {
	bus := event.New(event.Options{})
	bus.Subscribe(event.All&^event.Of(event.SyncStateChanged), 1)
	return bus
}

func (r *rig) now() time.Time {
	now := r.clock
	if now.IsZero() {
		now = time.Now()
	}
	return fault.Jumped(now.Add(time.Duration(r.ahead.Load())), time.Duration(r.jumped.Load()))
}

// advance lets time pass.
func (r *rig) advance(d time.Duration) { r.ahead.Add(int64(d)) }

// jump sets the clock.
func (r *rig) jump(by time.Duration) { r.jumped.Add(int64(by)) }

// reopen is a crash and a new start: nothing of what was in memory survives.
func (r *rig) reopen() {
	r.t.Helper()
	for _, l := range r.e.current() {
		l.close()
	}
	r.must(r.c.Close())
	r.open()
}

// join makes a conduit at the root: the first is the drive's own, later ones are beside it.
func (r *rig) join(i int) {
	r.t.Helper()
	spec := Spec{Name: "home", Source: "drive:/", Target: fmt.Sprintf("mem:%d", i), Policy: "offload"}
	if i > 0 {
		spec.Name = spec.Target
	}
	_, err := r.e.CreateConduit(context.Background(), spec)
	r.must(err)
}

// rederive marks what differs from a leg's base.
func (r *rig) rederive(l *leg) {
	r.t.Helper()
	r.must(r.c.Update(0, func(tx *cache.Tx) error { return beginDerive(tx, l.id) }))
	l.derived = false
	r.must(l.derive(context.Background()))
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) legs() []*leg {
	out := r.e.current()
	for i := range out {
		for j := i + 1; j < len(out); j++ {
			if out[j].id < out[i].id {
				out[i], out[j] = out[j], out[i]
			}
		}
	}
	return out
}

// alone runs one cycle of a leg.
func (r *rig) alone(l *leg) error {
	l.bell.heard() // as the loop does before it begins one
	again, err := l.cycle(context.Background(), true, &syncCall{done: make(chan error, 1)})
	for err == nil && again && l.verifying() {
		again, err = l.cycle(context.Background(), false, &syncCall{done: make(chan error, 1)})
	}
	return err
}

// cycle runs one cycle of a leg, and again when what it waited for was fetched.
func (r *rig) cycle(l *leg) error {
	err := r.alone(l)
	for err == nil && l.fetched() {
		err = r.alone(l)
	}
	return err
}

// fetched waits until nothing is being fetched, and reports whether something was.
func (l *leg) fetched() bool {
	l.fetches.work.Wait()
	select {
	case <-l.fetches.news:
		return true
	default:
		return false
	}
}

// settle runs cycles until nothing is left to do.
func (r *rig) settle() {
	r.t.Helper()
	for range 60 {
		for _, l := range r.legs() {
			r.must(r.cycle(l))
		}
		if r.quiet() {
			return
		}
	}
	r.t.Fatalf("does not come to rest:\n%s", r.pending())
}

// lookBack has several legs begin at once, as they do by themselves: who reads the bytes of one waits for the outcome of its
// writes, which here would never come.
func (r *rig) lookBack() {
	r.t.Helper()
	all := r.legs()
	if len(all) < 2 {
		return
	}
	for _, l := range all {
		ep, err := l.check(context.Background())
		r.must(err)
		r.must(l.lookBack(context.Background(), ep))
	}
}

func (r *rig) quiet() bool { return r.pending() == "" }

func (r *rig) pending() string {
	var out strings.Builder
	r.must(r.c.View(func(tx *cache.Tx) error {
		items, err := tx.ListItems(cache.ItemFilter{})
		for _, it := range items {
			p, _ := r.e.ItemPath(tx, it)
			fmt.Fprintf(&out, "item leg %d origin %d op %d status %d %s: %s\n", it.Leg, it.Origin, it.Operation, it.Status, p, it.Error)
		}
		if err != nil {
			return err
		}
		for _, l := range r.legs() {
			rows, err := tx.ObservedPage(l.id, "", 100)
			if err != nil {
				return err
			}
			for _, o := range rows {
				if o.Ignored {
					continue // a directory that is here for what is ignored in it
				}
				fmt.Fprintf(&out, "observed leg %d %+v\n", l.id, o)
			}
			un, err := tx.UnlistedBindings(l.id, 0, 10)
			if err != nil {
				return err
			}
			for _, b := range un {
				fmt.Fprintf(&out, "unlisted %+v\n", b)
			}
		}
		return nil
	}))
	return out.String()
}

var nobody = cache.Caller{UID: 1000, GID: 1000}

func (r *rig) find(p string) cache.Entry {
	r.t.Helper()
	e, err := r.lookup(p)
	if err != nil {
		r.t.Fatalf("%s: %v", p, err)
	}
	return e
}

func (r *rig) lookup(p string) (e cache.Entry, err error) {
	err = r.c.View(func(tx *cache.Tx) (err error) {
		e, err = tx.Resolve("/" + p)
		return err
	})
	return e, err
}

func (r *rig) parent(p string) cache.Ino {
	r.t.Helper()
	if d := path.Dir(p); d != "." {
		return r.find(d).Ino
	}
	return cache.RootIno
}

// write stores a file in the drive as a program would: truncate, write, close.
func (r *rig) write(p, data string) {
	r.t.Helper()
	var f *cache.OpenFile
	e, err := r.lookup(p)
	if err != nil {
		_, f, err = r.c.Create(r.parent(p), path.Base(p), 0o644, nobody)
		r.must(err)
	} else {
		f, err = r.c.OpenFile(e.Ino, true)
		r.must(err)
		r.must(f.Truncate(0))
	}
	_, err = f.WriteAt([]byte(data), 0)
	r.must(err)
	r.must(f.Close())
}

func (r *rig) mkdir(p string) {
	r.t.Helper()
	_, err := r.c.Mkdir(r.parent(p), path.Base(p), 0o755, nobody)
	r.must(err)
}

func (r *rig) move(from, to string) {
	r.t.Helper()
	r.must(r.c.Rename(r.parent(from), path.Base(from), r.parent(to), path.Base(to), 0))
}

// remove deletes a file, or a directory with what is in it.
func (r *rig) remove(p string) {
	r.t.Helper()
	e := r.find(p)
	if e.Node.Kind != cache.Dir {
		r.must(r.c.Unlink(r.parent(p), path.Base(p)))
		return
	}
	kids, err := r.c.ReadDir(e.Ino, 0, 1000, false)
	r.must(err)
	for _, k := range kids {
		r.remove(path.Join(p, k.Name))
	}
	r.must(r.c.Rmdir(r.parent(p), path.Base(p)))
}

// read returns what a program reads, fetching what is not here.
func (r *rig) read(p string) string {
	r.t.Helper()
	e := r.find(p)
	if e.Node.Residency != cache.Full {
		r.must(r.e.hydrate(context.Background(), e.Node))
	}
	f, err := r.c.OpenFile(e.Ino, false)
	r.must(err)
	defer f.Close()
	buf, err := io.ReadAll(io.NewSectionReader(f, 0, 4<<20))
	r.must(err)
	return string(buf)
}

// tree is the drive in the form of memory.Store.Tree.
func (r *rig) tree() map[string]string {
	r.t.Helper()
	out := map[string]string{}
	var walk func(ino cache.Ino, at string)
	walk = func(ino cache.Ino, at string) {
		if n, err := r.c.Attr(ino); err == nil && n.Listing != cache.Listed {
			r.must(r.e.List(context.Background(), ino))
		}
		kids, err := r.c.ReadDir(ino, 0, 100_000, true)
		r.must(err)
		for _, k := range kids {
			p := path.Join(at, k.Name)
			switch {
			case k.LocalOnly:
			case k.Node.Kind == cache.Dir:
				out[p+"/"] = ""
				walk(k.Ino, p)
			case k.Node.Kind == cache.Symlink:
				out[p] = "-> " + k.Node.Target
			default:
				out[p] = r.read(p)
			}
		}
	}
	walk(cache.RootIno, "")
	return out
}

// agree checks that the drive and all endpoints hold the same, and returns it.
func (r *rig) agree() map[string]string {
	r.t.Helper()
	want := r.tree()
	for i, s := range r.stores {
		if diff := treeDiff(want, s.Tree()); diff != "" {
			r.t.Fatalf("drive and endpoint %d differ:\n%s", i, diff)
		}
	}
	return want
}

func treeDiff(a, b map[string]string) string {
	var out strings.Builder
	for p, v := range a {
		if w, ok := b[p]; !ok {
			fmt.Fprintf(&out, "only in drive: %s %q\n", p, v)
		} else if v != w {
			fmt.Fprintf(&out, "%s: drive %q, endpoint %q\n", p, v, w)
		}
	}
	for p, w := range b {
		if _, ok := a[p]; !ok {
			fmt.Fprintf(&out, "only at endpoint: %s %q\n", p, w)
		}
	}
	return out.String()
}

// far is somebody else at an endpoint.
type far struct {
	t  testing.TB
	s  *memory.Store
	ep *memory.Endpoint
}

func (r *rig) far(i int) *far { return &far{r.t, r.stores[i], r.stores[i].Open()} }

func (f *far) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *far) find(p string) (remote.Entry, error) {
	st, err := f.ep.Check(context.Background())
	f.must(err)
	e := remote.Entry{ID: st.Root, Kind: remote.Dir}
	for _, name := range strings.Split(p, "/") {
		if p == "" || p == "." {
			break
		}
		if e, err = f.ep.Lookup(context.Background(), e.ID, name); err != nil {
			return e, err
		}
	}
	return e, nil
}

func (f *far) write(p, data string) {
	f.t.Helper()
	f.must(f.s.WriteFile(p, []byte(data)))
}

func (f *far) mkdir(p string) {
	f.t.Helper()
	d, err := f.find(path.Dir(p))
	f.must(err)
	_, err = f.ep.Mkdir(context.Background(), d.ID, path.Base(p), remote.Attr{Mode: 0o755}, "")
	f.must(err)
}

func (f *far) move(from, to string) {
	f.t.Helper()
	e, err := f.find(from)
	f.must(err)
	d, err := f.find(path.Dir(to))
	f.must(err)
	name := path.Base(to)
	_, err = f.ep.Update(context.Background(), e.ID, remote.Patch{Parent: &d.ID, Name: &name}, remote.Pre{Force: true}, "")
	f.must(err)
}

func (f *far) remove(p string) {
	f.t.Helper()
	e, err := f.find(p)
	f.must(err)
	if e.Kind == remote.Dir {
		kids, _, err := f.ep.List(context.Background(), e.ID, "")
		f.must(err)
		for _, k := range kids {
			f.remove(path.Join(p, k.Name))
		}
	}
	f.must(f.ep.Delete(context.Background(), e.ID, remote.Pre{Force: true}, ""))
}
