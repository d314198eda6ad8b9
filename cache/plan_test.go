package cache

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mattn/go-sqlite3"
)

// TestNoOperationReadsAWholeTable goes through the statements that a life of files, bindings and items has prepared and
// asks SQLite how it runs them.
func TestNoOperationReadsAWholeTable(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	leg := x.legs(RootIno, 2)[0]
	d := x.mkdir(RootIno, "d")
	f := x.touch(d.Ino, "f")
	x.bind(leg, d.ID)
	x.bind(leg, f.ID)
	x.write2(d.Ino, "f", "text")
	_, err := x.Link(f.Ino, RootIno, "hard")
	x.no(err)
	x.no(x.SetXattr(f.Ino, "user.a", nil, 0))
	x.no(x.Rename(RootIno, "hard", d.Ino, "hard", 0))
	x.no(x.Unlink(d.Ino, "hard"))
	x.chmod("d", 0o700)
	x.update(leg, func(tx *Tx) error {
		_, _, e1 := tx.BindingOfDentry(leg, f.ID)
		_, _, e2 := tx.BindingOfRemote(leg, "r")
		_, _, e3 := tx.BindingAt(1, "f")
		_, _, e4 := tx.BindingByIdent(leg, "i")
		_, e5 := tx.BindingChildren(1, "", 10)
		_, e6 := tx.BindingsOf(f.ID)
		_, _, e7 := tx.Observed(leg, "r")
		_, _, e8 := tx.ObservedAt(leg, "r", "n")
		_, _, e9 := tx.ObservedByIdent(leg, "i")
		_, e10 := tx.ObservedChildren(leg, "r", "", 10)
		_, e11 := tx.ItemsPage(leg, OriginLocal, 0, 10, 1)
		_, e12 := tx.OpenItemsOf(f.ID)
		_, e13 := tx.NextTransfers(false, 1, 10)
		_, _, e14 := tx.EffectiveIntent(f.ID)
		_, e15 := tx.ObservedPage(leg, "", 10)
		_, e16 := tx.UnlistedBindings(leg, 0, 10)
		_, e17 := tx.Children(d.Ino, 0, 10)
		_, e18 := tx.PurgeClosed(1, 10)
		_, _, e19 := tx.RootBinding(leg)
		e20 := tx.MarkRemote(leg, "r", "n", OpUpdate)
		_, e22 := tx.Holdings(d.Ino, 0, 10, 1)
		_, e23 := tx.Holding(f.ID, 1)
		_, e24 := tx.Intents(0, 10)
		_, e25 := tx.TrashBytes()
		e21 := tx.DeleteBinding(1)
		_, e26 := tx.KeptPage(0, 0, 10)
		_, e27 := tx.LastOpened(f.Ino)
		_, e28 := tx.AnyIntent(Online)
		e29 := tx.WakeRemote(leg, "r")
		e30 := tx.AllowDelete(1)
		_, e31 := tx.CountUnnamed(leg)
		_, _, e32 := tx.NextTransferTime(false)
		_, e33 := tx.ListItems(ItemFilter{Leg: leg, Limit: 10})
		_, e34 := tx.WakeParked(leg)
		return errors.Join(e33, e34, e1, e2, e3, e4, e5, e6, e7, e8, e9, e10, e11, e12, e13, e14, e15, e16, e17, e18, e19, e20, e21, e22, e23, e24, e25, e26, e27, e28, e29, e30, e31, e32)
	})
	x.no(x.Unlink(d.Ino, "f"))
	x.writer.Lock()
	defer x.writer.Unlock()
	if checked := x.noneReadsAll(x.writer.conn); checked < 40 {
		t.Errorf("only %d steps looked at", checked)
	}
}

// TestOpenReadsNoWholeTable looks at the statements of an Open that has something of everything to put back.
func TestOpenReadsNoWholeTable(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	leg := x.legs(RootIno, 1)[0]
	x.bind(leg, x.mkdir(RootIno, "d").ID)
	x.write2(RootIno, x.touch(RootIno, "f").Name, "text")
	_, writing, err := x.Create(RootIno, "g", 0o600, Caller{})
	x.no(err)
	x.no(x.Cache.update(0, true, func(tx *Tx) error {
		return tx.exec("UPDATE contents SET boot='another' WHERE boot<>'' AND id <> (SELECT content FROM nodes WHERE ino=?)", writing.st.ino)
	}))
	x.abandon()
	c, err := Open(t.Context(), x.opt)
	x.no(err)
	x.Cache = c
	c.writer.Lock() // a group may be committed meanwhile
	checked := x.noneReadsAll(c.writer.conn)
	c.writer.Unlock()
	for range readerConns {
		conn := <-c.readers
		checked += x.noneReadsAll(conn)
		for sql := range conn.stmts {
			for _, step := range x.plan(sql) {
				if strings.HasSuffix(step, "(rowid>?)") { // page after page is everything, too
					t.Errorf("%s\n\tin %s", step, sql)
				}
			}
		}
		c.readers <- conn
	}
	if checked < 15 {
		t.Errorf("only %d steps looked at", checked)
	}
}

