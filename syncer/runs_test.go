package syncer

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"vdfs/cache"
	"vdfs/internal/schedule"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/faulty"
	"vdfs/syncer/remote/memory"
)

// alive has the engine work by itself until the test ends or stop is called.
func (r *rig) alive() (stop func()) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.e.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("the engine ended: %v", err)
		}
	})
	r.t.Cleanup(stop)
	return stop
}

// until waits for something that is to come by itself.
func (r *rig) until(what string, holds func() bool) {
	r.t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("not within 30 s: %s\n%s", what, r.pending())
		}
	}
}

// nothingBegins has everything ring that can, and checks that no cycle begins for it.
func (r *rig) nothingBegins(when string) {
	r.t.Helper()
	for _, l := range r.legs() {
		before := l.triggered()
		for _, why := range []Trigger{ByEvent, ByReader, ByPush, ByWatcher, ByChange} {
			l.bell.ring(why)
			r.until("the bell is heard", func() bool { return !l.bell.rings() })
		}
		r.e.runs.wake()
		r.until("what is due is looked for", func() bool { return len(r.e.runs.news) == 0 })
		if after := l.triggered(); !maps.Equal(after.Times(), before.Times()) {
			r.t.Errorf("%s a cycle began: %v, then %v", when, before.Times(), after.Times())
		}
		l.mu.Lock()
		if !l.next.IsZero() || l.busy {
			r.t.Errorf("%s a cycle is to begin, or has, at %v", when, l.next)
		}
		l.mu.Unlock()
	}
}

// rings reports whether something rang that was not heard yet.
func (b *bell) rings() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.why != [triggerCount]bool{}
}

func (l *leg) triggered() Triggered {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counted
}

// runsOf is how the runs of the only conduit went.
func (r *rig) runsOf() schedule.Metrics {
	r.t.Helper()
	all := r.e.Tasks.Metrics()
	i := slices.IndexFunc(all, func(m schedule.Metrics) bool { return m.Name == "sync home" })
	if i < 0 {
		r.t.Fatalf("nothing counts the runs: %+v", all)
	}
	return all[i]
}

// ran waits until so many runs have come to their end.
func (r *rig) ran(n int64) {
	r.t.Helper()
	r.until("a run has come to its end", func() bool {
		m := r.runsOf()
		return m.Executions == n && !m.Running
	})
}

func (r *rig) status() ConduitStatus {
	r.t.Helper()
	all, err := r.e.Status()
	r.must(err)
	return all[0]
}

// cadenceRig is a drive whose only conduit has a cadence.
func cadenceRig(t *testing.T, fl flavour, cadence string) (*rig, *far) {
	r := newPolicyRig(t, Spec{Source: "drive:/", Target: "mem:0", Policy: "offload", Cadence: cadence}, memory.New(fl.opts()))
	return r, r.far(0)
}

func TestAConduitWithAnIntervalWorksInRuns(t *testing.T) {
	for _, fl := range flavours() {
		t.Run(fl.name, func(t *testing.T) {
			t.Parallel()
			r, f := cadenceRig(t, fl, "Hourly")
			f.write("old", "was there")
			r.alive()
			r.ran(1) // the first one comes at once
			wantTree(t, r.agree(), map[string]string{"old": "was there"})

			f.write("there", "made there")
			f.write("old", "edited there")
			r.mkdir("dir")
			r.write("dir/here", "made here")
			r.nothingBegins("between two runs")
			if got := f.s.Tree(); got["dir/here"] != "" || len(got) != 2 {
				t.Errorf("the endpoint has %v", got)
			}
			if _, err := r.lookup("there"); !errors.Is(err, cache.ErrNotFound) {
				t.Errorf("what was made there is here: %v", err)
			}
			s := r.status()
			if s.State != StateIdle || s.PendingLocal != 2 || s.Message != "2 changes wait for the next run" {
				t.Errorf("between two runs it stands %+v", s)
			}
			if in := s.NextSync.Sub(r.now()); in < 59*time.Minute || in > time.Hour {
				t.Errorf("the next run is in %v", in)
			}

			r.advance(time.Hour)
			r.e.runs.wake()
			r.ran(2)
			if r.e.runs.active(s.ID) || !r.quiet() {
				t.Errorf("after the run is left: %s", r.pending())
			}
			wantTree(t, r.agree(), map[string]string{"old": "edited there", "there": "made there", "dir/": "", "dir/here": "made here"})
			if times := r.status().Triggered.Times(); times["schedule"] < 2 || len(times) != 1 {
				t.Errorf("it was begun by %v", times)
			}
		})
	}
}

