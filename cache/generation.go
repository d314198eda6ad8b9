package cache

import (
	"context"
	"fmt"
	"time"
)

// The states of a generation. The last is followed by why.
const (
	Unverified     = "unverified"           // it is under way
	WaitingWatcher = "waiting_watcher"      // what it touched is to be looked at again
	WaitingSync    = "waiting_library_sync" // that was done, and the changes of all legs of the conduit are to be taken in
	Verified       = "verified"
	FailedPrefix   = "failed:"
)

const (
	generationCols = `conduit, generation, started, completed, copied, deleted, conflicts, bytes, errors, drift, verified, verification, leg, item`
	// stillOpen is what the index of the open ones is made with, so that it is used.
	stillOpen = "verification IN ('" + Unverified + "', '" + WaitingWatcher + "', '" + WaitingSync + "')"
)

func scanGeneration(r *row) Generation {
	return Generation{
		Conduit: ConduitID(r.int()), Number: r.int(), Started: r.int(), Completed: r.int(), Copied: r.int(), Deleted: r.int(), Conflicts: r.int(),
		Bytes: r.int(), Errors: r.int(), Drift: r.int(), Verified: r.int(), Verification: r.str(), Leg: LegID(r.int()), Item: r.int(),
	}
}

// BeginGeneration opens the next batch of a conduit, for a leg of it, and makes it the conduit's present one. item: see
// Generation.
func (tx *Tx) BeginGeneration(id ConduitID, leg LegID, item int64) (Generation, error) {
	g := Generation{Conduit: id, Leg: leg, Item: item, Started: tx.Now(), Verification: Unverified}
	ok, err := tx.changed("UPDATE conduits SET generation = generation + 1 WHERE id = ?", id)
	if err == nil && !ok {
		err = ErrNotFound
	}
	if err == nil {
		g.Number, _, err = get(tx, (*row).int, "SELECT generation FROM conduits WHERE id = ?", id)
	}
	if err == nil {
		err = tx.PutGeneration(g)
	}
	if err != nil {
		return g, fmt.Errorf("begin generation: %w", err)
	}
	return g, nil
}

// ClaimGeneration is the number of the batch that work of a leg belongs to which is about to be done. If none is under way it is
// begun.
func (tx *Tx) ClaimGeneration(id ConduitID, leg LegID, item int64) (int64, error) {
	n, ok, err := get(tx, (*row).int, "SELECT generation FROM generations WHERE leg = ? AND item = ? AND "+stillOpen+" AND completed = 0", leg, item)
	if err != nil || ok {
		return n, err
	}
	g, err := tx.BeginGeneration(id, leg, item)
	return g.Number, err
}

// PutGeneration writes a batch's row.
func (tx *Tx) PutGeneration(g Generation) error {
	return tx.exec("INSERT OR REPLACE INTO generations("+generationCols+") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
		g.Conduit, g.Number, g.Started, g.Completed, g.Copied, g.Deleted, g.Conflicts, g.Bytes, g.Errors, g.Drift, g.Verified, g.Verification, g.Leg, g.Item)
}

// CountInGeneration adds the counts of some work to its batch.
func (tx *Tx) CountInGeneration(id ConduitID, number int64, more Generation) error {
	return tx.exec(`UPDATE generations SET copied = copied + ?, deleted = deleted + ?, conflicts = conflicts + ?, bytes = bytes + ?, errors = errors + ?,
		drift = drift + ? WHERE conduit = ? AND generation = ?`, more.Copied, more.Deleted, more.Conflicts, more.Bytes, more.Errors, more.Drift, id, number)
}

// DropGeneration forgets a batch that came to nothing. If it is the last, the next gets its number.
func (tx *Tx) DropGeneration(g Generation) error {
	err := tx.exec("DELETE FROM generations WHERE conduit = ? AND generation = ?", g.Conduit, g.Number)
	if err == nil {
		err = tx.exec("UPDATE conduits SET generation = generation - 1 WHERE id = ? AND generation = ?", g.Conduit, g.Number)
	}
	return err
}

// Generation reads one batch; false: there is none.
func (tx *Tx) Generation(id ConduitID, number int64) (Generation, bool, error) {
	return get(tx, scanGeneration, "SELECT "+generationCols+" FROM generations WHERE conduit = ? AND generation = ?", id, number)
}

// GenerationFilter chooses batches of one conduit.
type GenerationFilter struct {
	Conduit      ConduitID
	Since, Until int64 // begun from the one time on, and before the other, in nanoseconds since 1970; 0: any time
	Failed       bool  // only those with errors, or that were not verified in the end
	Limit        int   // 0: all
}

const generationWhere = ` FROM generations WHERE conduit = ?1 AND (?2 = 0 OR started >= ?2) AND (?3 = 0 OR started < ?3)
	AND (NOT ?4 OR errors > 0 OR verification LIKE 'failed%')`

// Generations reads batches, the newest first.
func (tx *Tx) Generations(f GenerationFilter) ([]Generation, error) {
	if f.Limit == 0 {
		f.Limit = -1
	}
	return list(tx, scanGeneration, "SELECT "+generationCols+generationWhere+" ORDER BY generation DESC LIMIT ?5",
		f.Conduit, f.Since, f.Until, f.Failed, f.Limit)
}

// GenerationTotals are sums over batches.
type GenerationTotals struct {
	Generations, Completed, Verified, Failed  int64 // how many there are; of these have ended, were verified, have errors
	Copied, Deleted, Conflicts, Bytes, Errors int64
	Took                                      int64 // of those that have ended, in nanoseconds
	First                                     int64 // when the oldest began, in nanoseconds since 1970; 0: there is none
	LastCompleted, LastVerified               int64 // numbers; 0: none was
}

