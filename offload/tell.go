package offload

import (
	"encoding/hex"
	"errors"
	"time"

	"vdfs/cache"
	"vdfs/cache/event"
)

// tell tells of something that has happened to a node, by one of its names. It is not called inside a transaction.
func (h *Hydrator) tell(e event.Event, ino cache.Ino) {
	if h.events.Wants(e.Type) {
		e.Path = h.nameOf(ino)
	}
	h.events.Publish(e)
}

// nameOf is the path of a node by one of its names; "": it has none.
func (h *Hydrator) nameOf(ino cache.Ino) (p string) {
	err := h.cache.View(func(tx *cache.Tx) error {
		d, err := tx.DentryOf(ino)
		if err == nil {
			p, err = tx.Path(d.ID)
		}
		return err
	})
	if err != nil {
		return ""
	}
	return p
}

// progressOf tells how far the fetch of a node is.
func (h *Hydrator) progressOf(ino cache.Ino, size int64) *event.Progress {
	return h.events.Progress(event.Event{Way: event.Down, Total: size}, func() string { return h.nameOf(ino) })
}

// tellHere tells that all of a node has been fetched, and verified.
func (h *Hydrator) tellHere(ino cache.Ino, size int64, took time.Duration, sum cache.Hash) {
	if h.events == nil {
		return
	}
	h.tell(event.Event{Type: event.FileDownloadCompleted, Total: size, Took: took, Hash: hex.EncodeToString(sum[:])}, ino)
	h.tell(event.Event{Type: event.FileHydrated, Total: size}, ino)
}

// setIntent sets a dentry's own intent, and has it told when that is committed, if it is another than before.
func (m *Manager) setIntent(tx *cache.Tx, id cache.DentryID, intent cache.Intent) error {
	return setIntent(m.events, tx, id, intent)
}

func setIntent(bus *event.Bus, tx *cache.Tx, id cache.DentryID, intent cache.Intent) error {
	if bus == nil {
		return tx.SetIntent(id, intent)
	}
	was, err := tx.Dentry(id)
	if err == nil {
		err = tx.SetIntent(id, intent)
	}
	if err != nil || was.Intent == intent {
		return err
	}
	e := event.Event{Type: event.PinChanged, From: intentName(was.Intent), To: intentName(intent)}
	if bus.Wants(e.Type) {
		if e.Path, err = tx.Path(id); err != nil && !errors.Is(err, cache.ErrNotFound) {
			return err
		}
	}
	tx.AfterCommit(func() { bus.Publish(e) })
	return nil
}

// intentName is an intent in a word, as the command line has it.
func intentName(i cache.Intent) string {
	switch i {
	case cache.Pinned:
		return "pinned"
	case cache.Online:
		return "online"
	case cache.Auto:
		return "auto"
	case cache.Excluded:
		return "excluded"
	}
	return "inherited"
}