func TestAConduitThatIsMadeLaterHasItsFirstRunAtOnce(t *testing.T) {
	t.Parallel()
	r, f := cadenceRig(t, flavours()[0], "instant")
	f.write("old", "was there")
	r.stores = append(r.stores, memory.New(flavours()[0].opts()))
	r.alive()
	r.until("it is in the drive", func() bool { _, err := r.lookup("old"); return err == nil }) // else the first run has nothing to send
	_, err := r.e.CreateConduit(t.Context(), Spec{Name: "runs", Source: "drive:/", Target: "mem:1", Policy: "offload", Cadence: "interval:1d"})
	r.must(err)
	r.until("it has run", func() bool { return r.stores[1].Tree()["old"] == "was there" })
}

func TestAManualConduitWorksOnlyWhenAsked(t *testing.T) {
	for _, fl := range flavours() {
		t.Run(fl.name, func(t *testing.T) {
			t.Parallel()
			r, f := cadenceRig(t, fl, "manual")
			f.write("old", "was there")
			r.alive()
			r.nothingBegins("before anybody asks")
			wantTree(t, r.tree(), map[string]string{"old": "was there"}) // who looks is shown what is there
			r.write("here", "made here")
			r.advance(1000 * time.Hour)
			r.nothingBegins("after a long time")
			s := r.status()
			if s.State != StateIdle || !s.NextSync.IsZero() || s.Message != "1 change waits for `vdfs sync`" {
				t.Errorf("it stands %+v", s)
			}

			res, err := r.e.Sync(t.Context(), SyncRequest{Wait: true})
			if err != nil || res.State != SyncDone {
				t.Fatalf("sync: %+v, %v", res, err)
			}
			wantTree(t, r.agree(), map[string]string{"old": "was there", "here": "made here"})

			// Who does not wait has everything done all the same.
			for _, p := range []string{"a", "b", "c"} {
				r.mkdir(p)
				r.write(p+"/here", "made here")
				f.write(p+"there", "made there")
			}
			runs := r.runsOf().Executions
			_, err = r.e.Sync(t.Context(), SyncRequest{})
			r.must(err)
			r.ran(runs + 1)
			if got := r.agree(); len(got) != 11 || !r.quiet() {
				t.Errorf("there are %v, and left is %s", got, r.pending())
			}
			r.nothingBegins("after that")
		})
	}
}

func TestARunThatWasMissedIsMadeUpForOnce(t *testing.T) {
	t.Parallel()
	r, f := cadenceRig(t, flavours()[0], "interval:1d")
	r.alive()
	r.ran(1)
	for _, away := range []struct {
		d    time.Duration
		runs int64 // when it is back
	}{{10 * day, 1}, {time.Hour, 0}} {
		stopped := r.now()
		r.crash()
		f.write("f", stopped.String())
		r.advance(away.d)
		r.open()
		stop := r.alive()
		if away.runs == 0 {
			r.nothingBegins("a moment after the last run")
		}
		r.ran(away.runs)
		if in := r.status().NextSync.Sub(r.now()); in <= 0 || in > day {
			t.Errorf("after %v the next run is in %v", away.d, in)
		}
		stop()
	}
}

// crash has vdfs end in the middle of everything; open starts it again.
func (r *rig) crash() {
	r.t.Helper()
	for _, l := range r.e.current() {
		l.close()
	}
	r.must(r.c.Close())
}

func TestARunThatWasCutShortGoesOn(t *testing.T) {
	for _, c := range []string{"manual", "interval:1h"} {
		for how, cut := range map[string]func(r *rig, stop func()){
			"by the end of vdfs": func(r *rig, stop func()) {
				stop()
				r.crash()
				r.script.Clear()
				r.open()
				r.alive()
			},
			"by a pause": func(r *rig, _ func()) {
				r.must(r.e.Pause(0))
				r.script.Clear()
				r.must(r.e.Resume())
			},
			"by a pause of the conduit": func(r *rig, _ func()) {
				r.must(r.e.PauseConduit("home"))
				r.script.Clear()
				r.must(r.e.ResumeConduit("home"))
			},
			"by a battery": func(r *rig, _ func()) {
				r.e.Spare(SparePause, "it is low") // what a person asked for goes on
				if c == "manual" {
					return
				}
				r.script.Clear()
				r.e.Spare(SpareNothing, "")
			},
		} {
			t.Run(c+" "+how, func(t *testing.T) {
				t.Parallel()
				r, _ := cadenceRig(t, flavours()[0], c)
				stop := r.alive()
				if c == "manual" {
					_, err := r.e.Sync(t.Context(), SyncRequest{Wait: true})
					r.must(err)
				}
				r.ran(1)
				stuck := make(chan struct{})
				r.script.Add(faulty.Rule{Method: faulty.Put, Hold: stuck})
				r.write("f", "text")
				if c == "manual" {
					r.e.runs.ask(r.status().ID)
				}
				r.advance(time.Hour)
				r.e.runs.wake()
				r.until("a file is being sent", func() bool { return r.e.puts.Load() > 0 })
				if cut(r, stop); c == "manual" && how == "by a battery" {
					close(stuck)
				}
				r.until("the run went on", func() bool { return r.stores[0].Tree()["f"] == "text" && r.quiet() })
				r.until("it has come to its end", func() bool { return r.kept1().Begun > 0 && !r.kept1().Open })
			})
		}
	}
}

