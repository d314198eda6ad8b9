package cache

import (
	"errors"
	"fmt"
	"os"
	"time"

	"vdfs/internal/fault"
)

// Transactions commit in groups. Each is a savepoint in a transaction of SQLite's that stays open for a moment, and is in the
// redo log before anybody hears of it: a commit of its own would write every page that it touched, some two dozen for a new
// file, and have every other connection read them again. What is done for an end of the process after each step:
//
//  1. statements in the open transaction   nothing has happened
//  2. record in the redo log               repeated at the next Open
//  3. commit, with the record's number     the record is skipped at the next Open
//  4. log begun anew                       nothing to do
//
// A power cut takes both back to what was synced or later, as before: syncIndex commits first.
//
// While a group is open its changes are seen only by the writer's connection. So whoever reads then does it there, behind
// the writer's lock; Survey is for what takes longer.
//
// A commit that fails, as on a full disk, undoes nothing that was acknowledged: the records are there, and the group is made
// again from them. Until its commit succeeds no further transaction is accepted.
type group struct {
	log  *redo
	open bool // SQLite's transaction is open
	// size counts the transactions in it that changed something.
	size int
	// failed is why the last commit did not happen.
	failed error
	// lost: SQLite undid the transaction and it could not be made again yet; only the log has it.
	lost bool
	late *time.Timer // commits it
	// marked: one of its transactions left work or changed settings. Those who wait for that hear of it when the group ends:
	// each transaction by itself would have them look many times for what they then find at once.
	marked bool
}

const (
	// groupMax bounds the transactions of a group, and so what a commit has to write and to find room for on the disk.
	groupMax = 64
	// groupTime is how long a group stays open. It bounds how much a power cut takes that nobody synced.
	groupTime = 20 * time.Millisecond
	// groupRetry is when a commit that failed is tried again.
	groupRetry = time.Second
)

// startGroups repeats what the redo log has and begins to work with it. The writer is not in use yet.
func (c *Cache) startGroups() error {
	w := &c.writer
	log, err := openRedo(redoPath(c.opt.Dir))
	if err != nil {
		return err
	}
	w.group.log = log
	var made int64
	if _, err := w.conn.one("PRAGMA user_version", func(r *row) { made = r.int() }); err != nil || made == 0 {
		return errors.Join(err, log.renew(0)) // an index that was made just now
	}
	number, err := c.redoNumber()
	if err != nil {
		return err
	}
	last, err := c.repeat(number)
	if err != nil {
		return err
	}
	if last != number {
		c.log.Info("transactions repeated from the redo log", "count", last-number)
		err = c.repeatDone(last)
	}
	if err != nil {
		return err
	}
	return log.renew(last)
}

// redoNumber is the number of the last record that the index contains.
func (c *Cache) redoNumber() (n uint64, err error) {
	err = c.writer.conn.run(`SELECT value FROM meta WHERE key=?`, func(r *row) { n = uint64(r.int()) }, redoKey)
	return n, err
}

// repeat does again what the records behind the given number did, in a transaction that it leaves open, and returns the
// number of the last. The transaction stays open only if there were any.
func (c *Cache) repeat(number uint64) (uint64, error) {
	conn := c.writer.conn
	records, last, err := c.writer.group.log.after(number)
	if err != nil || len(records) == 0 {
		return number, err
	}
	if err := conn.run("BEGIN IMMEDIATE", nil); err != nil {
		return number, err
	}
	for i, r := range records {
		err := eachStatement(r, func(sql string, args []any) error { return conn.run(sql, nil, args...) })
		if err != nil {
			return number, errors.Join(fmt.Errorf("repeat transaction %d from the redo log: %w", number+uint64(i)+1, err), c.rollback())
		}
	}
	return last, nil
}

func (c *Cache) repeatDone(last uint64) error {
	err := fault.Point(faultRepeated)
	if err == nil {
		err = c.commitNumber(last)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("commit what the redo log has: %w", err), c.rollback())
	}
	fault.Cut(faultRepeatDone)
	return nil
}

// commitNumber commits a transaction that contains the records up to a number.
func (c *Cache) commitNumber(number uint64) error {
	conn := c.writer.conn
	err := conn.run(`INSERT INTO meta(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value=?2`, nil, redoKey, number)
	if err != nil {
		return err
	}
	return conn.run("COMMIT", nil)
}

// rollback ends SQLite's transaction, unless SQLite did that by itself, as it does on a full disk or a damaged page.
func (c *Cache) rollback() error {
	if c.writer.conn.raw.AutoCommit() {
		return nil
	}
	return c.writer.conn.run("ROLLBACK", nil)
}

// The methods below are called with the writer's lock held.

// joinGroup opens a group unless one is open.
func (c *Cache) joinGroup() error {
	g := &c.writer.group
	if g.failed != nil || g.log.end > redoRoom {
		if err := c.commitGroup(); err != nil {
			return err
		}
	}
	if g.open {
		return nil
	}
	if err := c.writer.conn.run("BEGIN IMMEDIATE", nil); err != nil {
		return err
	}
	g.open = true
	c.commitLater(groupTime)
	return nil
}

// commitLater has the group committed without anybody waiting for it.
func (c *Cache) commitLater(after time.Duration) {
	g := &c.writer.group
	if g.late == nil {
		g.late = time.AfterFunc(after, c.commitNow)
		return
	}
	g.late.Reset(after)
}

// commitNow takes the writer's lock itself.
func (c *Cache) commitNow() {
	c.writer.Lock()
	defer c.writer.Unlock()
	if c.writer.conn == nil {
		return
	}
	c.commitLogged()
}

