package cache

import "fmt"

// AddRelease writes a line into the audit log. Nothing removes one.
func (tx *Tx) AddRelease(r *Release) error {
	r.At = tx.Now()
	id, err := tx.insert("INSERT INTO releases(at, conduit, source, destination, path, kind, size, hash) VALUES(?,?,?,?,?,?,?,?)",
		r.At, r.Conduit, r.Source, r.Destination, blob(r.Path), r.Kind, r.Size, r.Hash)
	if err != nil {
		return fmt.Errorf("add release: %w", err)
	}
	r.ID = id
	return nil
}

// Releases reads up to limit lines of the audit log, the oldest first, beginning after an id.
func (tx *Tx) Releases(after int64, limit int) ([]Release, error) {
	return list(tx, func(r *row) Release {
		return Release{r.int(), r.int(), r.str(), r.str(), r.str(), r.str(), Kind(r.int()), r.int(), r.hash()}
	}, "SELECT id, at, conduit, source, destination, path, kind, size, hash FROM releases WHERE id > ? ORDER BY id LIMIT ?", after, limit)
}
