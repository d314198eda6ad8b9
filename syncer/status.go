package syncer

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"vdfs/cache"
	"vdfs/internal/procs"
	"vdfs/syncer/plan"
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

// ConduitStatus is a conduit as it stands: the worst of its legs, and what they have to do together.
type ConduitStatus struct {
	cache.Conduit
	At           string // directory of the drive
	ReadOnly     bool   // programs change nothing there
	Rules        []cache.Rule
	KeepExtra    bool        // the target of replicate keeps what the drive does not have
	Legs         []LegStatus // source first
	State        string
	Message      string // why it is in this state, in words
	Verification string // of the last generation
	// Tree is the last look at all of its endpoints: the oldest of those that went well, and the first result that was none.
	Tree          cache.TreeCheck
	NextSync      time.Time
	Triggered     Triggered // what had it work
	PendingLocal  int64
	PendingRemote int64
	Conflicts     int64
	Errors        int64
	Notes         []string  // what its endpoints lack or complain of
	Progress      *Progress // of the run under way; nil: there is none
}

// LegStatus is one endpoint of a conduit as it stands. LastSync is when a cycle last went well, in nanoseconds since 1970.
type LegStatus struct {
	Endpoint      string
	Role          cache.Role
	State         string
	Message       string
	LastSync      int64
	NextSync      time.Time
	Triggered     Triggered
	PendingLocal  int64
	PendingRemote int64
	Conflicts     int64
	Errors        int64
	Damaged       int64 // copies that were found to be
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
		damaged, err := tx.CountDamage()
		if err != nil {
			return err
		}
		for _, cd := range all {
			s := ConduitStatus{Conduit: cd, State: StateIdle}
			if cd.Drift > 0 {
				s.Notes = append(s.Notes, fmt.Sprintf("%s only follows: what was done at %s was undone %d times; what it had is in the trash there", cd.Name, cd.Target, cd.Drift))
			}
			legs, err := tx.LegsOfConduit(cd.ID)
			if err != nil {
				return err
			}
			var under []Progress
			for i, row := range legs {
				tree, err := tx.TreeCheck(row.ID)
				if err != nil {
					return err
				}
				s.addTree(tree, i == 0)
				p, some, err := e.progressOf(tx, row.ID)
				if err != nil {
					return err
				}
				if some {
					under = append(under, p)
				}
				l := LegStatus{Endpoint: row.Endpoint, Role: row.Role, State: StateIdle, Damaged: damaged[row.ID]}
				l.count(row.ID, counts, open)
				note, err := e.legState(tx, row, cd, &l)
				if err != nil {
					return err
				}
				if note != "" {
					s.Notes = append(s.Notes, note)
				}
				s.Legs = append(s.Legs, l)
			}
			s.Progress = joinProgress(under)
			s.sum()
			e.tellRuns(&s)
			if err := s.describe(tx); err != nil {
				return err
			}
			out = append(out, s)
		}
		return nil
	})
	return out, err
}

// addTree adds the last look at all of one endpoint.
func (s *ConduitStatus) addTree(c cache.TreeCheck, first bool) {
	if first {
		s.Tree = c
		return
	}
	s.Tree.Checked, s.Tree.Verified = min(s.Tree.Checked, c.Checked), min(s.Tree.Verified, c.Verified)
	if s.Tree.Result == cache.TreeVerified {
		s.Tree.Result = c.Result
	}
}

