package syncer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"vdfs/cache"
	"vdfs/internal/digest"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/faulty"
	"vdfs/syncer/remote/memory"
)

// runs has the engine work by itself until the test ends.
func (r *rig) runs() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.e.Run(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Error(err)
		}
	})
}

// verified reads all copies again, and returns what was found, a line each in their order.
func (r *rig) verified(repair bool, paths ...string) (*Verification, []string) {
	r.t.Helper()
	if len(paths) == 0 {
		paths = []string{"/"}
	}
	var lines []string
	var last, total int64
	out, err := r.e.Verify(context.Background(), VerifyRequest{Paths: paths, Repair: repair}, func(done, all int64) {
		if done < last || all < done {
			r.t.Errorf("progress went from %d of %d to %d of %d", last, total, done, all)
		}
		last, total = done, all
	}, func(f Finding) error {
		where := f.Endpoint
		if where == "" {
			where = "here"
		}
		lines = append(lines, fmt.Sprintf("%s %s %s: %s", f.State, f.Path, where, f.Remedy))
		return nil
	})
	r.must(err)
	slices.Sort(lines)
	return out, lines
}

// wantFound demands findings that begin so.
func (r *rig) wantFound(got []string, want ...string) {
	r.t.Helper()
	same := len(got) == len(want)
	for i := 0; same && i < len(want); i++ {
		same = strings.HasPrefix(got[i], want[i])
	}
	if !same {
		r.t.Fatalf("found is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// bases are the bindings of a file, in the order of the stores.
func (r *rig) bases(p string) (all []cache.Binding) {
	r.t.Helper()
	e := r.find(p)
	r.must(r.c.View(func(tx *cache.Tx) (err error) {
		all, err = tx.BindingsOf(e.ID)
		return err
	}))
	return all
}

func (r *rig) damages() (lines []string) {
	r.t.Helper()
	r.must(r.e.Damages(func(d DamagedCopy) error {
		lines = append(lines, strings.TrimSuffix(d.Path+" "+d.Endpoint, " "))
		return nil
	}))
	return lines
}

// diary are the lines of some kinds, the oldest first.
func (r *rig) diary(kinds ...string) (lines []string) {
	r.t.Helper()
	r.must(r.c.View(func(tx *cache.Tx) error {
		all, err := tx.Activities(0, 1000)
		for _, a := range slices.Backward(all) {
			if slices.Contains(kinds, a.Kind) {
				lines = append(lines, a.Text)
			}
		}
		return err
	}))
	return lines
}

// rots flips a bit of a file at an endpoint; nothing tells.
func (r *rig) rots(i int, p string) {
	r.t.Helper()
	data := []byte(r.stores[i].Tree()[p])
	data[len(data)/2] ^= 0x10
	r.must(r.stores[i].Damage(p, data))
}

// rotsHere is rots for what is here.
func (r *rig) rotsHere(p string) {
	r.t.Helper()
	n := r.find(p).Node
	path := filepath.Join(r.dir, "content", fmt.Sprintf("%02x", int(n.Content>>8)&0xff), strconv.FormatInt(int64(n.Content), 16))
	info, err := os.Stat(path)
	r.must(err)
	data, err := os.ReadFile(path)
	r.must(err)
	data[len(data)/2] ^= 0x10
	r.must(os.WriteFile(path, data, 0o600))
	r.must(os.Chtimes(path, info.ModTime(), info.ModTime()))
}

// frees drops what is here of a file.
func (r *rig) frees(p string) {
	r.t.Helper()
	n := r.find(p).Node
	_, err := r.c.Drop(n.Ino, n.Version)
	r.must(err)
}

// restsBySync waits until nothing is left to do.
func (r *rig) restsBySync() {
	r.t.Helper()
	res, err := r.e.Sync(context.Background(), SyncRequest{Wait: true})
	r.must(err)
	if res.State != SyncDone {
		r.t.Fatalf("the sync ends with %+v", res)
	}
}

func TestADamagedCopyIsFoundAndRepaired(t *testing.T) {
	for _, fl := range flavours() {
		t.Run(fl.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, memory.New(fl.opts()))
			r.list()
			r.mkdir("d")
			r.write("d/f", "good bytes")
			r.write("g", "others")
			r.write("empty", "")
			r.settle()
			r.runs()
			if out, found := r.verified(false); len(found) > 0 || out.Files != 3 || out.Copies != 4 || out.Bytes != 2*16 {
				t.Fatalf("of what is well: %+v, %q", out, found)
			}
			was := r.find("d/f").Node
			r.rots(0, "d/f")
			for range 2 { // it stays what it is, and is news once
				out, found := r.verified(false, "/d")
				r.wantFound(found, "damaged /d/f mem:0: a good copy is at this machine")
				if out.Damaged != 1 || out.Copies != 1 || out.Files != 1 {
					t.Fatalf("%+v", out)
				}
			}
			if got := r.diary(ActivityDamage); len(got) != 1 || !strings.Contains(got[0], "/d/f at mem:0 is damaged") {
				t.Errorf("the diary has %q", got)
			}
			if got := r.damages(); !slices.Equal(got, []string{"/d/f mem:0"}) {
				t.Errorf("known as damaged are %q", got)
			}
			if st, err := r.e.Status(); err != nil || st[0].State != StateAttention || st[0].Legs[0].Damaged != 1 {
				t.Errorf("the status is %+v, %v", st, err)
			}
			// It is no copy any more that bytes may be dropped for.
			if b := r.bases("d/f")[0]; b.Proof != 0 || b.Verified != 0 {
				t.Errorf("its base says still that it was proved: %+v", b)
			}
			if n, err := r.e.Prove(context.Background(), was.Ino, was.Version); err == nil || n != 0 {
				t.Errorf("%d copies are proved, %v", n, err)
			}

			out, found := r.verified(true)
			r.wantFound(found, "repaired /d/f mem:0: from the copy at this machine")
			if out.Damaged != 0 || out.Repaired != 1 {
				t.Fatalf("%+v", out)
			}
			if got := r.keptThere(0)["d/f"]; got == "good bytes" || len(got) != len("good bytes") {
				t.Errorf("the trash of the endpoint has %q", got)
			}
			r.restsBySync()
			r.agree()
			now := r.find("d/f").Node
			if now.Version != was.Version || now.Mtime != was.Mtime {
				t.Errorf("the file of the drive changed from %+v to %+v", was, now)
			}
			if n, err := r.e.Prove(context.Background(), was.Ino, was.Version); err != nil || n != 1 {
				t.Errorf("%d copies are proved, %v", n, err)
			}
			if got := r.damages(); len(got) > 0 {
				t.Errorf("known as damaged are %q", got)
			}
			if out, found := r.verified(false); len(found) > 0 || out.Copies != 4 {
				t.Errorf("afterwards: %+v, %q", out, found)
			}
			if st, err := r.e.Status(); err != nil || st[0].State != StateIdle {
				t.Errorf("the status is %+v, %v", st, err)
			}
			if got := r.diary(ActivityDamage, ActivityRepair); len(got) != 2 || !strings.Contains(got[1], "/d/f at mem:0 is repaired from the copy at this machine") {
				t.Errorf("the diary has %q", got)
			}
		})
	}
}

func TestADamagedCopyIsRepairedFromAnotherEndpoint(t *testing.T) {
	for _, size := range []int{100, 3 * groupFile} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, memory.New(flavours()[0].opts()), memory.New(flavours()[1].opts()))
			r.list()
			want := strings.Repeat("x", size)
			r.write("f", want)
			r.settle()
			r.frees("f")
			r.runs()
			for i := range 2 {
				r.rots(i, "f")
				_, found := r.verified(true)
				r.wantFound(found, fmt.Sprintf("repaired /f mem:%d: from the copy at mem:%d", i, 1-i))
				if got := r.stores[i].Tree()["f"]; got != want {
					t.Fatalf("endpoint %d has %d other bytes", i, len(got))
				}
			}
			if n := r.find("f").Node; n.Residency != cache.None {
				t.Errorf("it is here: %+v", n)
			}
			r.restsBySync()
			r.agree()
		})
	}
}

