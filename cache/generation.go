package cache

import (
	"context"
	"fmt"
	"time"
)

const generationCols = "conduit, generation, started, completed, copied, deleted, conflicts, bytes, errors, drift, verified, verification"

func scanGeneration(r *row) Generation {
	return Generation{
		Conduit: ConduitID(r.int()), Number: r.int(), Started: r.int(), Completed: r.int(), Copied: r.int(), Deleted: r.int(), Conflicts: r.int(),
		Bytes: r.int(), Errors: r.int(), Drift: r.int(), Verified: r.int(), Verification: r.str(),
	}
}

// BeginGeneration opens the next batch of a conduit and makes it the conduit's present one.
func (tx *Tx) BeginGeneration(id ConduitID) (Generation, error) {
	g := Generation{Conduit: id, Started: tx.Now(), Verification: "unverified"}
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

// PutGeneration writes a batch's row.
func (tx *Tx) PutGeneration(g Generation) error {
	tx.marked = true
	return tx.exec("INSERT OR REPLACE INTO generations("+generationCols+") VALUES(?,?,?,?,?,?,?,?,?,?,?,?)",
		g.Conduit, g.Number, g.Started, g.Completed, g.Copied, g.Deleted, g.Conflicts, g.Bytes, g.Errors, g.Drift, g.Verified, g.Verification)
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

// Unfinished reads the batches of a conduit that were begun and not completed.
func (tx *Tx) Unfinished(id ConduitID) ([]Generation, error) {
	return list(tx, scanGeneration, "SELECT "+generationCols+" FROM generations WHERE conduit = ? AND completed = 0 ORDER BY generation", id)
}
