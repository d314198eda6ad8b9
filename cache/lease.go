package cache

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// The lease of a node. There is one per node, it lives only while somebody holds or wants it, and no other per-node lock
// exists. Held together with other locks the order is
//
//	lease → state.op → transaction (the writer) → release → notify
//
// where fileTable.mu is a leaf that may be taken anywhere, also inside a transaction. Nobody who is inside a transaction
// waits for a lease or for state.op.
//
// Shared holders are counted as readers (open for reading, Fill, Draft, Snapshot) or writers (open for writing). Swap and drop
// exclude everybody: they are granted only when nobody holds the lease, never wait for a holder, and are held for the
// length of a transaction, so that those who come meanwhile wait for them.

// Use counts the holders of a node's lease. Brief of the writers will have let go in a moment, whatever programs do.
type Use struct{ Readers, Writers, Brief int }

// BusyError is the ErrBusy of a lease that others hold.
type BusyError struct{ Use }

// Error counts the handles.
func (e *BusyError) Error() string {
	return fmt.Sprintf("in use by %d readers and %d writers", e.Readers, e.Writers)
}

// Is makes it an ErrBusy.
func (e *BusyError) Is(target error) bool { return target == ErrBusy }

// fileTable holds the states of the nodes in use. Its zero value is ready.
type fileTable struct {
	mu sync.Mutex
	m  map[Ino]*fileState
}

// fileState is what all holders of one node's lease share.
type fileState struct {
	ino Ino

	// Guarded by fileTable.mu.
	readers, writers int
	brief            int           // of the writers: see HoldBriefly
	excl             chan struct{} // not nil while a swap or drop is under way; closed at its end
	orphan           bool          // the last name went while it was in use
	live             *live         // nil: it was not copied since it is marked

	// op is held for reading by whoever moves bytes and for writing by whoever changes the fields below.
	op      sync.RWMutex
	loaded  bool
	version uint64
	size    int64      // as the index has it; while marked the backing file knows better
	marked  bool       // Node.Writing is set
	passed  bool       // since it is marked others than this process may write to the backing file
	before  *untouched // while it may yet turn out that nobody did; nil: somebody may have
	old     []*backing

	cur     atomic.Pointer[backing] // nil: no bytes; set under op, read anywhere
	gen     atomic.Uint64           // grows before the first write after each mark: snapshots see that they were overtaken
	watched atomic.Bool             // the access time of the backing file tells of reads: see WatchReads
	changes atomic.Uint64           // how often something changed the backing file through this process since the mark, or may have
	since   atomic.Int64            // when it was marked; 0: it is not
	writer  atomic.Uint32           // the thread that opened it last for writing; 0: unknown
	waits   atomic.Bool             // to be settled with others: see later
	app     sync.Mutex              // appends find the end and write there as one step; cuts and notes of what is synced are others
}

func (t *fileTable) find(ino Ino) *fileState {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.m[ino]
}

// acquire takes the lease shared. It waits for a swap or drop under way.
func (t *fileTable) acquire(ino Ino, as holding) *fileState {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		st := t.get(ino)
		if st.excl == nil {
			st.count(as, 1)
			return st
		}
		done := st.excl
		t.mu.Unlock()
		<-done
		t.mu.Lock()
	}
}

func (t *fileTable) get(ino Ino) *fileState {
	st := t.m[ino]
	if st == nil {
		if t.m == nil {
			t.m = make(map[Ino]*fileState)
		}
		st = &fileState{ino: ino}
		t.m[ino] = st
	}
	return st
}

// holding is as what a holder holds a lease.
type holding int

const (
	reads  holding = iota
	writes         // until the program closes the file
	brief          // as who writes, for a moment: see HoldBriefly
)

// count counts a holder in (n is 1) or out (-1). fileTable.mu is held.
func (st *fileState) count(as holding, n int) {
	switch as {
	case reads:
		st.readers += n
	case brief:
		st.brief += n
		fallthrough
	case writes:
		st.writers += n
	}
}

// insert puts in the state of a node that was just made; nobody else can know its number yet.
func (t *fileTable) insert(st *fileState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m == nil {
		t.m = make(map[Ino]*fileState)
	}
	t.m[st.ino] = st
}

// forget takes out a state of a node that was not made after all.
func (t *fileTable) forget(st *fileState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.m, st.ino)
}

// closeWriter turns a write handle into a read handle and tells whether it was the last that writes.
func (t *fileTable) closeWriter(st *fileState, as holding) (last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	st.count(as, -1)
	st.count(reads, 1)
	return st.writers == 0
}

// release gives a read lease back. gone: nobody uses the state any more and its files are the caller's to close. orphan:
// besides, the node has no name: the caller holds it exclusively and must remove it and end that.
func (t *fileTable) release(st *fileState) (gone, orphan bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	st.readers--
	if st.readers+st.writers > 0 {
		return false, false
	}
	if st.orphan {
		st.excl = make(chan struct{})
		return true, true
	}
	delete(t.m, st.ino)
	return true, false
}