func TestWithoutAGoodCopyNothingIsChanged(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(flavours()[0].opts()))
	r.list()
	r.write("gone", "the only bytes")
	r.write("both", "the same twice")
	r.settle()
	r.frees("gone")
	r.rots(0, "gone")
	r.rots(0, "both")
	r.rotsHere("both")
	r.runs()
	there := r.stores[0].Tree()
	content := r.find("both").Node.Content
	for _, repair := range []bool{false, true} {
		out, found := r.verified(repair)
		r.wantFound(found, "damaged /both here: "+noGoodCopy, "damaged /both mem:0: "+noGoodCopy, "damaged /gone mem:0: "+noGoodCopy)
		if out.Damaged != 3 || out.Repaired != 0 {
			t.Errorf("%+v", out)
		}
	}
	if diff := treeDiff(there, r.stores[0].Tree()); diff != "" || len(r.stores[0].Kept()) > 0 || r.find("both").Node.Content != content {
		t.Errorf("something was changed: %s", diff)
	}
	// They are what they were again, as by a disk that works again: that is found, too.
	for p, text := range map[string]string{"gone": "the only bytes", "both": "the same twice"} {
		r.must(r.stores[0].Damage(p, []byte(text)))
	}
	_, found := r.verified(true)
	r.wantFound(found, "repaired /both here: from the copy at mem:0")
	if got := r.damages(); len(got) > 0 {
		t.Errorf("known as damaged are %q", got)
	}
}

