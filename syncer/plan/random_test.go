package plan_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"vdfs/syncer/plan"
)

// TestMain sets the number of random traces: VDFS_PLAN_TRACES in all, or for
// each world what -rapid.checks says, or a number that takes seconds. rapid
// prints the seed of a trace that fails, and shrinks it.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	traces := os.Getenv("VDFS_PLAN_TRACES")
	if traces == "" {
		traces = "10000"
	}
	all, err := strconv.Atoi(traces)
	each := max(1, all/(2*len(worlds())))
	if err == nil && !given {
		err = flag.Set("rapid.checks", strconv.Itoa(each))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "set the number of traces:", err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// trace is one random run.
type trace struct {
	*hand
	w      *world
	actors map[string]bool
	hidden map[string]bool
	// unsure are contents of which a touch may count as an edit.
	unsure map[string]bool
}

func newTrace(rt *rapid.T, w *world) *trace {
	tr := &trace{hand: newHand(rt), w: w, actors: map[string]bool{}, hidden: map[string]bool{}}
	seed := rapid.Uint64().Draw(rt, "seed")
	w.rnd = rand.New(rand.NewPCG(seed, 1))
	w.follow = rapid.Bool().Draw(rt, "follow")
	return tr
}

// working are the replicas on which somebody works.
func (w *world) working() []*tree {
	if w.people != nil {
		return w.people
	}
	return w.replicas()
}

// seedBase fills one replica and syncs it to all.
func (tr *trace) seedBase() {
	from := tr.w.working()[0]
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
		t := tr.w.working()[rapid.IntRange(0, len(tr.w.working())-1).Draw(tr.rt, "replica")]
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
	if tr.w.empty == nil { // the rest of a lost reply looks like somebody's edit, which may stay
		tr.w.lossy = rapid.IntRange(0, 3).Draw(tr.rt, "lost replies")
	}
	tr.makeBusy(true)
	for range rapid.IntRange(0, 3).Draw(tr.rt, "disturbed rounds") {
		if _, _, err := tr.w.round(false); err != nil {
			tr.fail(err)
		}
		if tr.w.parallel {
			tr.perturb()
		}
	}
	tr.makeBusy(false)
}

func (tr *trace) run() {
	tr.seedBase()
	base := tr.w.endpoints[0].tokens(false)
	tr.w.log = nil
	tr.w.count = map[plan.OpKind]int{}
	tr.perturb()
	if tr.w.rnd.IntN(4) == 0 {
		tr.planAgain()
	}
	missing := tr.missing(base)
	read := tr.onlyRead()
	tr.disturbed()
	lossy := tr.w.count
	tr.settle()
	tr.check(missing, lossy)
	if !tr.w.parallel && !slices.Equal(read, tr.onlyRead()) {
		tr.fail(errors.New("an endpoint was written that is only read"))
	}
}

// onlyRead are the items of the endpoints that are never written.
func (tr *trace) onlyRead() (out []item) {
	for _, l := range tr.w.legs {
		if l.rules.Policy != plan.Replicate || l.rules.End != plan.Source {
			continue
		}
		for _, x := range l.endpoint.items {
			c := *x
			c.known = false
			out = append(out, c)
		}
	}
	return out
}

// planAgain plans twice from one state, the second time in another order:
// nothing but the state counts.
func (tr *trace) planAgain() {
	for _, l := range tr.w.legs {
		l.pull()
		subjects := l.subjects()
		decide := func() map[plan.Subject]string {
			out := map[plan.Subject]string{}
			for _, s := range subjects {
				d, err := plan.Decide(l, s, l.rules)
				if err != nil {
					tr.fail(err)
				}
				out[s] = fmt.Sprint(d.Ops, d.Wait != nil, d.Conflict != nil, d.Follow, d.Drift)
			}
			return out
		}
		first := decide()
		tr.w.rnd.Shuffle(len(subjects), func(i, j int) { subjects[i], subjects[j] = subjects[j], subjects[i] })
		if second := decide(); !maps.Equal(first, second) {
			tr.fail(fmt.Errorf("planned %v, then %v", first, second))
		}
	}
}

// missing are the contents of the base that some replica no longer has under
// any name.
func (tr *trace) missing(base map[string]bool) map[string]bool {
	out := map[string]bool{}
	if tr.w.people != nil {
		return out // it flows one way: what is missing at the other end comes back
	}
	tr.unsure = tr.w.unsure()
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

// unsure are the contents of which a touch cannot be told from an edit: no hash was agreed, or the bytes are not here and
// another leg is told of a new version at once, as reading them only to know would cost more.
func (w *world) unsure() map[string]bool {
	out := map[string]bool{}
	legs := map[*tree]int{}
	for _, l := range w.legs {
		legs[l.drive]++
	}
	for _, l := range w.legs {
		for _, b := range l.base {
			x, d := l.observed.get(objectID(b.Remote)), l.drive.get(int64(b.Dentry))
			if x != nil && (b.RemoteHash == "" || d != nil && d.placeholder && legs[l.drive] > 1) {
				out[x.bytes] = true
			}
		}
	}
	return out
}

// check asserts O2 to O5 of the scenarios; O1 and O6 to O8 hold since settle.
func (tr *trace) check(missing map[string]bool, count map[plan.OpKind]int) {
	final := tr.w.endpoints[0].tokens(false)
	everywhere := map[string]bool{}
	for _, t := range tr.w.replicas() {
		maps.Copy(everywhere, t.tokens(true))
	}
	for token := range tr.written {
		if !tr.removed[token] && !everywhere[token] && !tr.w.saved[token] {
			tr.fail(fmt.Errorf("content %s was lost", token))
		}
	}
	for token := range everywhere {
		if !tr.written[token] && !tr.w.merged[token] {
			tr.fail(fmt.Errorf("content %s was invented", token))
		}
	}
	for token := range missing {
		edited := tr.touched[token] && tr.unsure[token] // and an edit outlives a deletion
		if final[token] && !tr.pool[token] && !tr.hidden[token] && !edited {
			tr.fail(fmt.Errorf("content %s is back", token))
		}
	}
	if len(tr.actors) == 1 && !tr.w.parallel && tr.w.people == nil && !tr.localOnly() {
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
	for name, c := range worlds() {
		for _, parallel := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, working on: %v", name, parallel), func(t *testing.T) {
				t.Parallel()
				rapid.Check(t, func(rt *rapid.T) {
					w := c.make()
					w.parallel = parallel
					w.strict = c.strict && !parallel
					tr := newTrace(rt, w)
					for _, l := range w.legs {
						if c.strategies {
							l.rules.Strategy = plan.Strategy(rapid.IntRange(1, 9).Draw(rt, "strategy"))
						}
					}
					tr.run()
				})
			})
		}
	}
}

