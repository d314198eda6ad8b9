package syncer

import (
	"maps"
	"testing"
	"time"

	"vdfs/syncer/remote"
	"vdfs/syncer/remote/faulty"
	"vdfs/syncer/remote/memory"
)

func TestABellIsHeardOnceForAllThatRang(t *testing.T) {
	t.Parallel()
	b := newBell()
	for _, why := range []Trigger{ByTimer, ByChange, ByPush, ByChange} {
		b.ring(why)
	}
	<-b.rung
	if why, ok := b.heard(); why != ByPush || !ok {
		t.Errorf("heard is %v, %v", why, ok)
	}
	if _, ok := b.heard(); ok || len(b.rung) > 0 {
		t.Error("it is heard twice")
	}
	b.ring(ByEvent)
	<-b.rung
	if why, ok := b.heard(); why != ByEvent || !ok {
		t.Errorf("heard is %v, %v", why, ok)
	}
}

func TestTriggersAreCountedByName(t *testing.T) {
	t.Parallel()
	var a, b, none Triggered
	at := time.Unix(1000, 0)
	a.count(ByRequest, at)
	a.count(ByChange, at.Add(time.Second))
	a.count(ByChange, at.Add(2*time.Second))
	b.count(ByTimer, at.Add(3*time.Second))
	a.add(b)
	a.add(none)
	if want := map[string]int64{"request": 1, "change": 2, "timer": 1}; !maps.Equal(a.Times(), want) || a.Last() != "timer" {
		t.Errorf("counted %v, the last was %s", a.Times(), a.Last())
	}
	if none.Last() != "" || len(none.Times()) != 0 || Trigger(200).String() != "unknown" {
		t.Errorf("nothing is counted as %v, %q", none.Times(), none.Last())
	}
}

func TestEveryTriggerHasAnInstantConduitWork(t *testing.T) {
	for _, fl := range flavours() {
		t.Run(fl.name, func(t *testing.T) {
			t.Parallel()
			r, f := cadenceRig(t, fl, "instant")
			f.write("old", "was there")
			r.alive()
			l := r.legs()[0]
			r.until("the first cycle", func() bool { return l.triggered().Last() != "" && r.quiet() && !l.works() })
			pushed := "watcher"
			if l.caps.Feed {
				pushed = "push"
			}
			for _, tc := range []struct {
				trigger string
				does    func()
			}{
				{"change", func() { r.write("here", "made here") }},
				{pushed, func() { f.write("there", "made there") }},
				{"request", func() {
					if _, err := r.e.Sync(t.Context(), SyncRequest{Wait: true}); err != nil {
						t.Error(err)
					}
				}},
				{"event", func() { r.must(r.e.Pause(0)); r.must(r.e.Resume()) }},
			} {
				before := l.triggered().Times()[tc.trigger]
				again := time.Now()
				r.until(tc.trigger, func() bool {
					if l.triggered().Times()[tc.trigger] > before {
						return r.quiet() && !l.works()
					}
					if !time.Now().Before(again) { // a cycle that something else began may have taken it in
						tc.does()
						again = time.Now().Add(time.Second)
					}
					return false
				})
			}
			wantTree(t, r.agree(), map[string]string{"old": "was there", "here": "made here", "there": "made there"})
			if s := r.status(); s.Triggered.Last() == "" || s.NextSync.IsZero() {
				t.Errorf("it stands %+v", s)
			}
		})
	}
}

func (l *leg) works() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.busy
}