func (s *LegStatus) count(leg cache.LegID, counts []cache.ItemCount, open []cache.ConflictRow) {
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

// legState reads what only the running leg knows, and returns what its endpoint has to tell.
func (e *Engine) legState(tx *cache.Tx, row cache.Leg, cd cache.Conduit, s *LegStatus) (note string, err error) {
	l := e.leg(row.ID)
	paused := e.Paused() || !cd.Enabled
	spares, works := e.sparesBecause(), e.runs.active(cd.ID)
	var shut []Blocked
	if l != nil && !paused {
		if shut, err = l.shutOut(tx); err != nil {
			return "", err
		}
	}
	if l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		s.Triggered = l.counted
	}
	switch {
	case paused:
		s.State = StatePaused
	case l == nil:
	default:
		s.NextSync, s.LastSync = l.next, l.lastOK
		switch {
		case l.offline != nil:
			s.State, s.Message = StateOffline, l.offline.Error()
		case l.held != "":
			s.State, s.Message = StateAttention, l.held
		case s.Errors > 0:
			s.State, s.Message = StateAttention, "some files could not be synced; `vdfs errors` says why"
		case spares != "" && !l.busy:
			s.State, s.Message, s.NextSync = StatePaused, spares, time.Time{}
		case l.lastErr != nil:
			s.State, s.Message = StateError, l.lastErr.Error()
		case len(shut) > 0:
			s.State, s.Message = StateAttention, shutMessage(shut)
		case s.Damaged > 0:
			s.State, s.Message = StateAttention, fmt.Sprintf("%d of the copies there are damaged; `vdfs errors` names them, `vdfs verify --repair` repairs them", s.Damaged)
		case works && (l.busy && l.working || !row.Contact || s.PendingLocal+s.PendingRemote > 0):
			s.State = StateSyncing
		}
		if n, ok := l.ep.(Noticer); ok {
			note = n.Notice()
		}
	}
	return note, nil
}

// shutMessage tells of directories that cannot be listed.
func shutMessage(shut []Blocked) string {
	if len(shut) == 1 {
		return fmt.Sprintf("%s: %s", shut[0].Path, shut[0].Reason)
	}
	return fmt.Sprintf("%d directories could not be listed, such as %s: %s", len(shut), shut[0].Path, shut[0].Reason)
}

// severity orders the states: the worst leg of a conduit speaks for it.
var severity = []string{StateIdle, StateSyncing, StatePaused, StateAttention, StateOffline, StateError}

// sum makes the state of the conduit from those of its legs.
func (s *ConduitStatus) sum() {
	var oldest int64
	for i, l := range s.Legs {
		if slices.Index(severity, l.State) > slices.Index(severity, s.State) {
			s.State, s.Message = l.State, l.Message
			if len(s.Legs) > 1 && l.Message != "" {
				s.Message = l.Endpoint + ": " + l.Message
			}
		}
		if s.NextSync.IsZero() || !l.NextSync.IsZero() && l.NextSync.Before(s.NextSync) {
			s.NextSync = l.NextSync
		}
		if i == 0 || l.LastSync < oldest {
			oldest = l.LastSync
		}
		s.Triggered.add(l.Triggered)
		s.PendingLocal += l.PendingLocal
		s.PendingRemote += l.PendingRemote
		s.Conflicts += l.Conflicts
		s.Errors += l.Errors
	}
	s.LastSync = max(s.LastSync, oldest)
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
	if s.ReadOnly, err = tx.PlaceReadOnly(s.Place); err != nil {
		return err
	}
	if s.Rules, err = tx.Rules(s.ID); err != nil {
		return err
	}
	config, _ := parseConfig(s.PolicyConfig) // one that cannot be read stops the conduit, which says so
	s.KeepExtra = config.MirrorDeletions != nil && !*config.MirrorDeletions
	last, err := tx.Generations(cache.GenerationFilter{Conduit: s.ID, Limit: 1})
	if err == nil && len(last) > 0 {
		s.Verification = last[0].Verification
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

// ItemReason is why an item is not done, as a person is told; "": it is on its way.
func (e *Engine) ItemReason(tx *cache.Tx, it cache.Item) (string, error) {
	if it.Error != plan.WaitSettle.String() && (it.Error != "" || it.Eligible != cache.Never) {
		return it.Error, nil
	}
	d, err := itemDentry(tx, it)
	if err != nil || d == 0 {
		return it.Error, err
	}
	entry, err := tx.Dentry(d)
	switch {
	case errors.Is(err, cache.ErrNotFound):
		return it.Error, nil
	case err != nil || e.Cache.InUse(entry.Ino).Writers == 0:
		return it.Error, err
	}
	if pid := procs.Process(e.Cache.Writer(entry.Ino)); pid != 0 {
		return fmt.Sprintf("pending: open by PID %d", pid), nil
	}
	return "pending: open for writing", nil
}

// ItemPath is the path in the drive that an item is about.
func (e *Engine) ItemPath(tx *cache.Tx, it cache.Item) (string, error) {
	l := e.leg(it.Leg)
	if l == nil {
		return it.Name, nil
	}
	return l.itemPath(tx, it)
}