// SumGenerations adds batches up, whatever the limit.
func (tx *Tx) SumGenerations(f GenerationFilter) (t GenerationTotals, err error) {
	_, err = tx.queryRow(`SELECT count(*), coalesce(sum(completed > 0), 0), coalesce(sum(verified > 0), 0), coalesce(sum(errors > 0 OR verification LIKE 'failed%'), 0),
		coalesce(sum(copied), 0), coalesce(sum(deleted), 0), coalesce(sum(conflicts), 0), coalesce(sum(bytes), 0), coalesce(sum(errors), 0),
		coalesce(sum(CASE WHEN completed > 0 THEN max(completed - started, 0) END), 0), coalesce(min(started), 0),
		coalesce(max(CASE WHEN completed > 0 THEN generation END), 0), coalesce(max(CASE WHEN verified > 0 THEN generation END), 0)`+generationWhere,
		func(r *row) {
			for _, n := range []*int64{
				&t.Generations, &t.Completed, &t.Verified, &t.Failed, &t.Copied, &t.Deleted, &t.Conflicts, &t.Bytes, &t.Errors, &t.Took, &t.First,
				&t.LastCompleted, &t.LastVerified,
			} {
				*n = r.int()
			}
		}, f.Conduit, f.Since, f.Until, f.Failed)
	return t, err
}

// What is kept of a conduit's batches: those of some months, and no more than a number unless they are of the last day.
const (
	generationsKept = 90 * 24 * time.Hour
	generationsDay  = 24 * time.Hour
	generationsMost = 20_000
)

// PurgeGenerations deletes up to limit completed batches of a conduit: those begun before old, and those begun before day that are
// more than most. The last that was completed, and the last that was verified, stay. It returns how many went.
func (tx *Tx) PurgeGenerations(id ConduitID, old, day int64, most, limit int) (int, error) {
	gone, err := list(tx, (*row).int, `DELETE FROM generations WHERE conduit = ?1 AND generation IN (
		SELECT generation FROM generations WHERE conduit = ?1 AND completed > 0
			AND (started < ?2 OR started < ?3 AND generation <= (SELECT max(generation) FROM generations WHERE conduit = ?1) - ?4)
			AND generation <> coalesce((SELECT max(generation) FROM generations WHERE conduit = ?1 AND completed > 0), 0)
			AND generation <> coalesce((SELECT max(generation) FROM generations WHERE conduit = ?1 AND verified > 0), 0)
		ORDER BY generation LIMIT ?5) RETURNING generation`, id, old, day, most, limit)
	return len(gone), err
}

// purgeGenerations deletes what of the history is old, or too much.
func (c *Cache) purgeGenerations(ctx context.Context) error {
	var conduits []Conduit
	err := c.read(func(tx *Tx) (err error) {
		conduits, err = tx.Conduits()
		return err
	})
	now := c.opt.Clock()
	for _, cd := range conduits {
		if err != nil {
			break
		}
		err = c.pages(ctx, func(tx *Tx) (bool, error) {
			n, err := tx.PurgeGenerations(cd.ID, now.Add(-generationsKept).UnixNano(), now.Add(-generationsDay).UnixNano(), generationsMost, recoverBatch)
			return n == recoverBatch, err
		})
	}
	return err
}

// OpenGenerations reads the batches of a leg that are under way or wait to be verified, the oldest first.
func (tx *Tx) OpenGenerations(leg LegID) ([]Generation, error) {
	return list(tx, scanGeneration, "SELECT "+generationCols+" FROM generations WHERE leg = ? AND "+stillOpen+" ORDER BY generation", leg)
}

// Touched is an object that a generation has to do with. With a RemoteID it was removed at the endpoint, where it was called Name in
// the directory Parent.
type Touched struct {
	Binding                BindingID
	RemoteID, Parent, Name string
}

// Touch notes that a generation has made or changed what a binding binds.
func (tx *Tx) Touch(leg LegID, generation int64, b BindingID) error {
	return tx.exec("INSERT OR IGNORE INTO touched(leg, generation, binding) VALUES(?,?,?)", leg, generation, b)
}

// TouchGone notes that a generation has removed an object of the endpoint.
func (tx *Tx) TouchGone(leg LegID, generation int64, t Touched) error {
	return tx.exec("INSERT OR IGNORE INTO touched(leg, generation, binding, remote_id, parent, name) VALUES(?,?,?,?,?,?)",
		leg, generation, t.Binding, t.RemoteID, t.Parent, blob(t.Name))
}

// TouchedPage reads up to limit of what a generation has touched, after one; the zero Touched begins at the first.
func (tx *Tx) TouchedPage(leg LegID, generation int64, after Touched, limit int) ([]Touched, error) {
	if after == (Touched{}) {
		after.Binding = NoParent
	}
	return list(tx, func(r *row) Touched { return Touched{BindingID(r.int()), r.str(), r.str(), r.str()} },
		`SELECT binding, remote_id, parent, name FROM touched WHERE leg = ?1 AND generation = ?2 AND (binding, remote_id) > (?3, ?4)
		ORDER BY binding, remote_id LIMIT ?5`, leg, generation, after.Binding, after.RemoteID, limit)
}

// CountTouched counts what a generation has touched.
func (tx *Tx) CountTouched(leg LegID, generation int64) (int64, error) {
	n, _, err := get(tx, (*row).int, "SELECT count(*) FROM touched WHERE leg = ? AND generation = ?", leg, generation)
	return n, err
}

// DropTouched forgets what a generation has touched.
func (tx *Tx) DropTouched(leg LegID, generation int64) error {
	return tx.exec("DELETE FROM touched WHERE leg = ? AND generation = ?", leg, generation)
}
