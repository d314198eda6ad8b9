package cache

import "fmt"

// activityMax is how many lines the diary keeps.
const activityMax = 10000

// AddActivity writes a line into the drive's diary; the oldest make room.
func (tx *Tx) AddActivity(kind, text string) error {
	id, err := tx.insert("INSERT INTO activity(at, kind, text) VALUES(?, ?, ?)", tx.Now(), kind, text)
	if err == nil {
		err = tx.exec("DELETE FROM activity WHERE id <= ?", id-activityMax)
	}
	if err != nil {
		return fmt.Errorf("add activity: %w", err)
	}
	return nil
}

// Activities reads up to limit lines, the newest first; before 0 begins at the end.
func (tx *Tx) Activities(before int64, limit int) ([]Activity, error) {
	if before <= 0 {
		before = Never
	}
	return list(tx, func(r *row) Activity { return Activity{r.int(), r.int(), r.str(), r.str()} },
		"SELECT id, at, kind, text FROM activity WHERE id < ? ORDER BY id DESC LIMIT ?", before, limit)
}
