package plan_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"vdfs/syncer/plan"
)

// world is a set of replicas and the legs that join them.
type world struct {
	drives, endpoints []*tree
	legs              []*leg
	only              *leg // the one that works; nil: all do
	rnd               *rand.Rand
	// lossy is how many replies may still be lost, one in four.
	lossy int
	// follow says whether circles are finished at once, as the engine does,
	// or left to later rounds.
	follow bool
	count  map[plan.OpKind]int
	// trash has the contents that endpoints keep for dentries of drives.
	trash map[string]bool
	// saved has the contents that went to the trash because nobody had seen
	// them, merged those that merging made.
	saved, merged map[string]bool
	conflicts     map[plan.Class]int
	drift         int
	// parallel says that people work while it syncs.
	parallel bool
	// people are the replicas on which somebody works; nil is all.
	people []*tree
	// nobody decides what waits for a person.
	nobody bool
	// alike are the replicas that must be equal in the end; nil is all.
	alike []*tree
	// empty is a replica that must have nothing left.
	empty *tree
	// extra says that endpoints may have more than the drives.
	extra bool
	// mayStay are reasons for which something may be left to wait.
	mayStay []plan.Reason
	// strict says that bytes of placeholders must never be out of reach;
	// where others overwrite an endpoint's objects they may be for a moment.
	strict bool
	broken error
	log    []string
}

func (w *world) replicas() []*tree { return append(slices.Clone(w.drives), w.endpoints...) }

// oneDrive is a place of one drive with n legs.
func oneDrive(n int) *world {
	w := &world{drives: []*tree{newTree("drive")}}
	for i := range n {
		e := newTree(fmt.Sprintf("E%d", i))
		w.endpoints = append(w.endpoints, e)
		w.legs = append(w.legs, newLeg(fmt.Sprintf("leg%d", i), w.drives[0], e))
	}
	return w.ready(1)
}

// twoDrives share one endpoint.
func twoDrives() *world {
	e := newTree("H")
	w := &world{endpoints: []*tree{e}}
	for _, name := range []string{"A", "B"} {
		d := newTree(name)
		w.drives = append(w.drives, d)
		w.legs = append(w.legs, newLeg("leg"+name, d, e))
	}
	return w.ready(1)
}

func (w *world) ready(seed uint64) *world {
	w.rnd = rand.New(rand.NewPCG(seed, seed))
	w.count, w.trash = map[plan.OpKind]int{}, map[string]bool{}
	w.saved, w.merged, w.conflicts = map[string]bool{}, map[string]bool{}, map[plan.Class]int{}
	w.follow = true
	return w
}

func (w *world) loseReply() bool {
	if w.lossy > 0 && w.rnd.IntN(4) == 0 {
		w.lossy--
		return true
	}
	return false
}

// readable checks that the bytes of a dentry can be read: they are here, or an
// endpoint that this dentry is bound to still has them.
func (w *world) readable(drive *tree, x *item) error {
	if !x.placeholder || w.trash[x.bytes] {
		return nil
	}
	for _, l := range w.legs {
		if l.drive != drive {
			continue
		}
		b, ok, _ := l.BindingOfDentry(plan.DentryID(x.id))
		if !ok {
			continue
		}
		if o := l.endpoint.get(objectID(b.Remote)); o != nil && o.bytes == x.bytes {
			return nil
		}
	}
	err := fmt.Errorf("no endpoint has the bytes %q of %s any more", x.bytes, drive.path(x))
	if w.strict {
		w.broken = err
	}
	return err
}

// round pulls and decides every subject of every leg once: first what leads
// to the drive, then what leads to the endpoint. It returns the number of
// operations and proofs, and what still waits. When sure, all is proved that can be.
func (w *world) round(sure bool) (ops int, waits []string, err error) {
	legs := slices.Clone(w.legs)
	if w.only != nil {
		legs = []*leg{w.only}
	}
	w.rnd.Shuffle(len(legs), func(i, j int) { legs[i], legs[j] = legs[j], legs[i] })
	for _, l := range legs {
		l.pull()
		ops += l.prove(func() bool { return sure || w.rnd.IntN(2) == 0 })
		for _, side := range []plan.Side{plan.SideDrive, plan.SideEndpoint} {
			n, held, err := w.pass(l, side)
			if err != nil {
				return ops, nil, err
			}
			ops += n
			if side == plan.SideEndpoint {
				waits = append(waits, held...)
			}
		}
	}
	return ops, waits, nil
}

func (w *world) pass(l *leg, side plan.Side) (ops int, waits []string, err error) {
	subjects := l.subjects()
	if w.rnd.IntN(2) == 0 {
		w.rnd.Shuffle(len(subjects), func(i, j int) { subjects[i], subjects[j] = subjects[j], subjects[i] })
	}
	for _, s := range subjects {
		n, wait, err := w.decide(l, s, side)
		if err != nil {
			return ops, nil, fmt.Errorf("%s %s: %w", l.name, s, err)
		}
		ops += n
		if wait != nil && !slices.Contains(w.mayStay, wait.Reason) {
			waits = append(waits, fmt.Sprintf("%s %s: %s, on %s", l.name, s, wait.Reason, wait.On))
		}
	}
	return ops, waits, nil
}

