package syncer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"vdfs/cache"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/faulty"
	"vdfs/syncer/remote/memory"
)

// beside has another store join the place of the first.
func (r *rig) beside(s *memory.Store) *far {
	r.t.Helper()
	r.stores = append(r.stores, s)
	r.join(len(r.stores) - 1)
	return r.far(len(r.stores) - 1)
}

// sent are the names of the files that were sent to any endpoint.
func (r *rig) sent() (out []string) {
	for _, c := range r.script.Calls(faulty.Put) {
		out = append(out, c.Name)
	}
	slices.Sort(out)
	return out
}

// pairs runs a test with a store of each flavour joining one of each.
func pairs(t *testing.T, run func(t *testing.T, r *rig, second *memory.Store)) {
	for i, one := range flavours() {
		for _, other := range flavours()[i:] {
			t.Run(one.name+" and "+other.name, func(t *testing.T) {
				t.Parallel()
				run(t, newRig(t, memory.New(one.opts())), memory.New(other.opts()))
			})
		}
	}
}

// TestASecondEndpointMeetsWhatTheDriveHas joins an endpoint that has a part of the files of the drive, others under the same
// names, and some of its own.
func TestASecondEndpointMeetsWhatTheDriveHas(t *testing.T) {
	pairs(t, func(t *testing.T, r *rig, second *memory.Store) {
		a := r.far(0)
		for p, text := range map[string]string{"same": "equal", "d/same": "equal below", "d/mine": "only in the first", "clash": "of the first"} {
			a.write(p, text)
		}
		a.mkdir("empty")
		r.settle()
		r.mkdir("d/made")
		r.write("d/made/here", "written in the drive")
		r.settle()
		for p, text := range map[string]string{"same": "equal", "d/same": "equal below", "d/theirs": "only in the second", "clash": "OF THE SECOND"} {
			if err := second.WriteFile(p, []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		r.script.Forget()
		r.beside(second)
		r.settle()
		tree := r.agree()
		var conflict []string
		for p, text := range tree {
			if strings.HasPrefix(p, "clash (conflict") && text == "of the first" {
				conflict = append(conflict, p)
			}
		}
		if len(conflict) != 1 || tree["clash"] != "OF THE SECOND" {
			t.Fatalf("two contents under one name: %q", tree)
		}
		delete(tree, conflict[0])
		wantTree(t, tree, map[string]string{
			"same": "equal", "d/": "", "d/same": "equal below", "d/mine": "only in the first", "d/theirs": "only in the second", "empty/": "",
			"d/made/": "", "d/made/here": "written in the drive", "clash": "OF THE SECOND",
		})
		// What both have is not sent; everything else once to whoever lacks it. The conflict file is renamed where it was.
		want := []string{"clash", conflict[0], "here", "mine", "theirs"}
		slices.Sort(want)
		if got := r.sent(); !slices.Equal(got, want) {
			t.Errorf("sent were %q, want %q", got, want)
		}
	})
}

// TestBytesGoFromOneEndpointToAnotherWithoutStaying has files come from one endpoint that nobody opens.
func TestBytesGoFromOneEndpointToAnotherWithoutStaying(t *testing.T) {
	pairs(t, func(t *testing.T, r *rig, second *memory.Store) {
		r.settle()
		b := r.beside(second)
		r.settle()
		a := r.far(0)
		text := strings.Repeat("bytes ", 50_000)
		a.write("d/big", text)
		b.write("other", "small")
		r.settle()
		for _, p := range []string{"d/big", "other"} {
			if n := r.find(p).Node; n.Residency != cache.None || n.Content != 0 {
				t.Errorf("%s: %+v: bytes stay in the drive", p, n)
			}
		}
		if st, err := r.c.Stats(); err != nil || st.ContentBytes != 0 {
			t.Errorf("the cache holds %d bytes, %v", st.ContentBytes, err)
		}
		for i, s := range r.stores {
			wantTree(t, s.Tree(), map[string]string{"d/": "", "d/big": text, "other": "small"})
			n := r.find("d/big").Node
			if err := r.holds(i, "d/big", n.Hash); err != nil {
				t.Errorf("endpoint %d: %v", i, err)
			}
		}
		a.move("d", "e")
		b.remove("other")
		r.settle()
		wantTree(t, r.agree(), map[string]string{"e/": "", "e/big": text})
	})
}

// holds is nil if a leg's base says that its endpoint stores a content.
func (r *rig) holds(leg int, p string, h cache.Hash) error {
	r.t.Helper()
	e, l := r.find(p), r.legs()[leg]
	return r.c.View(func(tx *cache.Tx) error {
		b, ok, err := tx.BindingOfDentry(l.id, e.ID)
		if err == nil && (!ok || !h.Known() || b.LocalVersion != e.Node.Version || b.Hash != h && leg > 0) {
			err = fmt.Errorf("base %+v", b)
		}
		return err
	})
}

// TestAnEndpointThatIsAwayHoldsUpNoOther has files whose bytes are at an endpoint that went away, beside others.
func TestAnEndpointThatIsAwayHoldsUpNoOther(t *testing.T) {
	pairs(t, func(t *testing.T, r *rig, second *memory.Store) {
		a := r.far(0)
		a.write("far", "at the first only")
		a.write("equal", "the same")
		r.settle()
		if err := second.WriteFile("equal", []byte("the same")); err != nil { // to be compared, which takes bytes of the first
			t.Fatal(err)
		}
		r.beside(second)
		legs := r.legs()
		r.stores[0].SetOffline(true)
		if err := r.cycle(legs[0]); !errors.Is(err, ErrUnreachable) {
			t.Fatalf("the first is away: %v", err)
		}
		r.write("near", "written here")
		for range 3 {
			r.must(r.cycle(legs[1]))
		}
		if got := second.Tree(); got["near"] != "written here" || len(got) != 2 {
			t.Errorf("the second has %q", got)
		}
		if legs[1].opened() == nil {
			t.Error("the second is taken to be away")
		}
		_, state, blocked, err := legs[1].standing()
		waits := map[string]bool{}
		for _, b := range blocked {
			waits[b.Path] = waits[b.Path] || strings.Contains(b.Reason, "mem:0") // it names the other endpoint
		}
		if err != nil || state != SyncParked || !maps.Equal(waits, map[string]bool{"/far": true, "/equal": true}) {
			t.Errorf("what waits: %s, %+v, %v", state, blocked, err)
		}
		all, err := r.e.Status()
		if err != nil || all[0].State != StateOffline || all[1].State != StateSyncing || all[1].Errors != 0 {
			t.Errorf("conduits are %s and %s (%d errors), %v", all[0].State, all[1].State, all[1].Errors, err)
		}
		r.stores[0].SetOffline(false)
		r.must(r.cycle(legs[0]))
		select {
		case <-legs[1].bell.rung:
		default:
			t.Error("the second is not told that the first is back")
		}
		r.settle()
		wantTree(t, r.agree(), map[string]string{"far": "at the first only", "equal": "the same", "near": "written here"})
	})
}

// TestAFailedReadElsewhereIsNoFailureHere has the other endpoint break off, or refuse, while its bytes are sent on.
func TestAFailedReadElsewhereIsNoFailureHere(t *testing.T) {
	for name, rule := range map[string]faulty.Rule{
		"gone":      {Method: faulty.Read, Nth: 1, Err: remote.ErrUnavailable},
		"no root":   {Method: faulty.Read, Nth: 1, Err: remote.ErrRootGone},
		"cut off":   {Method: faulty.Read, Nth: 1, Cut: 3, Err: nil},
		"denied":    {Method: faulty.Read, Nth: 1, Err: remote.ErrDenied},
		"not found": {Method: faulty.Read, Nth: 1, Err: remote.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, memory.New(flavours()[1].opts()))
			r.far(0).write("f", "some bytes")
			r.settle()
			r.beside(memory.New(flavours()[1].opts()))
			l := r.legs()[1]
			r.script.Add(rule)
			r.must(r.cycle(l))
			if l.opened() == nil {
				t.Error("the endpoint that bytes were to go to is taken to be away")
			}
			r.script.Clear()
			r.must(r.cycle(r.legs()[0]))
			r.unpark()
			r.settle()
			wantTree(t, r.agree(), map[string]string{"f": "some bytes"})
		})
	}
}