// noneReadsAll looks at the plans of all statements of a connection and returns how many steps those have.
func (x *indexTest) noneReadsAll(conn *conn) (checked int) {
	x.t.Helper()
	for sql := range conn.stmts {
		if strings.HasPrefix(sql, "PRAGMA") {
			continue
		}
		for _, step := range x.plan(sql) {
			checked++
			if readsAll(step) || sortsAll(sql, step) {
				x.t.Errorf("%s\n\tin %s", step, sql)
			}
		}
	}
	return checked
}

// readsAll tells whether a step goes through a table that grows with the drive. Going through a partial index is no
// such thing: those hold what is under way, or was set by a person.
func readsAll(step string) bool {
	f := strings.Fields(step)
	if len(f) < 2 {
		return false
	}
	if f[0] == "SEARCH" { // one leg's part of a table is most of it
		return f[len(f)-1] == "(leg=?)" && !slices.Contains([]string{"bindings_gone", "bindings_unlisted"}, f[max(0, len(f)-2)])
	}
	if f[0] != "SCAN" {
		return false
	}
	big := []string{"nodes", "n", "dentries", "d", "bindings", "b", "items", "observed", "xattrs", "contents", "c", "transfers"}
	partial := []string{"nodes_orphan", "dentries_intent", "nodes_unlisted", "nodes_writing", "items_open", "items_closed", "contents_boot"}
	return slices.Contains(big, f[1]) && !slices.Contains(partial, f[len(f)-1])
}

// sortsAll tells whether a page is found by putting in order everything that it could be of.
func sortsAll(sql, step string) bool {
	return strings.HasSuffix(sql, "ORDER BY id LIMIT ?") && strings.HasPrefix(step, "USE TEMP B-TREE")
}

func (x *indexTest) write2(dir Ino, name, text string) {
	x.t.Helper()
	o, err := x.OpenFile(x.lookup(dir, name).Ino, true)
	x.no(err)
	_, err = o.WriteAt([]byte(text), 0)
	x.no(err)
	x.no(o.Close())
}

// plan is how SQLite runs a statement, step by step.
func (x *indexTest) plan(sql string) (steps []string) {
	x.t.Helper()
	st, err := x.writer.conn.raw.Prepare("EXPLAIN QUERY PLAN " + steady(sql))
	x.no(err)
	rows, err := st.(*sqlite3.SQLiteStmt).QueryContext(context.Background(), nil)
	x.no(err)
	vals := make([]driver.Value, 4)
	for {
		err := rows.Next(vals)
		if errors.Is(err, io.EOF) {
			break
		}
		x.no(err)
		steps = append(steps, fmt.Sprint(vals[3]))
	}
	x.no(rows.Close())
	x.no(st.Close())
	return steps
}

func TestSnapshotsAreWholeWhileManyWrite(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	x.legs(RootIno, 1)
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	for i := range 4 {
		wg.Go(func() {
			dir, err := x.Mkdir(RootIno, fmt.Sprint("w", i), 0o755, Caller{})
			for n := 0; n < 40 && err == nil; n++ {
				// Two directories in one transaction: a snapshot has both or neither.
				err = x.Update(0, func(tx *Tx) error {
					for _, half := range []string{"a", "b"} {
						ino, err := tx.InsertNode(Node{Kind: Symlink, Target: "t"})
						if err == nil {
							_, err = tx.InsertDentry(dir.Ino, fmt.Sprint(half, n), ino)
						}
						if err != nil {
							return err
						}
					}
					return nil
				})
			}
			errs <- err
		})
		wg.Go(func() {
			var err error
			for n := 0; n < 40 && err == nil; n++ {
				err = x.View(func(tx *Tx) error {
					first, _, err := get(tx, (*row).int, "SELECT count(*) FROM dentries")
					if err != nil {
						return err
					}
					odd, _, err := get(tx, (*row).int, "SELECT count(*) % 2 FROM nodes WHERE kind = 3")
					if err != nil {
						return err
					}
					again, _, err := get(tx, (*row).int, "SELECT count(*) FROM dentries")
					if err == nil && (first != again || odd != 0) {
						err = fmt.Errorf("a snapshot moved from %d to %d names, half pairs %d", first, again, odd)
					}
					return err
				})
			}
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		x.no(err)
	}
	x.wantSound()
}
