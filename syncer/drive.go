package syncer

import (
	"errors"
	"fmt"

	"vdfs/cache"
	"vdfs/syncer/plan"
)

// errHeldOpen says that a file came into use between the decision and its turn: it is decided again.
var errHeldOpen = errors.New("file came into use")

// maxSteps bounds how often one subject is decided in one transaction.
const maxSteps = 16

// step is one subject's turn in a transaction: it is decided, what concerns
// the drive and the base is applied, and so on until it is at rest, waits, or
// needs the endpoint. The last decision is returned.
type step struct {
	*views
	counts *counts
	// Deletions made at the endpoint are held back, or a person has allowed them.
	hold, allowed bool
	met           parties
	asked         bool  // a person has decided the conflict that is carried out
	works         bool  // it belongs to a generation
	own           int64 // the item that has one of its own; 0: none
	gen           int64 // its number; 0: not asked for yet
}

// parties are the dentries that the operations of one decision leave where two states met.
type parties struct {
	winner cache.DentryID // has the name
	aside  cache.DentryID // has a conflict name; 0: none does
	// What the drive or the endpoint had, and where, if nothing tells it any more.
	ours, theirs *VersionInfo
	path         string
}

// counts is what a cycle has done so far.
type counts struct {
	Copied, Deleted, Conflicts, Bytes, Errors, Applied, Drift int64
}

func (l *leg) step(tx *cache.Tx, c *counts) (*step, error) {
	v, err := l.views(tx)
	t := &step{views: v, counts: c}
	t.hold, t.allowed = l.guarded()
	return t, err
}

// settle decides s and applies everything that needs no endpoint.
func (t *step) settle(s plan.Subject) (last plan.Decision, err error) {
	todo := []plan.Subject{s}
	for i := 0; len(todo) > 0 && i < maxSteps; i++ {
		next := todo[0]
		todo = todo[1:]
		d, err := t.advance(next)
		if err != nil {
			return d, fmt.Errorf("settle %v: %w", next, err)
		}
		if next == s {
			last = d
		}
		todo = append(todo, d.Follow...)
		if t.follows(d.Wait, i > 0) {
			todo = append(todo, d.Wait.On, next)
		}
	}
	return last, nil
}

// follows tells whether what a subject waits for is decided in the same transaction: for a name, whose holder goes when the
// subject comes, so that nobody finds that nothing has it; and once others depend on it, as a parked name is to be gone before
// anybody can see it.
func (t *step) follows(w *plan.Wait, depends bool) bool {
	if w == nil || w.On == (plan.Subject{}) {
		return false
	}
	return depends || w.Reason == plan.WaitName && !t.hold
}

// advance applies decision after decision for one subject.
func (t *step) advance(s plan.Subject) (plan.Decision, error) {
	var follow []plan.Subject
	for range maxSteps {
		d, err := t.decide(s)
		if err != nil {
			return d, err
		}
		follow = append(follow, d.Follow...)
		if len(d.Ops) == 0 || d.Ops[0].Kind.Side() == plan.SideEndpoint || d.Ops[0].Kind.Side() == plan.SideKnowledge {
			d.Follow = follow
			return d, t.note(s, d)
		}
		t.met = parties{}
		if t.asked, err = t.wasAsked(d.Conflict, d.Ops...); err != nil {
			return d, err
		}
		for _, op := range d.Ops {
			if t.hold && deletesHere(op) {
				return d, errDeleteHeld
			}
			tell, err := t.change(op)
			if err == nil {
				err = t.apply(op)
			}
			if err == nil {
				err = tell()
			}
			if err != nil {
				return d, fmt.Errorf("%v: %w", op.Kind, err)
			}
			t.counts.Applied++
			if deletesHere(op) {
				if err := t.tx.CountDeletion(t.l.id, cache.OriginRemote, cache.BindingID(op.Binding)); err != nil {
					return d, err
				}
			}
			if d.Drift && op.Kind == plan.OpUnbind {
				t.counts.Drift++ // it is made again
			}
			if op.Kind == plan.OpCreateLocal && !op.Aside && len(d.Ops) == 1 {
				// Made from the endpoint's own state: both halves agree, there is nothing more to decide.
				return plan.Decision{Follow: follow}, nil
			}
			if op.Binding != 0 && op.Kind != plan.OpUnbind && op.Kind != plan.OpDeleteLocal {
				s = plan.Subject{Binding: op.Binding}
			}
		}
		if err := t.record(d); err != nil {
			return d, fmt.Errorf("record conflict: %w", err)
		}
	}
	return plan.Decision{}, fmt.Errorf("%v comes to no rest", s)
}