// commitLogged commits the group; that it cannot be is told once, and tried again.
func (c *Cache) commitLogged() {
	before := c.writer.group.failed
	if err := c.commitGroup(); err != nil && before == nil {
		c.log.Error("the index cannot be written, changes wait in the redo log", "error", err)
	}
}

// inGroup runs fn as one transaction of the group and writes its record.
func (c *Cache) inGroup(fn func() error) error {
	w := &c.writer
	if err := w.conn.run("SAVEPOINT one", nil); err != nil {
		return err
	}
	w.conn.startRecord()
	err := fn()
	record, rerr := w.conn.endRecord()
	if err == nil {
		err = rerr
	}
	if err == nil && len(record) > 0 {
		if err = w.group.log.append(record); err == nil {
			w.group.size++
			c.grouped.Store(true)
		}
	}
	if err == nil {
		// What is in the log has happened, also if this fails.
		if err := w.conn.run("RELEASE one", nil); err != nil {
			return c.remakeGroup(err)
		}
		return nil
	}
	undo := errors.Join(w.conn.run("ROLLBACK TO one", nil), w.conn.run("RELEASE one", nil))
	if w.conn.raw.AutoCommit() || undo != nil {
		undo = c.remakeGroup(undo)
	}
	return errors.Join(err, undo)
}

// commitGroup commits what is open. On an error it is still there, in the log and to be seen by readers, or at least in the log.
func (c *Cache) commitGroup() error {
	w := &c.writer
	g := &w.group
	if g.marked {
		g.marked = false
		defer c.watch.wake()
	}
	if g.lost {
		if err := c.remakeGroup(nil); err != nil {
			return err
		}
	}
	if !g.open {
		return nil
	}
	if g.size == 0 {
		g.open = false
		return w.conn.run("COMMIT", nil)
	}
	err := fault.Point(faultGroup)
	if err == nil {
		err = c.commitNumber(g.log.number)
	}
	if err != nil {
		g.failed = fmt.Errorf("commit to the index: %w", err)
		if w.conn.raw.AutoCommit() {
			// What it says of it is less than what is known already.
			_ = c.remakeGroup(nil)
		}
		c.commitLater(groupRetry)
		return g.failed
	}
	fault.Cut(faultGroupDone)
	g.open, g.failed, g.size = false, nil, 0
	g.late.Stop()
	c.grouped.Store(false)
	return g.log.emptied()
}

// remakeGroup makes the group again from its records after SQLite lost it. cause is why; nil is returned if all is well again.
func (c *Cache) remakeGroup(cause error) error {
	w := &c.writer
	g := &w.group
	w.legs = nil
	g.lost, g.open = true, false
	c.grouped.Store(true) // nobody may see the index without them
	err := c.rollback()
	if err == nil {
		var number, last uint64
		if number, err = c.redoNumber(); err == nil {
			if last, err = c.repeat(number); err == nil && last != g.log.number {
				err = errors.Join(fmt.Errorf("%w: the redo log ends at %d, not at %d", ErrDamaged, last, g.log.number), c.rollback())
			}
		}
	}
	if err != nil {
		g.failed = fmt.Errorf("make transactions again from the redo log: %w", errors.Join(err, cause))
		c.commitLater(groupRetry)
		return g.failed
	}
	g.lost, g.open = false, !w.conn.raw.AutoCommit()
	if g.open {
		c.commitLater(groupTime)
	}
	return nil
}

// readLatest runs fn where everything acknowledged is seen: while a group is open that is the writer's connection, else what
// committed lends.
func (c *Cache) readLatest(fn func(*Tx) error, committed func(func(*Tx) error) error) error {
	if c.grouped.Load() {
		if done, err := c.readGroup(fn); done {
			return err
		}
	}
	return committed(fn)
}

// readGroup runs fn on the writer's connection if there is anything that only it can see.
func (c *Cache) readGroup(fn func(*Tx) error) (done bool, err error) {
	w := &c.writer
	w.Lock()
	defer w.Unlock()
	switch {
	case w.conn == nil:
		return true, errClosed
	case w.group.lost:
		if err := c.remakeGroup(nil); err != nil {
			return true, err
		}
	case !w.group.open:
		return false, nil
	}
	return true, fn(&Tx{c: c, conn: w.conn})
}

// settleGroup commits what is open, so that it is in the index for other connections, and for syncIndex.
func (c *Cache) settleGroup() error {
	if !c.grouped.Load() {
		return nil
	}
	c.writer.Lock()
	defer c.writer.Unlock()
	if c.writer.conn == nil {
		return errClosed
	}
	return c.commitGroup()
}

// Survey is View for what takes long, as it looks at much: it holds nobody up, and looks up once what many ask for.
func (c *Cache) Survey(fn func(*Tx) error) error {
	if err := c.settleGroup(); err != nil {
		return c.view(fn) // on a full disk, too, somebody wants to know how things stand
	}
	return c.snapshot(func(tx *Tx) error {
		tx.memo = make(memo)
		return fn(tx)
	})
}

// closeGroups commits what is open, and the log goes. What cannot be committed the next Open repeats.
func (c *Cache) closeGroups() error {
	g := &c.writer.group
	if g.log == nil {
		return nil
	}
	err := c.commitGroup()
	if g.late != nil {
		g.late.Stop()
	}
	if err == nil && g.log.end > 0 { // else it was not repeated yet
		err = os.Remove(g.log.file.Name())
	}
	return joinClose(err, g.log.file)
}
