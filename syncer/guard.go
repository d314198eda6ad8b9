package syncer

import (
	"fmt"

	"vdfs/cache"
)

// guard decides whether deletions seen at the endpoint are so many that a
// person has to allow them. It counts after moves were paired.
func (l *leg) guard(allow bool) (hold bool, err error) {
	message := ""
	err = l.e.Cache.View(func(tx *cache.Tx) error {
		gone, err := tx.CountGone(l.id)
		if err != nil || gone <= int64(l.e.GuardCount) {
			return err
		}
		all, err := tx.CountBindings(l.id)
		if err != nil || gone*100 <= all*int64(l.e.GuardPercent) {
			return err
		}
		hold = true
		message = fmt.Sprintf("paused: mass delete: %d of %d objects are gone at %s; `vdfs sync --allow-deletes` lets them go here too", gone, all, l.target)
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("count deletions: %w", err)
	}
	if allow {
		hold, message = false, ""
	}
	l.mu.Lock()
	l.held = message
	l.mu.Unlock()
	return hold, nil
}

// Local deletions are a person's own: they are held only beyond these.
const (
	localGuardCount   = 1000
	localGuardPercent = 50
)

// guardLocal is guard for deletions made in the drive.
func (l *leg) guardLocal(allow bool) (hold bool, err error) {
	if allow {
		return false, nil
	}
	message := ""
	err = l.e.Cache.View(func(tx *cache.Tx) error {
		gone, err := tx.CountUnnamed(l.id)
		if err != nil || gone <= localGuardCount {
			return err
		}
		all, err := tx.CountBindings(l.id)
		if err != nil || gone*100 <= all*localGuardPercent {
			return err
		}
		hold = true
		message = fmt.Sprintf("paused: mass delete: %d of %d objects were deleted in the drive; `vdfs sync --allow-deletes` deletes them at %s too", gone, all, l.target)
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("count deletions: %w", err)
	}
	if hold {
		l.mu.Lock()
		l.held = message
		l.mu.Unlock()
	}
	return hold, nil
}