func TestDamagedBytesOnThisMachineAreRepaired(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(flavours()[0].opts()))
	r.list()
	r.write("f", "good bytes")
	r.settle()
	r.runs()
	was := r.find("f").Node
	r.rotsHere("f")
	_, found := r.verified(false)
	r.wantFound(found, "damaged /f here: a good copy is at mem:0")
	if got := r.damages(); !slices.Equal(got, []string{"/f"}) {
		t.Errorf("known as damaged are %q", got)
	}
	bad := r.content(was.Content)

	reader, err := r.c.OpenFile(was.Ino, false)
	r.must(err)
	_, found = r.verified(true)
	r.wantFound(found, "damaged /f here: a program has it open")
	r.must(reader.Close())

	_, found = r.verified(true)
	r.wantFound(found, "repaired /f here: from the copy at mem:0")
	now := r.find("f").Node
	if got := r.content(now.Content); got != "good bytes" || now.Version != was.Version || now.Residency != cache.Full {
		t.Errorf("it has %q, %+v", got, now)
	}
	if got := r.kept()["/f"]; got != bad {
		t.Errorf("the trash has %q, want %q", got, bad)
	}
	r.must(r.c.View(func(tx *cache.Tx) error {
		rows, err := tx.Trash(0, 10)
		if len(rows) != 1 || rows[0].Hash != digest.Sum([]byte(bad)) {
			t.Errorf("the trash says %+v", rows)
		}
		return err
	}))
	if got := r.damages(); len(got) > 0 {
		t.Errorf("known as damaged are %q", got)
	}
	r.restsBySync()
	r.agree()
	// What was not sent yet has no other copy, and may be anything.
	r.must(r.e.Pause(0))
	r.write("f", "new bytes!")
	if out, found := r.verified(true); len(found) > 0 || out.Copies != 1 {
		t.Errorf("of a file that is to be sent: %+v, %q", out, found)
	}
}

func TestWhatSomebodyChangedIsNotDamaged(t *testing.T) {
	t.Parallel()
	for _, fl := range flavours() {
		t.Run(fl.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, memory.New(fl.opts()))
			r.list()
			for _, p := range []string{"edited", "gone", "moved", "kept"} {
				r.write(p, "bytes of "+p)
			}
			r.settle()
			f := r.far(0)
			f.write("edited", "BYTES OF edited")
			f.remove("gone")
			f.move("moved", "elsewhere")
			done := make(chan struct{})
			r.script.Add(faulty.Rule{Method: faulty.Changes, Hold: done}) // no cycle takes it in
			r.runs()
			out, found := r.verified(true)
			close(done)
			r.script.Clear()
			want := []string{"changed /edited mem:0", "changed /gone mem:0"}
			if !strings.HasPrefix(fl.name, "ids") { // else it is found where it is by now
				want = append(want, "changed /moved mem:0")
			}
			r.wantFound(found, want...)
			if out.Damaged != 0 || int(out.Changed) != len(want) {
				t.Errorf("%+v", out)
			}
			r.restsBySync()
			r.agree()
			if got := r.read("edited"); got != "BYTES OF edited" {
				t.Errorf("the edit became %q", got)
			}
		})
	}
}

func TestAnEndpointThatCannotProveIsReadAgain(t *testing.T) {
	t.Parallel()
	o := flavours()[0].opts()
	o.Caps.Proof = remote.ProofNone
	r := newRig(t, memory.New(o))
	r.list()
	r.write("f", "good bytes")
	r.settle()
	r.frees("f")
	r.far(0).write("never read", "unknown to the drive")
	r.runs()
	r.restsBySync()
	if out, found := r.verified(false); len(found) > 0 || out.Copies != 2 {
		t.Fatalf("%+v, %q", out, found)
	}
	for _, p := range []string{"f", "never read"} {
		if b := r.bases(p)[0]; remote.Proof(b.Proof) != remote.ProofRead || b.Hash != digest.Sum([]byte(r.stores[0].Tree()[p])) {
			t.Errorf("the base of %s says %+v", p, b)
		}
	}
	r.rots(0, "never read")
	_, found := r.verified(false)
	r.wantFound(found, "damaged /never read mem:0")
}