// exclusive takes the lease for a swap or drop, or fails at once with a *BusyError.
func (t *fileTable) exclusive(ino Ino) (*fileState, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if st := t.m[ino]; st != nil {
		if st.excl != nil {
			return nil, &BusyError{Use{Writers: 1}}
		}
		return nil, &BusyError{st.use()}
	}
	st := t.get(ino)
	st.excl = make(chan struct{})
	return st, nil
}

// endExclusive lets those in who waited; they start from a fresh state.
func (t *fileTable) endExclusive(st *fileState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.m, st.ino)
	close(st.excl)
}

// use counts the holders. fileTable.mu is held.
func (st *fileState) use() Use { return Use{st.readers, st.writers, st.brief} }

// sole reports whether a state has no holder but one.
func (t *fileTable) sole(st *fileState) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return st.readers+st.writers == 1
}

// openCount counts the holders. It may be called inside a transaction.
func (t *fileTable) openCount(ino Ino) (readers, writers int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if st := t.m[ino]; st != nil {
		return st.readers, st.writers
	}
	return 0, 0
}

// claim is asked in the transaction that takes a node's last name away. free: nobody uses the node, it may go; release
// lets in those who try to open it meanwhile, and is called after the transaction. Not free: the node stays with nlink 0
// and goes when the last holder closes it. A transaction that is undone after asking does no harm: the last holder looks
// at nlink again.
func (c *Cache) claim(ino Ino) (release func(), free bool) {
	t := &c.files
	t.mu.Lock()
	defer t.mu.Unlock()
	st := t.get(ino)
	if st.readers+st.writers > 0 {
		st.orphan = true
		return nil, false
	}
	if st.excl != nil { // by the caller, who swaps, or by a drop that will find the node gone
		return func() {}, true
	}
	st.excl = make(chan struct{})
	return func() { t.endExclusive(st) }, true
}

// InUse counts who has the node open, is filling it, or reads a snapshot of it.
func (c *Cache) InUse(ino Ino) Use {
	c.files.mu.Lock()
	defer c.files.mu.Unlock()
	if st := c.files.m[ino]; st != nil {
		return st.use()
	}
	return Use{}
}

// OpenWriters reports whether the node is open for writing.
func (c *Cache) OpenWriters(ino Ino) bool {
	_, w := c.files.openCount(ino)
	return w > 0
}

// hold takes the lease shared and loads the node's state. Every successful hold is ended by one letGo.
func (c *Cache) hold(ino Ino, as holding) (*fileState, error) {
	st := c.files.acquire(ino, as)
	if err := c.load(st); err != nil {
		if as != reads {
			c.files.closeWriter(st, as)
		}
		return nil, errors.Join(err, c.letGo(st))
	}
	return st, nil
}

// load reads what the index knows of a node into a state that was just made.
func (c *Cache) load(st *fileState) error {
	st.op.Lock()
	defer st.op.Unlock()
	if st.loaded {
		return nil
	}
	var n Node
	var b *backing
	err := c.read(func(tx *Tx) (err error) {
		if n, err = tx.Node(st.ino); err != nil || n.Content == 0 {
			return err
		}
		b = &backing{id: n.Content, registered: true}
		return tx.loadContent(b)
	})
	switch {
	case err != nil:
		return err
	case n.Kind == Dir:
		return ErrIsDir
	case n.Kind != File:
		return fmt.Errorf("open node %d: %w", st.ino, ErrInvalid)
	}
	if b != nil {
		f, err := c.store.open(b.id)
		if err != nil {
			return err
		}
		b.file, b.full = f.file, n.Residency == Full
		st.cur.Store(b)
	}
	st.version, st.size, st.marked, st.loaded = n.Version, n.Size, n.Writing, true
	st.passed = n.Writing // whoever left it marked may have passed it
	if n.Writing {
		st.since.Store(c.now())
	}
	return nil
}

// loadContent reads the row of b.id.
func (tx *Tx) loadContent(b *backing) error {
	var encoded []byte
	found, err := tx.queryRow(`SELECT present, ranges FROM contents WHERE id=?`, func(r *row) {
		b.recorded = r.int()
		encoded = append([]byte(nil), r.bytes()...)
	}, b.id)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("find content %d: %w", b.id, ErrDamaged)
	}
	if err := b.present.UnmarshalBinary(encoded); err != nil {
		return errors.Join(ErrDamaged, fmt.Errorf("content %d: %w", b.id, err))
	}
	return nil
}

// letGo gives a read lease back; the last one closes the files and removes a node that lost its last name meanwhile.
func (c *Cache) letGo(st *fileState) error {
	gone, orphan := c.files.release(st)
	if !gone {
		return nil
	}
	err := c.closeState(st)
	if orphan {
		err = errors.Join(err, c.update(0, true, func(tx *Tx) error { return tx.removeOrphan(st.ino) }))
		c.files.endExclusive(st)
	}
	return err
}

// closeState closes the files of a state nobody uses. A backing file that never got a row goes with it.
func (c *Cache) closeState(st *fileState) error {
	errs := []error{c.endLive(c.files.swapLive(st, nil))}
	all := st.old
	if b := st.cur.Load(); b != nil {
		all = append(all, b)
	}
	for _, b := range all {
		errs = append(errs, b.file.Close())
		if !b.registered {
			errs = append(errs, c.store.remove(b.id))
		}
	}
	return errors.Join(errs...)
}
