package cache

import "strings"

// What a listing shows of a new object is written down and, in the same transaction, mostly forgotten again: the drive has it
// then. So a transaction keeps such rows to itself until it ends, or asks for the table in a way that has to see them.

// unsaved are observed rows of objects that the table does not have. Its zero value is ready; nil keeps nothing.
type unsaved struct {
	absent map[observedKey]bool // the transaction has looked, and there is no such row
	rows   map[observedKey]Observed
	named  map[observedName]observedKey
	idents map[observedIdent]observedKey
}

type (
	observedKey struct {
		leg      LegID
		remoteID string
	}
	observedName struct {
		leg          LegID
		parent, name string
	}
	observedIdent struct {
		leg   LegID
		ident string
	}
)

func keyOf(o Observed) observedKey { return observedKey{o.Leg, o.RemoteID} }

// lacks notes that the table has no such row.
func (u *unsaved) lacks(k observedKey) {
	if u == nil {
		return
	}
	if u.absent == nil {
		u.absent, u.rows = make(map[observedKey]bool), make(map[observedKey]Observed)
		u.named, u.idents = make(map[observedName]observedKey), make(map[observedIdent]observedKey)
	}
	u.absent[k] = true
}

func (u *unsaved) knowsAbsent(k observedKey) bool { return u != nil && u.absent[k] }

// keep takes a row; false: the table may have one of that object.
func (u *unsaved) keep(o Observed) bool {
	k := keyOf(o)
	if !u.knowsAbsent(k) {
		return false
	}
	u.drop(k)
	u.rows[k] = o
	if !o.Gone {
		u.named[observedName{o.Leg, o.Parent, o.Name}] = k
		if o.Ident != "" {
			u.idents[observedIdent{o.Leg, o.Ident}] = k
		}
	}
	return true
}

// drop forgets a row; false: it was not kept.
func (u *unsaved) drop(k observedKey) bool {
	if u == nil {
		return false
	}
	o, ok := u.rows[k]
	if !ok {
		return false
	}
	delete(u.rows, k)
	if n := (observedName{o.Leg, o.Parent, o.Name}); u.named[n] == k {
		delete(u.named, n)
	}
	if i := (observedIdent{o.Leg, o.Ident}); u.idents[i] == k {
		delete(u.idents, i)
	}
	return true
}

// clashes reports whether another object is kept under the same name or with the same fingerprint: only the table has both.
func (u *unsaved) clashes(o Observed) bool {
	if u == nil || o.Gone {
		return false
	}
	named, ok := u.at(observedName{o.Leg, o.Parent, o.Name})
	if ok && named.RemoteID != o.RemoteID {
		return true
	}
	twin, ok := u.byIdent(observedIdent{o.Leg, o.Ident})
	return ok && twin.RemoteID != o.RemoteID
}

// row is a row that is kept.
func (u *unsaved) row(k observedKey) (o Observed, ok bool) {
	if u != nil {
		o, ok = u.rows[k]
	}
	return o, ok
}

func (u *unsaved) at(n observedName) (o Observed, ok bool) {
	if u == nil {
		return o, false
	}
	return u.row(u.named[n])
}

func (u *unsaved) byIdent(i observedIdent) (o Observed, ok bool) {
	if u == nil {
		return o, false
	}
	return u.row(u.idents[i])
}

// seen has a statement see what is kept.
func (tx *Tx) seen(sql string) error {
	if tx.unsaved == nil || len(tx.unsaved.rows) == 0 || !strings.Contains(sql, "observed") {
		return nil
	}
	return tx.saveObserved()
}

// saveObserved writes what is kept to the table.
func (tx *Tx) saveObserved() error {
	u := tx.unsaved
	if u == nil || len(u.rows) == 0 {
		return nil
	}
	tx.unsaved = &unsaved{} // what follows goes to the table itself
	for _, o := range u.rows {
		if err := tx.PutObserved(o); err != nil {
			return err
		}
	}
	return nil
}
