package syncer

import (
	"sync"
	"testing"
	"time"

	"vdfs/syncer/remote/faulty"
)

// TestTheProgressOfARunIsShown looks at it while files are sent and deleted, and afterwards.
func TestTheProgressOfARunIsShown(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		r.doomed(2)
		r.write("a", "1")
		r.write("b", "22")
		var mu sync.Mutex // objects are looked at again beside each other
		seen := map[string]Progress{}
		look := func() {
			all, err := r.e.Status()
			if err != nil || all[0].Progress == nil {
				t.Errorf("status: %+v, %v", all, err)
				return
			}
			p := *all[0].Progress
			mu.Lock()
			defer mu.Unlock()
			if _, ok := seen[p.Phase]; !ok {
				seen[p.Phase] = p
			}
		}
		for _, m := range []faulty.Method{faulty.Put, faulty.Delete} {
			r.script.Add(faulty.Rule{Method: m, Before: look})
		}
		r.script.Add(faulty.Rule{Method: faulty.Stat, Match: func(faulty.Call) bool { return len(r.generations()) > 0 && r.generations()[0].Completed != 0 }, Before: look})
		r.must(r.cycle(r.legs()[0]))
		if p := seen[PhaseCopying]; p.Files != 0 || p.FilesTotal != 2 || p.BytesTotal != 3 {
			t.Errorf("copying: %+v", p)
		}
		if p := seen[PhaseDeleting]; p.Files != 0 || p.FilesTotal != 2 {
			t.Errorf("deleting: %+v", p)
		}
		if p := seen[PhaseVerifying]; p.Files != 0 || p.FilesTotal < 4 {
			t.Errorf("verifying: %+v", p)
		}
		if all, err := r.e.Status(); err != nil || all[0].Progress != nil {
			t.Errorf("at the end: %+v, %v", all[0].Progress, err)
		}
	})
}

// TestAFileOnItsWayCountsOnce reads it twice, and sends it again after it failed.
func TestAFileOnItsWayCountsOnce(t *testing.T) {
	var p progress
	p.enter(PhaseCopying)
	for _, arrives := range []bool{false, true} {
		s := part{of: &p, size: 10}
		s.read(6)
		s.read(6)
		s.read(6)
		if n := p.flying.Load(); n != 10 {
			t.Errorf("%d bytes are on their way", n)
		}
		s.end(arrives)
		if n := p.flying.Load(); n != 0 {
			t.Errorf("%d bytes are on their way at the end", n)
		}
	}
	if n := p.bytes.Load(); n != 10 {
		t.Errorf("%d bytes have arrived", n)
	}
}

// TestRateAndTimeLeftAreThoseOfLate has a run of which the first part was long ago.
func TestRateAndTimeLeftAreThoseOfLate(t *testing.T) {
	var p progress
	start := time.Now()
	p.enter(PhaseCopying)
	p.marks = nil
	for i := range 2 * rateSpan {
		p.bytes.Store(int64(i) * 100)
		p.files.Store(int64(i))
		if i >= rateSpan {
			p.bytes.Store(int64(rateSpan*100 + (i-rateSpan)*1000))
		}
		p.mark(start.Add(time.Duration(i) * time.Second))
	}
	files, bytes := p.rates(start.Add((2*rateSpan - 1) * time.Second))
	if files != 1 || bytes != 1000 {
		t.Errorf("%v files and %v bytes a second", files, bytes)
	}
	left, known := timeLeft(Progress{Files: 1, FilesTotal: 11, Bytes: 0, BytesTotal: 30_000}, files, bytes)
	if left != 30*time.Second || !known {
		t.Errorf("%v are left, known: %v", left, known)
	}
	if _, known := timeLeft(Progress{FilesTotal: 3}, 0, 0); known {
		t.Error("what is left is known of a run that does not go on")
	}
	both := joinProgress([]Progress{{Phase: PhaseVerifying, FilesTotal: 9}, {Phase: PhaseCopying, FilesTotal: 2, Left: time.Second}, {Phase: PhaseCopying, FilesTotal: 3, Left: time.Minute}})
	if both == nil || both.Phase != PhaseCopying || both.FilesTotal != 5 || both.Left != time.Minute {
		t.Errorf("together they are %+v", both)
	}
	if joinProgress(nil) != nil {
		t.Error("nothing has a progress")
	}
}
