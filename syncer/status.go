package syncer

import (
	"path"
	"time"

	"vdfs/cache"
)

// The states of a conduit.
const (
	StateIdle      = "idle"
	StateSyncing   = "syncing"
	StatePaused    = "paused"
	StateOffline   = "offline"
	StateAttention = "attention" // waits for a person
	StateError     = "error"
)

// ConduitStatus is a conduit as it stands.
type ConduitStatus struct {
	cache.Conduit
	At            string // directory of the drive
	State         string
	Message       string // why it is in this state, in words
	Verification  string // of the last generation
	NextSync      time.Time
	PendingLocal  int64
	PendingRemote int64
	Conflicts     int64
	Errors        int64
	Notes         []string // what its endpoint lacks or complains of
}

// Noticer is an endpoint with something to tell a person, such as a limit it met.
type Noticer interface{ Notice() string }

// Status tells how all conduits stand.
func (e *Engine) Status() ([]ConduitStatus, error) {
	var out []ConduitStatus
	err := e.Cache.Survey(func(tx *cache.Tx) error {
		all, err := tx.Conduits()
		if err != nil {
			return err
		}
		counts, err := tx.CountItems()
		if err != nil {
			return err
		}
		open, err := tx.Conflicts(cache.ConflictOpen, 0, 10_000)
		if err != nil {
			return err
		}
		for _, cd := range all {
			s := ConduitStatus{Conduit: cd, State: StateIdle}
			legs, err := tx.LegsOfConduit(cd.ID)
			if err != nil {
				return err
			}
			for _, row := range legs {
				s.count(row.ID, counts, open)
				e.legState(row, &s)
			}
			if err := s.describe(tx); err != nil {
				return err
			}
			out = append(out, s)
		}
		return nil
	})
	return out, err
}

func (s *ConduitStatus) count(leg cache.LegID, counts []cache.ItemCount, open []cache.ConflictRow) {
	for _, c := range counts {
		if c.Leg != leg {
			continue
		}
		if c.Origin == cache.OriginLocal {
			s.PendingLocal += c.Count
		} else {
			s.PendingRemote += c.Count
		}
		if c.Status == cache.ItemError {
			s.Errors += c.Count
		}
	}
	for _, c := range open {
		if c.Leg == leg {
			s.Conflicts++
		}
	}
}

// legState reads what only the running leg knows.
func (e *Engine) legState(row cache.Leg, s *ConduitStatus) {
	l := e.leg(row.ID)
	paused := e.Paused() || !s.Enabled
	switch {
	case paused:
		s.State = StatePaused
	case l == nil:
	default:
		l.mu.Lock()
		defer l.mu.Unlock()
		s.NextSync = l.next
		s.LastSync = max(s.LastSync, l.lastOK)
		switch {
		case l.offline != nil:
			s.State, s.Message = StateOffline, l.offline.Error()
		case l.held != "":
			s.State, s.Message = StateAttention, l.held
		case s.Errors > 0:
			s.State, s.Message = StateAttention, "some files could not be synced; `vdfs errors` says why"
		case l.lastErr != nil:
			s.State, s.Message = StateError, l.lastErr.Error()
		case l.busy && l.working || !row.Contact || s.PendingLocal+s.PendingRemote > 0:
			s.State = StateSyncing
		}
		if n, ok := l.ep.(Noticer); ok && n.Notice() != "" {
			s.Notes = append(s.Notes, n.Notice())
		}
	}
}

func (s *ConduitStatus) describe(tx *cache.Tx) error {
	ino, err := tx.PlaceDir(s.Place)
	if err != nil {
		return err
	}
	d, err := tx.DentryOf(ino)
	if err != nil {
		return err
	}
	if s.At, err = tx.Path(d.ID); err != nil {
		return err
	}
	g, ok, err := tx.Generation(s.ID, s.Generation)
	if err == nil && ok {
		s.Verification = g.Verification
	}
	return err
}

// itemPath is the path that a person knows an item's object by.
func (l *leg) itemPath(tx *cache.Tx, it cache.Item) (string, error) {
	if d, err := itemDentry(tx, it); err != nil {
		return "", err
	} else if d != 0 {
		p, err := tx.Path(d)
		if err == nil {
			return p, nil
		}
	}
	id := it.RemoteID
	if it.Binding != 0 {
		b, ok, err := tx.Binding(it.Binding)
		if err != nil || !ok {
			return it.Name, err
		}
		id = b.RemoteID
	}
	place, err := tx.PlaceDir(l.place)
	if err != nil {
		return "", err
	}
	d, err := tx.DentryOf(place)
	if err != nil {
		return "", err
	}
	root, err := tx.Path(d.ID)
	if err != nil {
		return "", err
	}
	var names []string
	for range maxDepth {
		o, err := l.object(tx, id)
		if err != nil {
			return "", err
		}
		if o == nil || o.Parent == "" {
			break
		}
		names = append([]string{o.Name}, names...)
		id = o.Parent
	}
	if len(names) == 0 {
		names = []string{it.Name}
	}
	return path.Join(append([]string{root}, names...)...), nil
}

func itemDentry(tx *cache.Tx, it cache.Item) (cache.DentryID, error) {
	if it.Binding != 0 {
		b, _, err := tx.Binding(it.Binding)
		return b.Dentry, err
	}
	if it.RemoteID != "" {
		b, _, err := tx.BindingOfRemote(it.Leg, it.RemoteID)
		return b.Dentry, err
	}
	return it.Dentry, nil
}

// ItemPath is the path in the drive that an item is about.
func (e *Engine) ItemPath(tx *cache.Tx, it cache.Item) (string, error) {
	l := e.leg(it.Leg)
	if l == nil {
		return it.Name, nil
	}
	return l.itemPath(tx, it)
}