func TestWhatCannotBeReadIsDamagedAndWhoIsAwayIsNot(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(flavours()[0].opts()), memory.New(flavours()[0].opts()))
	r.list()
	r.write("f", "good bytes")
	r.write("g", "more bytes")
	r.settle()
	r.runs()
	bad := remote.ItemID(r.bases("f")[0].RemoteID)
	r.script.Add(faulty.Rule{Method: faulty.Verify, Match: func(c faulty.Call) bool { return c.ID == bad }, Err: remote.ErrUnavailable})
	r.stores[1].SetOffline(true)
	out, found := r.verified(false)
	r.wantFound(found, "damaged /f mem:0: a good copy is at this machine", "unreachable  mem:1")
	if out.Damaged != 1 || out.Away != 2 || out.Copies != 3 {
		t.Errorf("%+v", out)
	}
	r.script.Clear()
	r.stores[1].SetOffline(false)
	eventually(t, func() bool {
		out, found = r.verified(false)
		return out.Away == 0
	})
	r.wantFound(found)
	if got := r.damages(); len(got) > 0 {
		t.Errorf("known as damaged are %q", got)
	}
}

// eventually waits for something that happens by itself.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come to pass")
		}
	}
}

func TestARepairThatIsCutIsSeenToHaveHappened(t *testing.T) {
	for _, fl := range flavours() {
		t.Run(fl.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, memory.New(fl.opts()))
			r.list()
			r.write("f", "good bytes")
			r.settle()
			was := r.find("f").Node
			r.rots(0, "f")
			r.script.Add(faulty.Rule{Method: faulty.Put, Nth: 1, After: remote.ErrUnknown})
			r.runs()
			_, found := r.verified(true)
			r.wantFound(found, "damaged /f mem:0: it could not be repaired")
			r.restsBySync()
			r.agree()
			if now := r.find("f").Node; now.Version != was.Version {
				t.Errorf("the same bytes became version %d of %d", now.Version, was.Version)
			}
			if got := r.damages(); len(got) > 0 {
				t.Errorf("known as damaged are %q", got)
			}
			if out, found := r.verified(false); len(found) > 0 || out.Copies != 2 {
				t.Errorf("afterwards: %+v, %q", out, found)
			}
		})
	}
}

func TestAPausedDriveIsVerifiedAndNotRepaired(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(flavours()[0].opts()))
	r.list()
	r.write("f", "good bytes")
	r.settle()
	r.rots(0, "f")
	r.runs()
	r.must(r.e.Pause(0))
	_, found := r.verified(true)
	r.wantFound(found, "damaged /f mem:0: it could not be repaired: conduit is disabled (paused)")
	r.must(r.e.Resume())
	_, found = r.verified(true)
	r.wantFound(found, "repaired /f mem:0")
}

func TestAVerificationEndsWithWhoeverAskedForIt(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(flavours()[0].opts()))
	r.list()
	r.write("f", "good bytes")
	r.settle()
	r.runs()
	ctx, cancel := context.WithCancel(context.Background())
	r.script.Add(faulty.Rule{Method: faulty.Stat, Nth: 1, Before: cancel})
	if _, err := r.e.Verify(ctx, VerifyRequest{Paths: []string{"/"}}, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("it ends with %v", err)
	}
	if _, err := r.e.Verify(context.Background(), VerifyRequest{Paths: []string{"/nowhere"}}, nil, nil); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("of nothing: %v", err)
	}
}

