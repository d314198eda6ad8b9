package plan_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"vdfs/syncer/plan"
)

// TestMain sets the number of random traces per property, of which there are
// ten: VDFS_PLAN_TRACES, or what -rapid.checks says, or a number that takes
// seconds. rapid prints the seed of a trace that fails, and shrinks it.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	traces := os.Getenv("VDFS_PLAN_TRACES")
	if traces == "" {
		traces = "500"
	}
	if !given {
		if err := flag.Set("rapid.checks", traces); err != nil {
			fmt.Fprintln(os.Stderr, "set the number of traces:", err)
			os.Exit(2)
		}
	}
	os.Exit(m.Run())
}

// trace is one random run.
type trace struct {
	*hand
	w *world
	// parallel says that people go on working while it syncs.
	parallel bool
	actors   map[string]bool
	hidden   map[string]bool
}

func newTrace(rt *rapid.T, w *world) *trace {
	tr := &trace{hand: newHand(rt), w: w, actors: map[string]bool{}, hidden: map[string]bool{}}
	seed := rapid.Uint64().Draw(rt, "seed")
	w.rnd = rand.New(rand.NewPCG(seed, 1))
	w.follow = rapid.Bool().Draw(rt, "follow")
	return tr
}

// seedBase fills one replica and syncs it to all.
func (tr *trace) seedBase() {
	from := tr.w.replicas()[0]
	for range rapid.IntRange(0, 12).Draw(tr.rt, "size of the base") {
		tr.create(from, tr.dir(from).id, tr.name(from))
	}
	tr.settle()
	if n := tr.w.count[plan.OpRenameAside] + tr.w.count[plan.OpSplitLoser]; n > 0 {
		tr.rt.Fatalf("first contact with nothing made %d conflicts", n)
	}
}

func (tr *trace) perturb() {
	for range rapid.IntRange(1, 14).Draw(tr.rt, "steps") {
		t := tr.w.replicas()[rapid.IntRange(0, len(tr.w.replicas())-1).Draw(tr.rt, "replica")]
		tr.actors[t.name] = true
		tr.act(t)
		tr.note(t)
	}
}

// note remembers what is under a name that is not synced: when it gets another
// name again, it is new. Its bytes are here, since programs read what they put
// aside; nobody else could give them once the object is deleted.
func (tr *trace) note(t *tree) {
	for _, x := range t.items {
		if t.localOnly(x) {
			tr.hidden[x.bytes] = true
			x.placeholder = false
		}
	}
}

// makeBusy opens files for writing in the drives.
func (tr *trace) makeBusy(busy bool) {
	for _, d := range tr.w.drives {
		for _, x := range d.items {
			x.busy = busy && x.kind == plan.File && tr.w.rnd.IntN(6) == 0
		}
	}
}

func (tr *trace) settle() {
	if err := tr.w.quiet(); err != nil {
		tr.fail(err)
	}
	if err := tr.w.converged(); err != nil {
		tr.fail(err)
	}
}

func (tr *trace) fail(err error) {
	state := ""
	for _, t := range tr.w.replicas() {
		state += fmt.Sprintf("%s: %v\n", t.name, t.listing())
	}
	tail := tr.w.log
	if len(tail) > 120 {
		tail = tail[len(tail)-120:]
	}
	tr.rt.Fatalf("%v\n%s\n%s", err, state, strings.Join(tail, "\n"))
}

// disturbed runs some rounds in which replies are lost, files are open and,
// when parallel, people go on working.
func (tr *trace) disturbed() {
	tr.w.lossy = rapid.IntRange(0, 3).Draw(tr.rt, "lost replies")
	tr.makeBusy(true)
	for range rapid.IntRange(0, 3).Draw(tr.rt, "disturbed rounds") {
		if _, _, err := tr.w.round(); err != nil {
			tr.fail(err)
		}
		if tr.parallel {
			tr.perturb()
		}
	}
	tr.makeBusy(false)
}

func (tr *trace) run() {
	tr.w.strict = !tr.parallel && len(tr.w.drives) == 1
	tr.seedBase()
	base := tr.w.endpoints[0].tokens(false)
	tr.w.log = nil
	tr.w.count = map[plan.OpKind]int{}
	tr.perturb()
	missing := tr.missing(base)
	tr.disturbed()
	lossy := tr.w.count
	tr.settle()
	tr.check(missing, lossy)
}

// missing are the contents of the base that some replica no longer has under
// any name.
func (tr *trace) missing(base map[string]bool) map[string]bool {
	out := map[string]bool{}
	for _, t := range tr.w.replicas() {
		has := t.tokens(true)
		for token := range base {
			if !has[token] && !tr.pool[token] {
				out[token] = true
			}
		}
	}
	return out
}

// check asserts O2 to O5 of the scenarios; O1 and O6 to O8 hold since settle.
func (tr *trace) check(missing map[string]bool, count map[plan.OpKind]int) {
	final := tr.w.endpoints[0].tokens(false)
	everywhere := maps.Clone(final)
	for _, d := range tr.w.drives {
		maps.Copy(everywhere, d.tokens(true))
	}
	for token := range tr.written {
		if !tr.removed[token] && !everywhere[token] {
			tr.fail(fmt.Errorf("content %s was lost", token))
		}
	}
	for token := range everywhere {
		if !tr.written[token] {
			tr.fail(fmt.Errorf("content %s was invented", token))
		}
	}
	for token := range missing {
		if final[token] && !tr.pool[token] && !tr.hidden[token] {
			tr.fail(fmt.Errorf("content %s is back", token))
		}
	}
	if len(tr.actors) == 1 && !tr.parallel && !tr.localOnly() {
		if n := count[plan.OpRenameAside] + count[plan.OpSplitLoser]; n > 0 {
			tr.fail(fmt.Errorf("%d conflict files with changes on one side only", n))
		}
	}
}

// localOnly reports whether some drive has anything that is not synced: it
// keeps directories which others delete or replace.
func (tr *trace) localOnly() bool {
	for _, d := range tr.w.drives {
		for _, x := range d.items {
			if d.localOnly(x) {
				return true
			}
		}
	}
	return false
}

func TestRandomTracesSettle(t *testing.T) {
	t.Parallel()
	worlds := map[string]func() *world{
		"one drive, one leg":            func() *world { return oneDrive(1) },
		"one drive, two legs":           func() *world { return oneDrive(2) },
		"two drives on one endpoint":    twoDrives,
		"one drive, three legs":         func() *world { return oneDrive(3) },
		"two drives, one with two legs": threeReplicaChain,
	}
	for name, make := range worlds {
		for _, parallel := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, working on: %v", name, parallel), func(t *testing.T) {
				t.Parallel()
				rapid.Check(t, func(rt *rapid.T) {
					tr := newTrace(rt, make())
					tr.parallel = parallel
					tr.run()
				})
			})
		}
	}
}

// threeReplicaChain is two drives that share one endpoint, the second with
// another endpoint of its own.
func threeReplicaChain() *world {
	w := twoDrives()
	e := newTree("E1")
	w.endpoints = append(w.endpoints, e)
	w.legs = append(w.legs, newLeg("leg1", w.drives[1], e))
	return w
}
