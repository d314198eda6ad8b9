package cache

import "fmt"

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

// Generations reads up to limit batches of a conduit, the newest first.
func (tx *Tx) Generations(id ConduitID, limit int) ([]Generation, error) {
	return list(tx, scanGeneration, "SELECT "+generationCols+" FROM generations WHERE conduit = ? ORDER BY generation DESC LIMIT ?", id, limit)
}

// Unfinished reads the batches of a conduit that were begun and not completed.
func (tx *Tx) Unfinished(id ConduitID) ([]Generation, error) {
	return list(tx, scanGeneration, "SELECT "+generationCols+" FROM generations WHERE conduit = ? AND completed = 0 ORDER BY generation", id)
}