// note leaves behind what the decision means for the tables: rows of what is at
// rest go, work for the endpoint gets an item.
func (t *step) note(s plan.Subject, d plan.Decision) error {
	switch {
	case len(d.Ops) > 0 && d.Ops[0].Kind.Side() == plan.SideEndpoint:
		return t.claim(s)
	case d.Wait != nil && d.Wait.Reason == plan.WaitDecision:
		return t.ask(s, d.Conflict)
	case d.Wait != nil || len(d.Ops) > 0:
		return nil
	}
	return t.rest(s)
}

// claim makes sure that the drive's side of s has an open item on this leg.
func (t *step) claim(s plan.Subject) error {
	binding := cache.BindingID(s.Binding)
	if s.Remote != "" {
		b, ok, err := t.boundTo(s)
		if err != nil || !ok {
			return err
		}
		binding = b.ID
	}
	return t.tx.EnsureItem(t.l.id, binding, cache.DentryID(s.Dentry))
}

// rest forgets observed rows that say no more than the base, and those of what never was.
func (t *step) rest(s plan.Subject) error {
	if s.Remote != "" {
		return t.clear(string(s.Remote))
	}
	b, ok, err := t.boundTo(s)
	if err != nil || !ok {
		return err
	}
	return t.clear(b.RemoteID)
}

// boundTo is the binding of a subject; false: it has none.
func (t *step) boundTo(s plan.Subject) (cache.Binding, bool, error) {
	switch {
	case s.Binding != 0:
		return t.tx.Binding(cache.BindingID(s.Binding))
	case s.Dentry != 0:
		return t.tx.BindingOfDentry(t.l.id, cache.DentryID(s.Dentry))
	}
	return t.tx.BindingOfRemote(t.l.id, string(s.Remote))
}

// clear removes the observed row of id if it equals the base, or tells of a deletion the base does not know.
func (t *step) clear(id string) error {
	o, ok, err := t.tx.Observed(t.l.id, id)
	if err != nil || !ok {
		return err
	}
	b, bound, err := t.tx.BindingOfRemote(t.l.id, id)
	if err != nil {
		return err
	}
	switch {
	case !bound && o.Gone:
	case bound && !o.Gone:
		half, err := t.l.fromBase(t.tx, b)
		if err != nil || !t.l.same(*half, o) {
			return err
		}
		if half.Tag != o.Tag || half.Ident != o.Ident || half.Content != o.Content {
			b.Tag, b.Ident, b.Content = o.Tag, o.Ident, o.Content
			if err := t.tx.PutBinding(&b); err != nil {
				return err
			}
		}
	default:
		return nil
	}
	if err := t.tx.DeleteObserved(t.l.id, id); err != nil {
		return err
	}
	return t.tx.FinishRemote(t.l.id, id)
}

// same reports whether two observations of one object mean the same to the drive.
func (l *leg) same(a, b cache.Observed) bool {
	return a.Parent == b.Parent && a.Name == b.Name && a.Kind == b.Kind && a.Gone == b.Gone &&
		(a.Kind != cache.File || a.Content == b.Content) &&
		l.sameMeta(a.Kind, l.keep(a.Mode, a.Mtime, a.Target), l.keep(b.Mode, b.Mtime, b.Target))
}

// sameMeta compares what counts for a kind, as package plan defines it.
func (l *leg) sameMeta(k cache.Kind, a, b plan.Meta) bool {
	switch k {
	case cache.Dir:
		return a.Mode == b.Mode
	case cache.Symlink:
		return a.Target == b.Target
	}
	return a.Mode == b.Mode && a.Mtime == b.Mtime
}
