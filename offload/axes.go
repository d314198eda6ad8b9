package offload

import (
	"vdfs/cache"
)

// Sync says how far a dentry agrees with the endpoints of its place.
type Sync uint8

// The sync states.
const (
	Synced     Sync = iota
	Pending         // something is still to be sent
	Conflicted      // a conflict waits for a decision
	Failed          // the last attempt failed
	LocalOnly       // never sent, or outside every place
)

// Activity is what is going on with a dentry now.
type Activity uint8

// The activities.
const (
	Idle Activity = iota
	Downloading
	Uploading
)

// Axes are the five independent things there are to say of a dentry.
type Axes struct {
	Listing   cache.Listing // of a directory
	Residency cache.Residency
	Sync      Sync
	Intent    cache.Intent // effective: own or inherited
	Activity  Activity

	Dir bool // what it is decides which axes mean something
}

// The words of Word.
const (
	WordCloud     = "cloud"
	WordPartial   = "partial"
	WordLocal     = "local"
	WordPinned    = "pinned"
	WordPinning   = "pinning"
	WordPending   = "pending"
	WordUploading = "uploading"
	WordConflict  = "conflict"
	WordError     = "error"
	WordExcluded  = "excluded"
)

// Word says the axes in one word: of all that is so, what a person most needs to know.
func Word(a Axes) string {
	switch {
	case a.Intent == cache.Excluded:
		return WordExcluded
	case a.Sync == Conflicted:
		return WordConflict
	case a.Sync == Failed:
		return WordError
	case a.Activity == Uploading:
		return WordUploading
	case a.Sync == Pending:
		return WordPending
	case a.Intent == cache.Pinned && !a.whole():
		return WordPinning
	case a.Intent == cache.Pinned:
		return WordPinned
	case a.whole():
		return WordLocal
	case !a.Dir && a.Residency == cache.Partial:
		return WordPartial
	}
	return WordCloud
}

// whole: nothing of it is missing, as far as it can be told without walking.
func (a Axes) whole() bool {
	if a.Dir {
		return a.Listing == cache.Listed
	}
	return a.Residency == cache.Full
}

// State is all there is to say of a dentry's residency.
type State struct {
	Axes
	From       cache.DentryID // the dentry whose intent it is; 0: nobody said anything
	LocalBytes int64
	Use        cache.Use
	Error      string // of the last attempt to send or fetch it
}

// Word is Word of its axes.
func (s State) Word() string { return Word(s.Axes) }

// Describe reads the state of a dentry. It asks nobody and hydrates nothing.
func (m *Manager) Describe(id cache.DentryID) (State, error) {
	var s State
	var ino cache.Ino
	err := m.cache.View(func(tx *cache.Tx) error {
		e, err := tx.Entry(id)
		if err != nil {
			return err
		}
		ino = e.Ino
		return s.read(tx, e)
	})
	if err != nil {
		return s, err
	}
	if s.Use = m.cache.InUse(ino); s.Activity == Idle && m.Hydrating(ino) {
		s.Activity = Downloading
	}
	return s, nil
}

// DescribeNode is Describe for the oldest name of a node.
func (m *Manager) DescribeNode(ino cache.Ino) (State, error) {
	var id cache.DentryID
	err := m.cache.View(func(tx *cache.Tx) error {
		d, err := tx.DentryOf(ino)
		id = d.ID
		return err
	})
	if err != nil {
		return State{}, err
	}
	return m.Describe(id)
}

func (s *State) read(tx *cache.Tx, e cache.Entry) (err error) {
	s.Dir = e.Node.Kind == cache.Dir
	s.Listing, s.Residency = e.Node.Listing, e.Node.Residency
	if !s.Dir && (e.Node.Kind != cache.File || e.Node.Size == 0 && !e.Node.Writing) {
		s.Residency = cache.Full // there is nothing to be missing
	}
	if s.Intent, s.From, err = tx.EffectiveIntent(e.ID); err != nil {
		return err
	}
	if e.Node.Kind == cache.File {
		if s.LocalBytes, err = tx.LocalBytes(e.Ino); err != nil {
			return err
		}
		t, queued, err := tx.TransferOf(e.Ino, 0, false)
		if err != nil {
			return err
		}
		if queued {
			s.Error = t.Error
		}
	}
	return s.readSync(tx, e)
}

func (s *State) readSync(tx *cache.Tx, e cache.Entry) error {
	place, err := tx.PlaceOf(e.ID)
	if err != nil {
		return err
	}
	items, err := tx.OpenItemsOf(e.ID)
	if err != nil {
		return err
	}
	if len(items) == 0 {
		here, err := staysHere(tx, e, place)
		if here || err != nil {
			s.Sync = LocalOnly
			return err
		}
	}
	if e.Node.Writing {
		s.Sync = Pending
	}
	for _, it := range items {
		s.Sync = max(s.Sync, syncOf(it))
		if it.Status == cache.ItemProcessing {
			s.Activity = Uploading
		}
		if it.Error != "" {
			s.Error = it.Error
		}
	}
	return nil
}

// staysHere reports whether a name that no work is left for is known to no endpoint of its place.
func staysHere(tx *cache.Tx, e cache.Entry, place cache.PlaceID) (bool, error) {
	if e.LocalOnly || place == 0 {
		return true, nil
	}
	if e.Node.Kind == cache.Dir && e.Node.Place != place {
		return false, nil // the directory of another place
	}
	bound, err := tx.BindingsOf(e.ID)
	return len(bound) == 0, err
}

// syncOf is what one open item says. An attempt that will be repeated by itself is still pending.
func syncOf(it cache.Item) Sync {
	switch {
	case it.Status == cache.ItemConflicted:
		return Conflicted
	case it.Status == cache.ItemError && it.Parked:
		return Failed
	}
	return Pending
}
