package cache

import (
	"errors"
)

// Tx is a transaction on the index. It belongs to the callback it is given to and to one goroutine.
//
// Its methods are the primitives of the syncer. Those that change the tree publish a Change and put an item on every
// leg of the place except the transaction's origin.
type Tx struct {
	c        *Cache
	conn     *conn
	memo     memo     // of a survey
	unsaved  *unsaved // of what writes
	origin   LegID
	now      int64
	writable bool
	marked   bool  // items or settings were written: wake the watchers when the group ends
	nodes    int64 // how many more there are by this transaction
	bytes    int64 // likewise, of contents
	changes  []Change
	after    []func()
	finally  []func()
	undone   []func()
}

// View calls fn with a snapshot of the index. The snapshot does not see writes that commit meanwhile.
func (c *Cache) View(fn func(*Tx) error) error { return c.view(fn) }

// Update calls fn in a write transaction and commits when it returns nil; any error undoes everything. Changes are
// published after the commit, in commit order. leg is the leg whose remote change is being applied (it gets no items
// for it) or 0. An Update with a leg waits while the kernel is behind with its notifications.
func (c *Cache) Update(leg LegID, fn func(*Tx) error) error { return c.update(leg, false, fn) }

func (c *Cache) view(fn func(*Tx) error) error { return c.readLatest(fn, c.snapshot) }

// snapshot calls fn with what has been committed.
func (c *Cache) snapshot(fn func(*Tx) error) error {
	return c.readCommitted(func(tx *Tx) (err error) {
		if err := tx.exec("BEGIN"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, tx.exec("COMMIT")) }()
		return fn(tx)
	})
}

// read lends a connection without opening a transaction: right where one statement answers everything.
func (c *Cache) read(fn func(*Tx) error) error { return c.readLatest(fn, c.readCommitted) }

func (c *Cache) readCommitted(fn func(*Tx) error) error {
	select {
	case conn := <-c.readers:
		defer func() { c.readers <- conn }()
		return fn(&Tx{c: c, conn: conn})
	case <-c.done:
		return errClosed
	}
}

var errClosed = errors.New("cache is closed")

// update is Update. mount tells that the change comes through the mount: the kernel knows it already.
func (c *Cache) update(origin LegID, mount bool, fn func(*Tx) error) error {
	if origin != 0 {
		c.feed.waitForRoom()
	}
	tx := &Tx{c: c, origin: origin, writable: true, unsaved: new(unsaved)}
	err := c.transact(tx, mount, fn)
	for _, f := range tx.finally {
		f()
	}
	if err != nil {
		for _, f := range tx.undone {
			f()
		}
		return err
	}
	for _, f := range tx.after {
		f()
	}
	return nil
}

func (c *Cache) transact(tx *Tx, mount bool, fn func(*Tx) error) (err error) {
	w := &c.writer
	w.Lock()
	defer w.Unlock()
	if w.conn == nil {
		return errClosed
	}
	tx.conn = w.conn
	if err := c.joinGroup(); err != nil {
		return err
	}
	err = c.inGroup(func() error {
		if err := fn(tx); err != nil {
			return err
		}
		return tx.saveObserved()
	})
	if err != nil {
		w.legs = nil
		return err
	}
	w.group.marked = w.group.marked || tx.marked
	c.nodes.Add(tx.nodes)
	c.store.add(tx.bytes)
	seq := c.seq.Add(1)
	if !mount {
		c.feed.publish(seq, tx.changes)
	}
	if w.group.size >= groupMax {
		// It has happened whatever comes of this.
		c.commitLogged()
	}
	return nil
}

// Now is the time of the transaction: one for all it writes. A writer asks for it with the writer's lock held, so that
// the times are in the order of the commits.
func (tx *Tx) Now() int64 {
	if tx.now == 0 {
		tx.now = tx.c.now()
	}
	return tx.now
}

// onCommit runs f after the transaction has committed, outside the writer's lock.
func (tx *Tx) onCommit(f func()) { tx.after = append(tx.after, f) }

// AfterCommit is onCommit for who works with the primitives. f must not wait for another transaction that waits for this one's
// caller.
func (tx *Tx) AfterCommit(f func()) { tx.onCommit(f) }

// onUndo runs f when the transaction was undone, outside the writer's lock.
func (tx *Tx) onUndo(f func()) { tx.undone = append(tx.undone, f) }

// onEnd runs f after the transaction has committed or was undone, outside the writer's lock and before onCommit's.
func (tx *Tx) onEnd(f func()) { tx.finally = append(tx.finally, f) }

func (tx *Tx) exec(sql string, args ...any) error { return tx.query(sql, nil, args...) }

func (tx *Tx) query(sql string, scan func(*row), args ...any) error {
	if err := tx.seen(sql); err != nil {
		return err
	}
	return tx.conn.run(sql, scan, args...)
}

func (tx *Tx) queryRow(sql string, scan func(*row), args ...any) (bool, error) {
	if err := tx.seen(sql); err != nil {
		return false, err
	}
	return tx.conn.one(sql, scan, args...)
}

// What a statement that writes has done is asked for afterwards, not by RETURNING: for that SQLite keeps, statement by statement, a
// copy of every page that it changes.

// insert runs an INSERT and returns the id of the row.
func (tx *Tx) insert(sql string, args ...any) (int64, error) {
	if err := tx.exec(sql, args...); err != nil {
		return 0, err
	}
	var id int64
	_, err := tx.queryRow("SELECT last_insert_rowid()", func(r *row) { id = r.int() })
	return id, err
}

// changed runs a statement and tells whether it touched a row.
func (tx *Tx) changed(sql string, args ...any) (bool, error) {
	if err := tx.exec(sql, args...); err != nil {
		return false, err
	}
	some := false
	_, err := tx.queryRow("SELECT changes()", func(r *row) { some = r.int() > 0 })
	return some, err
}

func (tx *Tx) publish(ch Change) { tx.changes = append(tx.changes, ch) }

// list collects the rows of a query.
func list[T any](tx *Tx, scan func(*row) T, sql string, args ...any) ([]T, error) {
	var out []T
	err := tx.query(sql, func(r *row) { out = append(out, scan(r)) }, args...)
	return out, err
}

// get is list for one row.
func get[T any](tx *Tx, scan func(*row) T, sql string, args ...any) (T, bool, error) {
	return remembered(tx, scan, sql, args)
}
