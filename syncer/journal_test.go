package syncer

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"vdfs/cache"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/faulty"
	"vdfs/syncer/remote/memory"
)

var errKilled = errors.New("killed")

func writes(c faulty.Call) bool {
	return c.Method == faulty.Put || c.Method == faulty.Mkdir || c.Method == faulty.Update || c.Method == faulty.Delete
}

// killAfter makes the nth write at an endpoint the last thing that happens before the next reopen.
func (r *rig) killAfter(nth int) {
	r.script.Clear()
	r.script.Add(faulty.Rule{Match: writes, Nth: nth, After: errKilled})
	seen := 0
	dead := func(c faulty.Call) bool { // rules are asked in turn, so that this one counts every call
		if writes(c) && seen <= nth {
			seen++
		}
		return seen > nth || seen == nth && !writes(c)
	}
	r.script.Add(faulty.Rule{Match: dead, Err: errKilled})
}

// writeCases are writes at an endpoint, each with what a person may do before anybody knows what became of it.
var writeCases = []struct {
	name                  string
	before, change, after func(r *rig)
}{
	{
		"a new file, renamed", nil,
		func(r *rig) { r.write("f", "new") },
		func(r *rig) { r.move("f", "g") },
	},
	{
		"a new file, renamed over another",
		func(r *rig) { r.mkdir("d"); r.write("d/g", "other") },
		func(r *rig) { r.write("f", "new") },
		func(r *rig) { r.move("f", "d/g") },
	},
	{
		"two new files, renamed over others",
		func(r *rig) { r.mkdir("d"); r.write("d/g", "other"); r.write("d/h", "third") },
		func(r *rig) { r.write("f", "new"); r.write("e", "newer") },
		func(r *rig) { r.move("f", "d/g"); r.move("e", "d/h") },
	},
	{
		"a new file, replaced", nil,
		func(r *rig) { r.write("f", "new") },
		func(r *rig) { r.write("g", "newer"); r.move("g", "f") },
	},
	{
		"a new file, written again", nil,
		func(r *rig) { r.write("f", "new") },
		func(r *rig) { r.write("f", "newer") },
	},
	{
		"a new file, deleted", nil,
		func(r *rig) { r.write("f", "new") },
		func(r *rig) { r.remove("f") },
	},
	{
		"a new directory, renamed", nil,
		func(r *rig) { r.mkdir("d"); r.write("d/f", "in it") },
		func(r *rig) { r.move("d", "e") },
	},
	{
		"a new symlink, renamed", nil,
		func(r *rig) { r.symlink("s", "to") },
		func(r *rig) { r.move("s", "t") },
	},
	{
		"a file written, written again",
		func(r *rig) { r.write("f", "old") },
		func(r *rig) { r.write("f", "new") },
		func(r *rig) { r.write("f", "newer") },
	},
	{
		"a file written, renamed over another",
		func(r *rig) { r.write("f", "old"); r.write("g", "other") },
		func(r *rig) { r.write("f", "new") },
		func(r *rig) { r.move("f", "g") },
	},
	{
		"a file moved, moved again",
		func(r *rig) { r.mkdir("d"); r.write("f", "old") },
		func(r *rig) { r.move("f", "d/g") },
		func(r *rig) { r.move("d/g", "d/h") },
	},
	{
		"a directory moved, moved again",
		func(r *rig) { r.mkdir("d"); r.mkdir("e"); r.write("d/f", "old") },
		func(r *rig) { r.move("d", "e/d") },
		func(r *rig) { r.move("e/d", "g") },
	},
	{
		"names swapped, one moved on",
		func(r *rig) { r.write("f", "one"); r.write("g", "two") },
		func(r *rig) { r.move("f", "tmp"); r.move("g", "f"); r.move("tmp", "g") },
		func(r *rig) { r.move("g", "h") },
	},
	{
		"a symlink replaced, renamed",
		func(r *rig) { r.mkdir("d"); r.symlink("d/s", "one") },
		func(r *rig) { r.symlink("d/t", "two"); r.move("d/t", "d/s") },
		func(r *rig) { r.move("d/s", "d/u") },
	},
	{
		"a file made executable and back",
		func(r *rig) { r.write("f", "old") },
		func(r *rig) { r.chmod("f", 0o755) },
		func(r *rig) { r.chmod("f", 0o644) },
	},
}

func (r *rig) symlink(p, target string) {
	r.t.Helper()
	_, err := r.c.Symlink(r.parent(p), p[strings.LastIndex(p, "/")+1:], target, nobody)
	r.must(err)
}

func (r *rig) chmod(p string, mode uint32) {
	r.t.Helper()
	_, err := r.c.SetAttr(r.find(p).Ino, cache.Attrs{Mode: &mode})
	r.must(err)
}

func TestAKillAfterAWriteAtTheEndpointMakesNoStrangerOfIt(t *testing.T) {
	forEachWrite(t, func(r *rig, nth int) bool {
		r.killAfter(nth)
		r.script.Forget()
		for _, l := range r.legs() {
			_ = r.cycle(l) // whatever it came to
		}
		r.script.Clear()
		r.reopen()
		return r.written() >= nth
	})
}

func TestALostReplyMakesNoStrangerOfWhatWasWritten(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]error{
		"outcome unknown":            fmt.Errorf("reply lost: %w", remote.ErrUnknown),
		"an error that says nothing": syscall.EIO,
		"the connection lost":        fmt.Errorf("read reply: %w", remote.ErrUnavailable),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forEachWrite(t, func(r *rig, nth int) bool {
				r.script.Clear()
				r.script.Add(faulty.Rule{Match: writes, Nth: nth, After: lost})
				r.script.Forget()
				r.work()
				return r.written() >= nth
			})
		})
	}
}

// unpark lets what waits after an error be tried at once, as `vdfs sync` does.
func (r *rig) unpark() {
	r.t.Helper()
	for _, l := range r.legs() {
		r.must(l.unpark())
	}
}

// work runs one cycle of every leg, whether or not it reaches its endpoint.
func (r *rig) work() {
	r.t.Helper()
	for _, l := range r.legs() {
		if err := r.cycle(l); !errors.Is(err, ErrUnreachable) {
			r.must(err)
		}
	}
}

// written counts the writes that reached an endpoint.
func (r *rig) written() (n int) {
	for _, c := range r.script.Calls("") {
		if writes(c) {
			n++
		}
	}
	return n
}

// forEachWrite cuts the sync of each case at its first write, then at its second, and so on while cut says that there
// was one, lets the person go on, and demands that nothing but their own last state comes of it.
func forEachWrite(t *testing.T, cut func(r *rig, nth int) bool) {
	for _, c := range writeCases {
		for _, fl := range flavours() {
			t.Run(c.name+" "+fl.name, func(t *testing.T) {
				t.Parallel()
				for nth, happened := 1, true; happened; nth++ {
					r := newRig(t, memory.New(fl.opts()))
					r.settle()
					if c.before != nil {
						c.before(r)
						r.settle()
					}
					c.change(r)
					happened = cut(r, nth)
					c.after(r)
					want := r.tree()
					for range 2 { // what was not cut before may be cut now
						r.unpark()
						r.work()
					}
					r.unpark()
					r.settle()
					r.script.Clear()
					wantTree(t, r.agree(), want)
				}
			})
		}
	}
}
