package syncer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"vdfs/syncer/remote/faulty"
	"vdfs/syncer/remote/memory"
)

// moment is what a program does, and when.
type moment struct {
	at time.Duration
	do func(r *rig)
}

const tick = 10 * time.Millisecond

// often does something so many times, in so much time each.
func often(times int, every time.Duration, do func(r *rig, i int)) (all []moment) {
	for i := range times {
		all = append(all, moment{time.Duration(i) * every, func(r *rig) { do(r, i) }})
	}
	return all
}

// play has a program do things while the leg sends what has rested long enough, and returns when each upload began after the
// last thing that was done.
func (r *rig) play(all []moment) (puts []time.Duration) {
	r.t.Helper()
	l := r.legs()[0]
	last := all[len(all)-1].at
	for at := time.Duration(0); at < last+15*time.Second; at += tick {
		for len(all) > 0 && all[0].at <= at {
			all[0].do(r)
			all = all[1:]
		}
		due, _, err := l.eligible(0)
		r.must(err)
		if len(due) > 0 {
			r.must(r.alone(l))
		}
		for range len(r.script.Calls(faulty.Put)) - len(puts) {
			puts = append(puts, at-last)
		}
		r.advance(tick)
	}
	return puts
}

// TestHowOftenAndHowSoonASavedFileIsSent has programs save files in their ways, in a time that passes only here.
func TestHowOftenAndHowSoonASavedFileIsSent(t *testing.T) {
	t.Parallel()
	const (
		soon  = 60 * time.Millisecond
		twice = 100 * time.Millisecond // the new one takes over the base, and rests for that
		later = 210 * time.Millisecond
		never = time.Hour
	)
	write := func(text string) func(r *rig) { return func(r *rig) { r.write("f", text) } }
	for name, c := range map[string]struct {
		does   []moment
		puts   int           // at most
		within time.Duration // of the last thing done, the last of them
	}{
		"cut and written": {[]moment{{0, write("new")}}, 1, soon},
		"written in place": {[]moment{{0, func(r *rig) {
			f, err := r.c.OpenFile(r.find("f").Ino, true)
			r.must(err)
			_, err = f.WriteAt([]byte("new"), 0)
			r.must(err)
			r.must(f.Close())
		}}}, 1, soon},
		"written beside and renamed": {[]moment{
			{0, func(r *rig) { r.write("t", "new") }},
			{tick, func(r *rig) { r.move("t", "f") }},
		}, 1, soon},
		"renamed to a backup, written, and the backup removed": {[]moment{
			{0, func(r *rig) { r.move("f", "f~") }},
			{0, write("new")},
			{3 * tick, func(r *rig) { r.remove("f~") }},
		}, 1, soon},
		"removed and made again": {[]moment{
			{0, func(r *rig) { r.remove("f") }},
			{tick, write("new")},
		}, 1, twice},
		"a long one": {[]moment{{0, write(strings.Repeat("x", 1<<20+1))}}, 1, later},
		"compiled and stripped": {[]moment{
			{0, func(r *rig) { r.remove("f") }},
			{0, write("compiled")},
			{8 * tick, write("stripped")},
		}, 2, time.Second},
		"a long one compiled and stripped": {[]moment{
			{0, write(strings.Repeat("x", 1<<20+1))},
			{8 * tick, write(strings.Repeat("y", 1<<20+1))},
		}, 1, time.Second},
		"written a hundred times in a second":         {often(100, tick, func(r *rig, i int) { r.write("f", fmt.Sprint(i)) }), 1, never},
		"written forty times, a quarter second apart": {often(40, 250*time.Millisecond, func(r *rig, i int) { r.write("f", fmt.Sprint(i)) }), 2, never},
		"a checkout of twenty files": {often(20, tick, func(r *rig, i int) {
			p := fmt.Sprintf("tree/%d", i)
			r.remove(p)
			r.write(p, "of the other branch")
		}), 20, soon},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &rig{t: t, dir: t.TempDir(), stores: []*memory.Store{memory.New(memory.Options{})}, clock: time.Now(), rests: true}
			r.begin()
			f := r.far(0)
			f.write("f", "old")
			for i := range 20 {
				f.write(fmt.Sprintf("tree/%d", i), "of this branch")
			}
			r.settle()
			r.read("f")
			puts := r.play(c.does)
			if len(puts) == 0 || len(puts) > c.puts || puts[len(puts)-1] > c.within {
				t.Errorf("uploads after %v; wanted are up to %d, the last within %v: %+v", puts, c.puts, c.within, r.script.Calls(faulty.Put))
			}
			over := 0
			for _, call := range r.script.Calls(faulty.Put) {
				if call.Name == "" {
					over++
				}
			}
			if over != len(puts) {
				t.Errorf("%d of %d replace the file that is there", over, len(puts))
			}
			r.settle()
			r.agree()
		})
	}
}