// TestBytesThatPassAreReadOnce has files of unknown hashes go from one endpoint to another: new ones, and new versions.
func TestBytesThatPassAreReadOnce(t *testing.T) {
	pairs(t, func(t *testing.T, r *rig, second *memory.Store) {
		r.settle()
		r.beside(second)
		r.settle()
		a := r.far(0)
		for i, text := range []string{strings.Repeat("bytes ", 400_000), "a version of another size"} {
			a.write("f", text)
			r.script.Forget()
			r.settle()
			if n := len(r.script.Calls(faulty.Read)); n != 1 {
				t.Errorf("version %d was read %d times", i, n)
			}
			wantTree(t, second.Tree(), map[string]string{"f": text})
			n := r.find("f").Node
			if n.Residency != cache.None || !n.Hash.Known() {
				t.Errorf("in the drive there is %+v", n)
			}
			if err := r.holds(1, "f", n.Hash); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestALostReplyToWhatPassesMakesNoStrangerOfIt loses the reply to a file whose hash was not known before its bytes passed, and
// takes the endpoint away that they came from.
func TestALostReplyToWhatPassesMakesNoStrangerOfIt(t *testing.T) {
	pairs(t, func(t *testing.T, r *rig, second *memory.Store) {
		r.settle()
		r.beside(second)
		r.settle()
		legs := r.legs()
		r.far(0).write("f", "some bytes")
		r.must(r.cycle(legs[0]))
		r.script.Add(faulty.Rule{Method: faulty.Put, Nth: 1, After: remote.ErrUnknown, Then: func() { r.stores[0].SetOffline(true) }})
		r.must(r.cycle(legs[1]))
		r.write("near", "written here")
		for range 3 {
			r.must(r.cycle(legs[1]))
		}
		wantTree(t, second.Tree(), map[string]string{"f": "some bytes", "near": "written here"})
		r.move("f", "g") // a stranger's would come back under its name
		r.reopen()
		r.stores[0].SetOffline(false)
		r.settle()
		wantTree(t, r.agree(), map[string]string{"g": "some bytes", "near": "written here"})
		if rows, _ := r.conflicts(); len(rows) != 0 {
			t.Errorf("conflicts are %+v", rows)
		}
	})
}

// TestTwoNamesAtOneEndpointAreOneCopy counts who has proved to store a file with two names.
func TestTwoNamesAtOneEndpointAreOneCopy(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(flavours()[0].opts()))
	r.settle()
	r.write("f", "text")
	n := r.find("f").Node
	_, err := r.c.Link(n.Ino, cache.RootIno, "g")
	r.must(err)
	r.settle()
	prove := func(want int) {
		t.Helper()
		n := r.find("f").Node
		if got, err := r.e.Prove(context.Background(), n.Ino, n.Version); err != nil || got != want {
			t.Errorf("%d endpoints have proved it, want %d; %v", got, want, err)
		}
	}
	prove(1)
	r.beside(memory.New(flavours()[1].opts()))
	r.settle()
	prove(2)
	r.legs()[0].setOffline(remote.ErrUnavailable)
	prove(1)
}

// TestWhatTheDriveHadIsSentThoughTheDaemonDied kills the daemon right after a conduit was made.
func TestWhatTheDriveHadIsSentThoughTheDaemonDied(t *testing.T) {
	pairs(t, func(t *testing.T, r *rig, second *memory.Store) {
		r.settle()
		for i := range 3 * batchSize {
			r.write(fmt.Sprintf("f%03d", i), "text")
		}
		r.settle()
		r.beside(second)
		r.reopen()
		l := r.legs()[1]
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := l.derive(ctx); err == nil {
			t.Error("a cycle that was ended went on")
		}
		r.must(r.c.Update(0, func(tx *cache.Tx) error { // a part was marked
			pos, err := tx.Rederive(l.id, cache.RederivePos{}, batchSize, false)
			return errors.Join(err, saveDerive(tx, l.id, pos))
		}))
		r.reopen()
		r.settle()
		if got := len(r.agree()); got != 3*batchSize {
			t.Errorf("%d files are there", got)
		}
		r.must(r.c.View(func(tx *cache.Tx) error {
			text, err := tx.Setting(deriveKey(l.id))
			if text != nil {
				t.Errorf("it is still noted to be done: %s", text)
			}
			return err
		}))
	})
}

// TestNothingIsSentBeforeItIsKnownWhatIsThere ends a first contact half way.
func TestNothingIsSentBeforeItIsKnownWhatIsThere(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(flavours()[0].opts()))
	r.settle()
	r.write("f", "text")
	r.settle()
	second := memory.New(flavours()[0].opts())
	if err := second.WriteFile("d/g", []byte("theirs")); err != nil {
		t.Fatal(err)
	}
	r.beside(second)
	l := r.legs()[1]
	r.script.Forget()
	r.script.Add(faulty.Rule{Method: faulty.List, Nth: 2, Err: remote.ErrUnavailable})
	if err := r.cycle(l); !errors.Is(err, ErrUnreachable) {
		t.Fatalf("a listing failed: %v", err)
	}
	if sent := r.sent(); len(sent) > 0 {
		t.Errorf("sent were %q", sent)
	}
	r.script.Clear()
	r.settle()
	wantTree(t, r.agree(), map[string]string{"f": "text", "d/": "", "d/g": "theirs"})
}

// TestWaitingSyncEndsWhenNoLegHasAnythingLeft waits for a change that one endpoint brings to be at the other.
func TestWaitingSyncEndsWhenNoLegHasAnythingLeft(t *testing.T) {
	pairs(t, func(t *testing.T, r *rig, second *memory.Store) {
		b := r.beside(second)
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- r.e.Run(ctx) }()
		t.Cleanup(func() {
			stop()
			r.must(<-done)
		})
		for i := range 5 {
			a := r.far(0)
			a.write(fmt.Sprintf("from the first %d", i), "1")
			b.write(fmt.Sprintf("from the second %d", i), "2")
			res, err := r.e.Sync(ctx, SyncRequest{Wait: true})
			if err != nil || res.State != SyncDone {
				t.Fatalf("sync: %+v, %v", res, err)
			}
			if got := len(r.agree()); got != 2*(i+1) {
				t.Fatalf("%d files are there", got)
			}
		}
		if err := r.e.PauseConduit("mem:1"); err != nil {
			t.Fatal(err)
		}
		if _, err := r.e.Sync(ctx, SyncRequest{Conduits: []string{"mem:1"}}); err == nil || !strings.Contains(err.Error(), "disabled") {
			t.Errorf("a paused conduit: %v", err)
		}
		r.far(0).write("meanwhile", "3")
		if res, err := r.e.Sync(ctx, SyncRequest{Wait: true}); err != nil || res.State != SyncDone {
			t.Fatalf("sync of the other: %+v, %v", res, err)
		}
		if _, there := second.Tree()["meanwhile"]; there {
			t.Error("a paused conduit has sent something")
		}
	})
}

// TestRandomTracesOfALegThatJoinsLater lets three sides work that have never met, joins the last one, and goes on as all traces do.
func TestRandomTracesOfALegThatJoinsLater(t *testing.T) {
	first := firstSeed(t)
	for i := range uint64(traces(t, 20)) {
		seed := first + i
		for k := range flavours() {
			a, b := flavours()[k], flavours()[(k+1)%len(flavours())]
			t.Run(fmt.Sprintf("seed %d %s", seed, a.name), func(t *testing.T) {
				t.Parallel()
				tr := &trace{
					blind: []bool{false, a.opts().NoIdent, b.opts().NoIdent}, r: newRig(t, memory.New(a.opts())),
					rng: rand.New(rand.NewPCG(seed, uint64(k))), names: []string{"a", "b", "c", "d", "e", "f"},
				}
				defer tr.tell(t, seed)
				tr.meet(memory.New(b.opts()))
				if !t.Failed() {
					tr.run()
				}
			})
		}
	}
}

// meet has a store join the drive and its endpoint after each has done something. Nothing of what is there then may be lost.
func (tr *trace) meet(s *memory.Store) {
	r := tr.r
	r.settle()
	sides := []side{r, r.far(0), &far{r.t, s, s.Open()}}
	for range 2 {
		for i, s := range sides {
			for range tr.rng.IntN(8) {
				tr.step(i, s)
			}
		}
		r.settle()
	}
	for range tr.rng.IntN(4) { // not sent yet
		tr.step(0, r)
	}
	here, there, all := tokens(r.tree()), tokens(s.Tree()), tokens(r.stores[0].Tree())
	tr.note("joined")
	r.beside(s)
	tr.disturb()
	r.settle()
	final := r.agree()
	is := tokens(final)
	for _, have := range []map[string]bool{here, there} { // what the first has otherwise was replaced here
		for tok := range have {
			if all[tok] = true; !is[tok] {
				r.t.Errorf("O2: %s is lost; final %q", tok, final)
			}
		}
	}
	for tok := range is {
		if !all[tok] {
			r.t.Errorf("O3: %s comes from nowhere", tok)
		}
	}
	tr.idle(final)
}