// kept1 is what is kept of the last run of the only conduit.
func (r *rig) kept1() (s runState) {
	r.t.Helper()
	r.must(r.c.View(func(tx *cache.Tx) error {
		all, err := tx.Conduits()
		if err != nil {
			return err
		}
		text, err := tx.Setting(runKey(all[0].ID))
		if err != nil || text == nil {
			return err
		}
		return json.Unmarshal(text, &s)
	}))
	return s
}

func TestACancelledRunDoesNotGoOn(t *testing.T) {
	t.Parallel()
	r, _ := cadenceRig(t, flavours()[0], "manual")
	r.alive()
	stuck := make(chan struct{})
	r.script.Add(faulty.Rule{Method: faulty.Put, Hold: stuck})
	r.tree()
	r.write("f", "text")
	r.e.runs.ask(r.status().ID)
	r.until("a file is being sent", func() bool { return r.e.puts.Load() > 0 })
	_, err := r.e.Sync(t.Context(), SyncRequest{Cancel: true})
	r.must(err)
	r.ran(1)
	r.script.Clear()
	r.nothingBegins("after it was cancelled")
	if s := r.kept1(); s.Open {
		t.Error("the run is to go on")
	}
}

func TestARunIsTriedAgainWhileTheEndpointIsAway(t *testing.T) {
	t.Parallel()
	r, _ := cadenceRig(t, flavours()[0], "interval:1h")
	r.alive()
	r.ran(1)
	r.write("f", "text")
	r.script.Add(faulty.Rule{Method: faulty.Check, Err: remote.ErrUnavailable})
	r.advance(time.Hour)
	r.e.runs.wake()
	r.ran(2)
	if s := r.status(); s.State != StateOffline || s.NextSync.Sub(r.now()) > offRetry {
		t.Errorf("while it is away it stands %+v", s)
	}
	r.script.Clear()
	r.advance(offRetry)
	r.e.runs.wake()
	r.ran(3)
	wantTree(t, r.agree(), map[string]string{"f": "text"})
	if m := r.runsOf(); m.Errors != 1 || m.Successes != 2 {
		t.Errorf("counted %+v", m)
	}
	if in := r.status().NextSync.Sub(r.now()); in < 59*time.Minute {
		t.Errorf("the next run is in %v", in)
	}
}

func TestBetweenRunsAReaderGetsWhatTheEndpointHasNow(t *testing.T) {
	for _, fl := range flavours() {
		t.Run(fl.name, func(t *testing.T) {
			t.Parallel()
			r, f := cadenceRig(t, fl, "manual")
			f.write("wanted", "old")
			f.write("other", "old")
			r.alive()
			_, err := r.e.Sync(t.Context(), SyncRequest{Wait: true})
			r.must(err)
			f.write("wanted", "newer")
			f.write("other", "newer")
			f.write("made", "new")
			if err := r.e.hydrate(t.Context(), r.find("wanted").Node); !errors.Is(err, remote.ErrChanged) && !errors.Is(err, remote.ErrNotFound) {
				t.Fatalf("a version that is gone is read: %v", err)
			}
			r.until("the reader is served", func() bool { return r.find("wanted").Node.Size == 5 })
			if got := r.read("wanted"); got != "newer" {
				t.Errorf("it holds %q", got)
			}
			if n := r.find("other").Node; n.Size != 3 {
				t.Errorf("what nobody reads was taken in: %+v", n)
			}
			if _, err := r.lookup("made"); !errors.Is(err, cache.ErrNotFound) {
				t.Errorf("what nobody reads was taken in: %v", err)
			}
			r.nothingBegins("for a reader")
		})
	}
}

