package plan_test

import (
	"errors"
	"fmt"
	"testing"

	"vdfs/syncer/plan"
)

var errBroken = errors.New("index is broken")

// brokenAfter answers n looks and fails from then on.
type brokenAfter struct {
	*leg
	n int
}

func (v *brokenAfter) look() error {
	if v.n--; v.n < 0 {
		return errBroken
	}
	return nil
}

func (v *brokenAfter) Binding(id plan.BindingID) (plan.Binding, bool, error) {
	b, ok, _ := v.leg.Binding(id)
	return b, ok, v.look()
}

func (v *brokenAfter) BindingOfDentry(id plan.DentryID) (plan.Binding, bool, error) {
	b, ok, _ := v.leg.BindingOfDentry(id)
	return b, ok, v.look()
}

func (v *brokenAfter) BindingOfRemote(id plan.RemoteID) (plan.Binding, bool, error) {
	b, ok, _ := v.leg.BindingOfRemote(id)
	return b, ok, v.look()
}

func (v *brokenAfter) BindingsAt(p plan.BindingID, name string, yield func(plan.Binding) bool) error {
	return errors.Join(v.leg.BindingsAt(p, name, yield), v.look())
}

func (v *brokenAfter) Local(id plan.DentryID) (plan.Local, bool, error) {
	l, ok, _ := v.leg.Local(id)
	return l, ok, v.look()
}

func (v *brokenAfter) LocalAt(p plan.DentryID, name string) (plan.Local, bool, error) {
	l, ok, _ := v.leg.LocalAt(p, name)
	return l, ok, v.look()
}

func (v *brokenAfter) LocalChildren(p plan.DentryID, yield func(plan.Local) bool) error {
	return errors.Join(v.leg.LocalChildren(p, yield), v.look())
}

func (v *brokenAfter) Remote(id plan.RemoteID) (plan.Remote, bool, error) {
	r, ok, _ := v.leg.Remote(id)
	return r, ok, v.look()
}

func (v *brokenAfter) RemoteAt(p plan.RemoteID, name string) (plan.Remote, bool, error) {
	r, ok, _ := v.leg.RemoteAt(p, name)
	return r, ok, v.look()
}

func (v *brokenAfter) RemoteChildren(p plan.RemoteID, yield func(plan.Remote) bool) error {
	return errors.Join(v.leg.RemoteChildren(p, yield), v.look())
}

// tangle is a leg on which much has changed on both sides.
func tangle(t *testing.T) *leg {
	t.Helper()
	s := stage{t, oneDrive(1)}
	d, e := s.w.drives[0], s.w.endpoints[0]
	for _, dir := range []string{"a", "a/b", "c", "c/d"} {
		s.mkdir(d, dir)
		s.file(d, dir+"/f", dir)
	}
	s.sync(0)
	s.exchange(e, "a", "c")
	s.remove(e, "c/b")
	s.file(d, "a/b/new", "n")
	s.write(e, "a/d/f", "E")
	s.write(d, "c/d/f", "drive")
	s.move(d, "c/d", "d")
	s.mkdir(e, "d")
	s.w.legs[0].pull()
	return s.w.legs[0]
}

// Every look that fails must end the decision with that error, and no error
// may be swallowed: a decision made from half a view could delete.
func TestErrorsOfTheViewsAreReturned(t *testing.T) {
	t.Parallel()
	l := tangle(t)
	for _, policy := range []plan.Policy{plan.Synchronize, plan.Replicate, plan.Archive} {
		for _, end := range []plan.End{plan.Source, plan.Target} {
			rules := plan.Rules{Policy: policy, End: end, Strategy: plan.Newest}
			for _, s := range l.subjects() {
				failEveryLook(t, l, s, rules)
			}
		}
	}
}

func failEveryLook(t *testing.T, l *leg, s plan.Subject, rules plan.Rules) {
	t.Helper()
	want, err := plan.Decide(l, s, rules)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		if n > 1000 {
			t.Fatalf("%s: no end of looks", s)
		}
		v := &brokenAfter{leg: l, n: n}
		got, err := plan.Decide(v, s, rules)
		if v.n >= 0 {
			if err != nil || fmt.Sprint(got.Ops) != fmt.Sprint(want.Ops) {
				t.Errorf("%s: %v, %v", s, got, err)
			}
			return
		}
		if !errors.Is(err, errBroken) || len(got.Ops) > 0 {
			t.Errorf("%s, look %d failed: decided %v, error %v", s, n, got.Ops, err)
		}
	}
}