// setting is a kind of world.
type setting struct {
	make func() *world
	// strict, see world.
	strict bool
	// strategies says that the legs have some strategies.
	strategies bool
}

func worlds() map[string]setting {
	return map[string]setting{
		"one drive, one leg":             {make: func() *world { return oneDrive(1) }, strict: true},
		"one drive, two legs":            {make: func() *world { return oneDrive(2) }, strict: true},
		"one drive, three legs":          {make: func() *world { return oneDrive(3) }, strict: true},
		"two drives on one endpoint":     {make: twoDrives},
		"two drives, one with two legs":  {make: threeReplicaChain},
		"strategies, two legs":           {make: func() *world { return oneDrive(2) }, strategies: true},
		"strategies, two drives":         {make: twoDrives, strategies: true},
		"strategies, three replicas":     {make: threeReplicaChain, strategies: true},
		"mirror":                         {make: mirror},
		"mirror, drive written to":       {make: brokenInto},
		"mirror of the drive":            {make: mirrorOfDrive},
		"mirror that keeps what is more": {make: keepingMirror},
		"archive":                        {make: archive},
		"archive, source alone":          {make: archiveAlone},
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

// mirror is a drive that takes from the first endpoint and is followed by the
// second, on both of which people work.
func mirror() *world {
	w := oneDrive(2)
	w.legs[0].rules = plan.Rules{Policy: plan.Replicate, End: plan.Source, Strategy: plan.ConflictFile}
	w.legs[1].rules = plan.Rules{Policy: plan.Replicate, End: plan.Target, Strategy: plan.ConflictFile}
	w.people = w.endpoints
	return w
}

// brokenInto is a mirror in whose drive, which is to be read-only, somebody
// works all the same.
func brokenInto() *world {
	w := mirror()
	w.people = append(slices.Clone(w.endpoints), w.drives...)
	w.alike = []*tree{w.drives[0], w.endpoints[1]}
	return w
}

// mirrorOfDrive is a drive with an endpoint that follows.
func mirrorOfDrive() *world {
	w := oneDrive(1)
	w.legs[0].rules = plan.Rules{Policy: plan.Replicate, End: plan.Target, Strategy: plan.ConflictFile}
	w.people = w.replicas()
	return w
}

func keepingMirror() *world {
	w := mirror()
	w.legs[1].rules.KeepExtra = true
	w.extra = true
	return w
}

// archive moves what is at the first endpoint to the second.
func archive() *world {
	w := oneDrive(2)
	w.legs[0].rules = plan.Rules{Policy: plan.Archive, End: plan.Source, Strategy: plan.ConflictFile}
	w.legs[1].rules = plan.Rules{Policy: plan.Archive, End: plan.Target, Strategy: plan.ConflictFile}
	w.legs[0].archive = w.legs[1]
	w.people = w.endpoints
	w.alike = []*tree{w.drives[0], w.endpoints[1]}
	// What somebody has changed in the archive meanwhile stays at the source,
	// and with it its directories.
	w.mayStay = []plan.Reason{plan.WaitProof, plan.WaitChild}
	return w
}

// archiveAlone is an archive in which nobody works: the source is emptied.
func archiveAlone() *world {
	w := archive()
	w.people = w.endpoints[:1]
	w.empty, w.mayStay = w.endpoints[0], nil
	return w
}