func TestTheHealthCheckFindsOutWhoIsAwayAndWhoIsBack(t *testing.T) {
	t.Parallel()
	r, _ := cadenceRig(t, flavours()[0], "manual")
	r.alive()
	_, err := r.e.Sync(t.Context(), SyncRequest{Wait: true})
	r.must(err)
	l := r.legs()[0]
	look := func() {
		l.mu.Lock()
		l.checked = time.Time{}
		l.mu.Unlock()
		if err := r.e.checkAll(t.Context()); (err != nil) != l.away() {
			t.Errorf("the check says %v", err)
		}
	}
	r.script.Add(faulty.Rule{Method: faulty.Check, Err: remote.ErrUnavailable})
	if r.must(r.e.checkAll(t.Context())); l.away() {
		t.Error("it was looked at a moment ago, and is looked at again")
	}
	if look(); !l.away() || r.status().State != StateOffline {
		t.Errorf("it stands %+v", r.status())
	}
	r.script.Clear()
	if look(); l.away() || r.status().State != StateIdle {
		t.Errorf("it stands %+v", r.status())
	}
	r.must(r.e.PauseConduit("home"))
	r.script.Add(faulty.Rule{Method: faulty.Check, Err: remote.ErrUnavailable})
	if look(); l.away() {
		t.Error("the endpoint of a paused conduit is looked at")
	}
}

func TestAMachineThatIsSparedBeginsNothingByItself(t *testing.T) {
	t.Parallel()
	r, f := cadenceRig(t, flavours()[0], "instant")
	f.write("old", "was there")
	r.alive()
	r.until("the first cycle", func() bool { return len(r.tree()) == 1 && r.quiet() && !r.legs()[0].works() })
	r.e.Spare(SparePause, "the battery is low")
	r.until("it is heard", func() bool { return !r.legs()[0].bell.rings() })
	l := r.legs()[0]
	before := l.triggered().Times()
	r.write("here", "made here")
	f.write("there", "made there")
	f.write("old", "edited there")
	for _, why := range []Trigger{ByEvent, ByPush, ByChange} {
		l.bell.ring(why)
		r.until("the bell is heard", func() bool { return !l.bell.rings() })
	}
	if after := l.triggered().Times(); !maps.Equal(before, after) {
		t.Errorf("a cycle began: %v, then %v", before, after)
	}
	if s := r.status(); s.State != StatePaused || s.Message != "the battery is low" || !s.NextSync.IsZero() {
		t.Errorf("it stands %+v", s)
	}
	if res, err := r.e.Sync(t.Context(), SyncRequest{Wait: true}); err != nil || res.State != SyncDone { // a person wants it all the same
		t.Errorf("sync: %+v, %v", res, err)
	}
	wantTree(t, r.agree(), map[string]string{"old": "edited there", "here": "made here", "there": "made there"})
	r.write("later", "made here")
	r.e.Spare(SpareSlow, "it is charged a little")
	r.until("it goes on", func() bool { return f.s.Tree()["later"] == "made here" && r.quiet() })
	if s := r.status(); s.State != StateIdle || s.Message != "" {
		t.Errorf("it stands %+v", s)
	}
}

func TestLooksBecomeRareWhileNothingIsFound(t *testing.T) {
	t.Parallel()
	caps := memory.AllCaps()
	caps.Push = false
	r := newPolicyRig(t, Spec{Source: "drive:/", Target: "mem:0", Policy: "offload"}, memory.New(memory.Options{Caps: &caps}))
	r.e.Interval, r.e.Adaptive = 30*time.Second, true
	f, l := r.far(0), r.legs()[0]
	defer l.close()
	look := func(why Trigger) time.Duration {
		l.setDue()
		l.why = why
		return l.turn(t.Context(), nil)
	}
	rest := look(ByTimer)
	for rest == 0 {
		rest = look(ByTimer) // the first contact
	}
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 5 * time.Minute, 5 * time.Minute} {
		if rest = look(ByTimer); rest != want {
			t.Fatalf("the next look is in %v, want %v", rest, want)
		}
	}
	f.write("new", "text")
	if rest = look(ByTimer); rest != 5*time.Second {
		t.Errorf("after something was found the next look is in %v", rest)
	}
	if rest = look(ByTimer); rest != 10*time.Second {
		t.Errorf("and then in %v", rest)
	}
	if rest = look(ByRequest); rest != 30*time.Second {
		t.Errorf("after somebody asked it is in %v", rest)
	}
	r.e.Spare(SpareSlow, "it is low")
	if rest = look(ByTimer); rest != 5*time.Minute {
		t.Errorf("on a battery it is in %v", rest)
	}
}