func TestRunsAreDueByTheirInterval(t *testing.T) {
	t.Parallel()
	hourly := cadence{every: time.Hour}
	const now = 100 * time.Hour
	for name, tc := range map[string]struct {
		run  run
		want time.Duration // -1: none is due
	}{
		"no run yet":                       {run{enabled: true, cadence: hourly}, 0},
		"a run a while ago":                {run{enabled: true, cadence: hourly, ran: true, last: now - 40*time.Minute}, 20 * time.Minute},
		"a run long ago":                   {run{enabled: true, cadence: hourly, ran: true, last: now - 40*time.Hour}, 0},
		"an open one":                      {run{enabled: true, cadence: hourly, ran: true, open: true, last: now}, 0},
		"an open one that failed":          {run{enabled: true, cadence: hourly, ran: true, open: true, last: now, retry: now + time.Second}, time.Second},
		"one that is asked for":            {run{enabled: true, cadence: cadence{manual: true}, asked: true}, 0},
		"one under way":                    {run{enabled: true, cadence: hourly, asked: true, under: 1}, -1},
		"a paused conduit":                 {run{cadence: hourly, asked: true}, -1},
		"nobody asks for a manual one":     {run{enabled: true, cadence: cadence{manual: true}}, -1},
		"a manual one that was cut short":  {run{enabled: true, cadence: cadence{manual: true}, ran: true, open: true}, 0},
		"nobody asks for a manual one yet": {run{enabled: true, cadence: cadence{manual: true}, ran: true, last: now - 1000*time.Hour}, -1},
	} {
		rest, ok := tc.run.rest(now)
		if !ok {
			rest = -1
		}
		if rest != tc.want {
			t.Errorf("%s: in %v, want %v", name, rest, tc.want)
		}
	}
}

func TestARunThatTakesLongerThanItsIntervalSkipsTicks(t *testing.T) {
	t.Parallel()
	r, _ := cadenceRig(t, flavours()[0], "interval:10m")
	id := r.status().ID
	r.must(r.e.runs.begin(id))
	r.must(r.e.runs.begin(id)) // somebody joins it
	r.advance(35 * time.Minute)
	r.must(r.e.runs.end(id, false, nil))
	if !r.e.runs.active(id) {
		t.Error("it is over for one that goes on")
	}
	r.jump(-9 * time.Hour) // what anybody does to the clock is nothing to it
	r.must(r.e.runs.end(id, false, nil))
	if m := r.runsOf(); m.Executions != 1 || m.Skipped != 3 {
		t.Errorf("counted %+v", m)
	}
	if in := r.status().NextSync.Sub(r.now()).Round(time.Minute); in != 5*time.Minute {
		t.Errorf("the next run is in %v", in)
	}
	r.crash()
	r.open()
	if in := r.status().NextSync.Sub(r.now()).Round(time.Minute); in != 5*time.Minute {
		t.Errorf("after a restart the next run is in %v", in)
	}
}

func TestADeletedConduitLeavesNoRuns(t *testing.T) {
	t.Parallel()
	r, _ := cadenceRig(t, flavours()[0], "interval:10m")
	r.alive()
	r.ran(1)
	key := runKey(r.status().ID)
	r.must(r.e.DeleteConduit(t.Context(), "home", true))
	r.must(r.c.View(func(tx *cache.Tx) error {
		if text, err := tx.Setting(key); err != nil || text != nil {
			t.Errorf("of its runs is kept %s, %v", text, err)
		}
		return nil
	}))
	for _, m := range r.e.Tasks.Metrics() {
		if m.Name != healthTask {
			t.Errorf("still counted is %+v", m)
		}
	}
}

func TestTheCadenceOfAConduitIsChanged(t *testing.T) {
	t.Parallel()
	r, f := cadenceRig(t, flavours()[1], "manual")
	r.alive()
	r.tree()
	r.write("here", "made here")
	f.write("there", "made there")
	r.nothingBegins("while it is manual")
	to := func(c string) {
		_, err := r.e.EditConduit("home", Edit{Settings: Settings{Cadence: &c}})
		r.must(err)
	}
	to("instant")
	r.until("it works instantly", func() bool { return len(f.s.Tree()) == 2 && r.quiet() })
	r.until("it has taken in what was there", func() bool { _, err := r.lookup("there"); return err == nil })
	to("daily")
	r.until("its first run is over", func() bool { s := r.status(); return s.Triggered.Times()["schedule"] > 0 && !r.e.runs.active(s.ID) })
	r.write("later", "made here")
	r.nothingBegins("when it has runs again")
	if s := r.status(); s.Cadence != "interval:1d" || s.PendingLocal != 1 {
		t.Errorf("it stands %+v", s)
	}
}
