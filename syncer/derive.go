package syncer

import (
	"context"
	"encoding/json"
	"fmt"

	"vdfs/cache"
)

// A new leg's first contact has two halves: what its endpoint has is listed (contact.go), and what the drive had before it is
// marked, here. How far that has come is a setting, so that a crash in between leaves nothing out. What the source of an archive
// has is to be given up: each of its objects has an item while it is bound.

func deriveKey(leg cache.LegID) string { return fmt.Sprintf("sync.derive.%d", leg) }

// beginDerive notes that a leg has still to be told what the drive has.
func beginDerive(tx *cache.Tx, leg cache.LegID) error {
	return saveDerive(tx, leg, cache.RederivePos{})
}

func endDerive(tx *cache.Tx, leg cache.LegID) error { return tx.SetSetting(deriveKey(leg), nil) }

func saveDerive(tx *cache.Tx, leg cache.LegID, pos cache.RederivePos) error {
	text, err := json.Marshal(pos)
	if err != nil {
		return err
	}
	return tx.SetSetting(deriveKey(leg), text)
}

// derive marks what the drive had before the leg, unless that was done.
func (l *leg) derive(ctx context.Context) error {
	for !l.derived {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err := l.e.Cache.Update(0, func(tx *cache.Tx) error {
			text, err := tx.Setting(deriveKey(l.id))
			if err != nil || text == nil {
				l.derived = err == nil
				return err
			}
			var pos cache.RederivePos
			if err := json.Unmarshal(text, &pos); err != nil {
				return err
			}
			if pos, err = tx.Rederive(l.id, pos, batchSize, releases(l.rules())); err != nil {
				return err
			}
			if pos.Done {
				return endDerive(tx, l.id)
			}
			return saveDerive(tx, l.id, pos)
		})
		if err != nil {
			return fmt.Errorf("mark what the drive has: %w", err)
		}
	}
	return nil
}