func (w *world) decide(l *leg, s plan.Subject, side plan.Side) (int, *plan.Wait, error) {
	d, err := plan.Decide(l, s, l.rules)
	if err != nil || len(d.Ops) == 0 {
		return 0, d.Wait, err
	}
	toEndpoint := d.Ops[0].Kind.Side() == plan.SideEndpoint
	if toEndpoint != (side == plan.SideEndpoint) {
		return 0, nil, nil
	}
	if d.Conflict != nil && d.Ops[0].Kind != plan.OpMerge {
		w.conflicts[d.Conflict.Class]++
	}
	for _, op := range d.Ops {
		w.log = append(w.log, fmt.Sprintf("%s %s: %s dentry %d remote %s -> %d/%q", l.name, s, op.Kind, op.Dentry, op.Remote, op.Parent, op.Name))
		err := l.execute(w, op)
		if w.broken != nil {
			return 0, nil, w.broken
		}
		if errors.Is(err, errRefused) {
			w.log = append(w.log, "  "+err.Error())
			return 1, nil, nil
		}
		if err != nil {
			return 0, nil, err
		}
	}
	if d.Drift {
		w.drift++
	}
	if len(d.Follow) > 0 && !toEndpoint && w.follow {
		return len(d.Ops), nil, w.finish(l, d)
	}
	return len(d.Ops), nil, nil
}

// finish decides the subjects of a circle until nothing bears a parking name,
// as the engine does within the transaction. Only an open file may keep it from that.
func (w *world) finish(l *leg, d plan.Decision) error {
	parked := d.Ops[0].Dentry
	held := false
	for range 20 {
		held = false
		for _, s := range d.Follow {
			open, err := w.chase(l, s)
			if err != nil {
				return err
			}
			held = held || open
		}
		if x := l.drive.get(int64(parked)); x == nil || x.parkedBy == nil {
			return nil
		}
	}
	if held {
		return nil
	}
	return fmt.Errorf("CIRCLE unfinished %v", d.Follow)
}

// chase decides s, or what it waits for in the end. It tells whether that is an open file.
func (w *world) chase(l *leg, s plan.Subject) (open bool, err error) {
	for range 20 {
		_, wait, err := w.decide(l, s, plan.SideDrive)
		if err != nil || wait == nil || wait.On == (plan.Subject{}) {
			return wait != nil && wait.Reason == plan.WaitSettle, err
		}
		s = wait.On
	}
	return false, nil
}

const maxRounds = 200

// quiet runs rounds until two in a row do nothing.
func (w *world) quiet() error {
	idle := 0
	for range maxRounds {
		ops, waits, err := w.round(idle > 0)
		if err != nil {
			return err
		}
		for _, t := range w.replicas() {
			if err := t.wellFormed(); err != nil {
				return err
			}
		}
		if ops > 0 {
			idle = 0
			continue
		}
		decided, err := w.judge()
		if err != nil {
			return err
		}
		if decided > 0 {
			idle = 0
			continue
		}
		if idle++; idle == 2 {
			if len(waits) > 0 {
				return fmt.Errorf("at rest, but: %q", waits)
			}
			return nil
		}
	}
	return fmt.Errorf("not at rest after %d rounds", maxRounds)
}

// judge is a person who decides the conflicts that wait for one, somehow.
func (w *world) judge() (decided int, err error) {
	if w.nobody {
		return 0, nil
	}
	for _, l := range w.legs {
		if l.rules.Strategy != plan.Manual {
			continue
		}
		for _, s := range l.subjects() {
			d, err := plan.Decide(l, s, l.rules)
			if err != nil {
				return 0, err
			}
			if d.Wait == nil || d.Wait.Reason != plan.WaitDecision {
				continue
			}
			x := l.drive.get(int64(l.base[s.Binding].Dentry))
			choice := []plan.Strategy{plan.LocalWins, plan.RemoteWins, plan.ConflictFile}[w.rnd.IntN(3)]
			l.decided[l.versions(x)] = choice
			w.log = append(w.log, fmt.Sprintf("%s %s: a person decides %s", l.name, s, choice))
			decided++
		}
	}
	return decided, nil
}

// converged checks that all replicas are equal, as far as they are to be, and
// that none has litter.
func (w *world) converged() error {
	alike := w.alike
	if alike == nil {
		alike = w.replicas()
	}
	want := alike[0].listing()
	for _, t := range alike {
		got := t.listing()
		if w.extra {
			maps.DeleteFunc(got, func(path, _ string) bool { return want[path] == "" })
		}
		if !maps.Equal(got, want) {
			return fmt.Errorf("%s and %s differ:\n%v\n%v", t.name, alike[0].name, got, want)
		}
	}
	if w.empty != nil && len(w.empty.items) > 1 {
		return fmt.Errorf("%s is to be empty and has %v", w.empty.name, w.empty.listing())
	}
	for _, t := range w.replicas() {
		if p := t.parked(); len(p) > 0 {
			return fmt.Errorf("%s: still parked: %q", t.name, p)
		}
	}
	return nil
}