func TestWhatCannotBeDecidedIsRefused(t *testing.T) {
	t.Parallel()
	l := newLeg("leg", newTree("drive"), newTree("E0"))
	for name, change := range map[string]func(*plan.Rules){
		"no policy":        func(r *plan.Rules) { r.Policy = 0 },
		"unknown policy":   func(r *plan.Rules) { r.Policy = plan.Archive + 1 },
		"no end":           func(r *plan.Rules) { r.End = 0 },
		"unknown end":      func(r *plan.Rules) { r.End = plan.Target + 1 },
		"no strategy":      func(r *plan.Rules) { r.Strategy = 0 },
		"unknown strategy": func(r *plan.Rules) { r.Strategy = plan.Manual + 1 },
	} {
		rules := twoWay
		change(&rules)
		if _, err := plan.Decide(l, plan.Subject{Dentry: 5}, rules); !errors.Is(err, plan.ErrPolicy) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, s := range []plan.Subject{{}, {Binding: 1, Dentry: 1}, {Dentry: 1, Remote: "r1"}} {
		if _, err := plan.Decide(l, s, cached); !errors.Is(err, plan.ErrSubject) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

func TestWhatDoesNotExistIsAtRest(t *testing.T) {
	t.Parallel()
	l := newLeg("leg", newTree("drive"), newTree("E0"))
	for _, s := range []plan.Subject{{Binding: 9}, {Dentry: 9}, {Remote: "r9"}, {Binding: rootBinding}, {Dentry: rootID}} {
		d, err := plan.Decide(l, s, twoWay)
		if err != nil || len(d.Ops) > 0 || d.Wait != nil {
			t.Errorf("%s: %+v, %v", s, d, err)
		}
	}
}

func TestPoliciesOfBothWaysDecideAlike(t *testing.T) {
	t.Parallel()
	l := tangle(t)
	decided := 0
	for _, s := range l.subjects() {
		a, errA := plan.Decide(l, s, twoWay)
		b, errB := plan.Decide(l, s, cached)
		if errA != nil || errB != nil || fmt.Sprint(a.Ops) != fmt.Sprint(b.Ops) {
			t.Errorf("%s: %v, %v; %v, %v", s, a, errA, b, errB)
		}
		decided += len(a.Ops)
	}
	if decided == 0 {
		t.Error("nothing was to be decided")
	}
}

func TestSpecialFilesStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	s := stage{t, oneDrive(1)}
	s.add(s.w.drives[0], "fifo", item{kind: plan.Special})
	s.add(s.w.endpoints[0], "socket", item{kind: plan.Special})
	s.w.legs[0].pull()
	ops, waits, err := s.w.round(false)
	if ops != 0 || len(waits) != 0 || err != nil {
		t.Errorf("%d operations, waits %q, %v", ops, waits, err)
	}
}

// The bytes of a placeholder must be fetched before its name gets others: the
// leg that could give them would overwrite them.
func TestPlaceholderIsReadBeforeItLosesItsName(t *testing.T) {
	t.Parallel()
	s := stage{t, oneDrive(2)}
	d, one, two := s.w.drives[0], s.w.endpoints[0], s.w.endpoints[1]
	s.file(d, "f", "v0")
	s.sync(0)
	s.write(one, "f", "from one")
	s.write(two, "f", "out of two")
	s.sync(0)
	if s.w.count[plan.OpNeedBytes] != 1 || len(d.tokens(false)) != 2 {
		t.Errorf("operations %v, contents %v", s.w.count, d.tokens(false))
	}
}

func TestEveryWordIsItsOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	word := func(what, s string) {
		if other, dup := seen[s]; dup && other != what {
			t.Errorf("%s and %s are both %q", what, other, s)
		}
		seen[s] = what
	}
	for _, k := range []plan.OpKind{
		plan.OpCreateLocal, plan.OpParkLocal, plan.OpMkdir, plan.OpParkRemote, plan.OpBind, plan.OpDisown,
		plan.OpRelease, plan.OpMarkRelease, plan.OpNeedLocalHash, plan.OpNeedBytes, plan.OpMerge, 0, 31, 63, 95, 127,
	} {
		word(fmt.Sprintf("operation %d", k), k.String())
	}
	for r := range plan.WaitBytes + 2 {
		word(fmt.Sprintf("reason %d", r), r.String())
	}
	for c := range plan.MoveToDeletedParent + 2 {
		word(fmt.Sprintf("class %d", c), c.String())
	}
	for k := range plan.Special + 2 {
		word(fmt.Sprintf("kind %d", k), k.String())
	}
	for p := range plan.Archive + 2 {
		word(fmt.Sprintf("policy %d", p), p.String())
	}
	for s := range plan.Manual + 2 {
		word(fmt.Sprintf("strategy %d", s), s.String())
	}
	for kind, side := range map[plan.OpKind]plan.Side{
		plan.OpRelease: plan.SideEndpoint, plan.OpMarkRelease: plan.SideBase, plan.OpMerge: plan.SideKnowledge,
		plan.OpCreateLocal: plan.SideDrive, plan.OpParkLocal: plan.SideDrive,
		plan.OpMkdir: plan.SideEndpoint, plan.OpParkRemote: plan.SideEndpoint,
		plan.OpBind: plan.SideBase, plan.OpDisown: plan.SideBase,
		plan.OpNeedLocalHash: plan.SideKnowledge, plan.OpNeedBytes: plan.SideKnowledge,
	} {
		if kind.Side() != side {
			t.Errorf("%s acts on side %d", kind, kind.Side())
		}
	}
}
