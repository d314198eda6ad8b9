package syncer

import (
	"errors"
	"fmt"

	"vdfs/cache"
	"vdfs/syncer/plan"
)

// Where the strategy is manual both versions of a conflict stay where they are, and the file is not synced until a person has
// chosen. The question is an open record of the conflict without a conflict file; the answer is a cache.Decision.

// asks reports whether a conflict of this leg may be a person's to decide.
func (v *views) asks() bool { return decidesBy(plan.Manual, v.rules, v.patterns) }

// isQuestion reports whether a record is of a conflict whose versions wait for a person.
func isQuestion(row cache.ConflictRow) bool {
	return row.Strategy == plan.Manual.String() && row.Conflict == 0 && row.State == cache.ConflictOpen
}

// question is the open one about a dentry; its ID is 0: there is none.
func (t *step) question(d cache.DentryID) (cache.ConflictRow, error) {
	if d == 0 {
		return cache.ConflictRow{}, nil
	}
	rows, err := t.tx.ConflictsOf(d)
	for _, row := range rows {
		if row.Leg == t.l.id && isQuestion(row) {
			return row, err
		}
	}
	return cache.ConflictRow{}, err
}

// ask writes down the question about a conflict, once, and what it is about when that has changed.
func (t *step) ask(s plan.Subject, c *plan.Conflict) error {
	b, ok, err := t.boundTo(s)
	if err != nil || !ok || c == nil {
		return err
	}
	row, err := t.question(b.Dentry)
	if err != nil {
		return err
	}
	e, err := t.tx.Entry(b.Dentry)
	if err != nil {
		return err
	}
	o, err := t.l.object(t.tx, b.RemoteID)
	if err != nil || o == nil {
		return err
	}
	p, err := t.tx.Path(e.ID)
	if err != nil {
		return err
	}
	was := row
	row.Leg, row.Type, row.Strategy, row.Dentry, row.Path = t.l.id, c.Class.String(), plan.Manual.String(), e.ID, p
	row.LocalInfo, row.RemoteInfo = info(*ofNode(t.l.e.Device, e.Node)), info(*ofObserved(t.l.target, *o))
	row.State = cache.ConflictOpen
	if row == was {
		return nil
	}
	if row.ID == 0 {
		t.counts.Conflicts++
		t.l.e.tellConflict(t.tx, t.l.conduitRow().Name, row)
	}
	return errors.Join(t.tx.DeleteDecision(t.l.id, e.ID), t.tx.PutConflict(&row))
}

// questionAbout is the open question about an object of the endpoint.
func (t *step) questionAbout(rid string) (cache.ConflictRow, error) {
	if !t.asks() {
		return cache.ConflictRow{}, nil
	}
	b, ok, err := t.tx.BindingOfRemote(t.l.id, rid)
	if err != nil || !ok {
		return cache.ConflictRow{}, err
	}
	return t.question(b.Dentry)
}

// takeBack closes a question that nobody needs to answer any more: one of the versions is gone, or they are equal.
func (t *step) takeBack(row cache.ConflictRow) error {
	if row.ID == 0 {
		return nil
	}
	row.State, row.Resolved = cache.ConflictResolved, t.tx.Now()
	t.l.e.tellResolved(t.tx, row, "")
	return t.tx.PutConflict(&row)
}

// wasAsked reports whether a person has decided the conflict that operations are about to carry out. The answer goes with what
// was agreed before.
func (t *step) wasAsked(c *plan.Conflict, ops ...plan.Op) (bool, error) {
	if c == nil || !t.asks() {
		return false, nil
	}
	d := cache.DentryID(c.Loser)
	if d == 0 {
		d = cache.DentryID(ops[len(ops)-1].Dentry)
	}
	_, ok, err := t.tx.Decision(t.l.id, d)
	if err != nil || !ok {
		return false, err
	}
	e, err := t.tx.Entry(d)
	if errors.Is(err, cache.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	s, err := t.byRule(e)
	return s == plan.Manual, err // else it was not a person, but a merge that failed
}

// answers are what a person can choose, as strategies.
var answers = map[string]plan.Strategy{
	KeepLocal: plan.LocalWins, KeepMerged: plan.LocalWins, KeepRemote: plan.RemoteWins, KeepBoth: plan.ConflictFile,
}

// wakeChosen makes the work on the versions that a person has chosen new. That on one that was given up is closed when it comes
// to its turn.
func wakeChosen(tx *cache.Tx, b cache.Binding, s plan.Strategy) error {
	ours, sent, err := tx.LocalItem(b.Leg, b.Dentry)
	theirs, seen, err2 := tx.RemoteItem(b.Leg, b.RemoteID)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	var chosen []cache.Item
	if sent && s != plan.RemoteWins {
		chosen = append(chosen, ours)
	}
	if seen && s != plan.LocalWins {
		chosen = append(chosen, theirs)
	}
	for _, it := range chosen {
		it.Status, it.Error = cache.ItemNew, ""
		if _, err := tx.UpdateItem(&it); err != nil {
			return err
		}
	}
	return nil
}

// answer decides a conflict that waits for a person. The next cycle carries it out, unless one of the versions is another by
// then: about that the person was not asked.
func (e *Engine) answer(row cache.ConflictRow, keep string, merged []byte) error {
	strategy, ok := answers[keep]
	if !ok {
		return errKeep(keep)
	}
	if keep == KeepMerged {
		var file cache.Entry
		err := e.Cache.View(func(tx *cache.Tx) (err error) {
			file, err = tx.Entry(row.Dentry)
			return err
		})
		if err == nil {
			err = e.overwrite(file.Ino, merged)
		}
		if err != nil {
			return err
		}
	}
	l := e.leg(row.Leg)
	if l == nil {
		return ErrUnknownConduit
	}
	err := e.Cache.Update(0, func(tx *cache.Tx) error {
		file, err := tx.Entry(row.Dentry)
		if err != nil {
			return err
		}
		if keep == KeepMerged {
			tx.Touched(file.Ino)
		}
		b, ok, err := tx.BindingOfDentry(row.Leg, row.Dentry)
		if err != nil || !ok {
			return errors.Join(err, fmt.Errorf("%s: %w", row.Path, cache.ErrNotFound))
		}
		o, err := l.object(tx, b.RemoteID)
		if err != nil || o == nil {
			return errors.Join(err, fmt.Errorf("%s: %w", row.Path, cache.ErrNotFound))
		}
		d := cache.Decision{Leg: row.Leg, Dentry: row.Dentry, Version: file.Node.Version, Content: contentOf(*o), Strategy: strategy.String()}
		if err := errors.Join(tx.PutDecision(d), wakeChosen(tx, b, strategy)); err != nil {
			return err
		}
		row.State, row.Resolved = cache.ConflictResolved, tx.Now()
		e.tellResolved(tx, row, keep)
		return tx.PutConflict(&row)
	})
	if err == nil {
		l.wake()
	}
	return err
}