// TestRandomDamageIsRepairedAsFarAsThereAreGoodCopies damages any copies of many files: with one good copy all become good, and
// of a file without any nothing is touched.
func TestRandomDamageIsRepairedAsFarAsThereAreGoodCopies(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	r := newRig(t, memory.New(flavours()[0].opts()), memory.New(flavours()[1].opts()))
	r.list()
	const files = 60
	name := func(i int) string { return fmt.Sprintf("f%d", i) }
	text := func(i int) string { return strings.Repeat(fmt.Sprintf("bytes of %d. ", i), 1+i*i) }
	for i := range files {
		r.write(name(i), text(i))
	}
	r.settle()
	lost, bad := map[int]bool{}, 0
	for i := range files {
		good := 0
		if random.IntN(2) == 0 {
			r.frees(name(i))
		} else if random.IntN(2) == 0 {
			r.rotsHere(name(i))
			bad++
		} else {
			good++
		}
		for s := range r.stores {
			if random.IntN(2) == 0 {
				r.rots(s, name(i))
				bad++
			} else {
				good++
			}
		}
		lost[i] = good == 0
	}
	before := []map[string]string{r.stores[0].Tree(), r.stores[1].Tree()}
	r.runs()
	if out, _ := r.verified(false); int(out.Damaged) != bad {
		t.Fatalf("%d damaged copies are %+v", bad, out)
	}
	out, found := r.verified(true)
	if int(out.Damaged+out.Repaired) != bad {
		t.Fatalf("%d damaged copies are %+v", bad, out)
	}
	for _, line := range found {
		var i int
		if _, err := fmt.Sscanf(strings.Fields(line)[1], "/f%d", &i); err != nil || strings.HasPrefix(line, "damaged") != lost[i] {
			t.Errorf("%s", line)
		}
	}
	r.restsBySync()
	for i := range files {
		for s := range r.stores {
			want := text(i)
			if lost[i] {
				want = before[s][name(i)]
			}
			if r.stores[s].Tree()[name(i)] != want {
				t.Errorf("%s has other bytes at endpoint %d; lost: %v", name(i), s, lost[i])
			}
		}
		if n := r.find(name(i)).Node; !lost[i] && n.Residency == cache.Full && r.content(n.Content) != text(i) {
			t.Errorf("%s has other bytes here", name(i))
		}
	}
}

func TestTheWholeTreeIsVerifiedOnceADay(t *testing.T) {
	for _, fl := range flavours() {
		t.Run(fl.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, memory.New(fl.opts()))
			l := r.legs()[0]
			last := func() (c cache.TreeCheck) {
				r.must(r.c.View(func(tx *cache.Tx) (err error) {
					c, err = tx.TreeCheck(l.id)
					return err
				}))
				return c
			}
			l.verifyTreeIfDue(context.Background())
			if c := last(); c.Checked != 0 {
				t.Fatalf("before the first contact: %+v", c)
			}
			r.list()
			r.write("f", "bytes")
			r.far(0).write("d/g", "more")
			r.settle()
			l.verifyTreeIfDue(context.Background())
			first := last()
			if first.Result != cache.TreeVerified || first.Verified == 0 || first.Verified != first.Checked {
				t.Fatalf("at first contact: %+v", first)
			}
			r.advance(23 * time.Hour)
			l.verifyTreeIfDue(context.Background())
			if c := last(); c != first {
				t.Fatalf("before a day is over: %+v", c)
			}
			r.advance(2 * time.Hour)
			r.write("f", "other bytes")
			r.far(0).write("d/g", "other")
			l.verifyTreeIfDue(context.Background())
			c := last()
			if c.Result != "failed:2 changes are left to be done" || c.Verified != first.Verified || c.Checked <= first.Checked {
				t.Fatalf("with changes on both sides: %+v", c)
			}
			r.settle()
			r.advance(10 * time.Second)
			l.verifyTreeIfDue(context.Background())
			if now := last(); now != c {
				t.Fatalf("it was looked at again at once: %+v", now)
			}
			r.advance(time.Hour)
			l.verifyTreeIfDue(context.Background())
			if now := last(); now.Result != cache.TreeVerified || now.Verified <= first.Verified {
				t.Fatalf("afterwards: %+v", now)
			}
			st, err := r.e.Status()
			r.must(err)
			if st[0].Tree != last() {
				t.Errorf("the status says %+v", st[0].Tree)
			}
			// A clock that is set back has it looked at again, instead of in a year.
			r.jump(-365 * 24 * time.Hour)
			l.treeDue = 0
			l.verifyTreeIfDue(context.Background())
			if now := last(); now.Result != cache.TreeVerified || now.Checked > r.e.now() {
				t.Errorf("with the clock set back: %+v", now)
			}
		})
	}
}

func TestAllTreesAreVerifiedWhenAsked(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(flavours()[0].opts()), memory.New(flavours()[1].opts()))
	r.list()
	r.write("f", "bytes")
	r.settle()
	r.stores[1].SetOffline(true)
	r.runs()
	all, err := r.e.VerifyTrees(context.Background())
	r.must(err)
	if len(all) != 2 || all[0].Result != cache.TreeVerified || all[0].Endpoint != "mem:0" || !strings.HasPrefix(all[1].Result, "failed:endpoint is not reachable") {
		t.Errorf("%+v", all)
	}
}
