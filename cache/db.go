package cache

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	"github.com/mattn/go-sqlite3"
)

// conn is one connection to the index with its prepared statements, used by one goroutine at a time.
//
// The driver is used without database/sql: its pool would spread prepared statements over connections, and the
// one writer is one connection anyway. No statement runs under a context that can be cancelled, because the
// driver would start a goroutine for each.
type conn struct {
	raw   *sqlite3.SQLiteConn
	stmts map[string]*statement
	args  []driver.NamedValue

	recording bool
	record    []byte // statements that changed something since startRecord
	unknown   error  // why the record is not whole
}

type statement struct {
	stmt   *sqlite3.SQLiteStmt
	writes bool
	in     int
	row    row
}

// row is the present row of a query, read column by column from left to right. It is valid only inside the scan
// function it is given to, and that function must run no further statements.
type row struct {
	vals []driver.Value
	at   int
}

func (r *row) next() driver.Value {
	v := r.vals[r.at]
	r.at++
	return v
}

func (r *row) int() int64 {
	n, _ := r.next().(int64) // NULL reads as 0
	return n
}

func (r *row) flag() bool { return r.int() != 0 }

func (r *row) str() string {
	switch v := r.next().(type) {
	case []byte:
		return string(v)
	case string:
		return v
	}
	return ""
}

func (r *row) bytes() []byte {
	b, _ := r.next().([]byte)
	return b
}

func (r *row) hash() Hash {
	var h Hash
	copy(h[:], r.bytes())
	return h
}

// blob makes a value of a name: names are bytes in the index, and SQLite never finds a text equal to a blob.
func blob(s string) []byte { return append(make([]byte, 0, len(s)), s...) }

// orNull stores an id of 0 as NULL.
func orNull[T ~int64 | ~uint64](id T) driver.Value {
	if id == 0 {
		return nil
	}
	return int64(id)
}

// value turns what the callers of this package hold into what the driver binds.
func value(a any) driver.Value {
	switch v := a.(type) {
	case int64, string, []byte, bool, nil:
		return v
	case int:
		return int64(v)
	case uint32:
		return int64(v)
	case uint64:
		return int64(v)
	case Hash:
		if !v.Known() {
			return nil
		}
		return v[:]
	case Ino:
		return int64(v)
	case Kind:
		return int64(v)
	}
	return number(a)
}

// number is value for the numbers of rows and for the small enumerations. A type that is missing here is refused by the
// driver, by name.
func number(a any) driver.Value {
	switch v := a.(type) {
	case DentryID:
		return int64(v)
	case LegID:
		return int64(v)
	case BindingID:
		return int64(v)
	case PlaceID:
		return int64(v)
	case ConduitID:
		return int64(v)
	case ContentID:
		return int64(v)
	case Residency:
		return int64(v)
	case Listing:
		return int64(v)
	case Intent:
		return int64(v)
	case ItemStatus:
		return int64(v)
	case Origin:
		return int64(v)
	case Operation:
		return int64(v)
	}
	return a
}

func openConn(path string, readOnly bool) (*conn, error) {
	// mmap stays off: SQLite turns an I/O error on a mapped page into SIGBUS.
	dsn := "file:" + uriPath(path) + "?_mutex=no&_busy_timeout=10000&_foreign_keys=on&_txlock=immediate"
	if fresh, err := empty(path); err != nil {
		return nil, err
	} else if fresh {
		dsn += "&_auto_vacuum=incremental" // of a database with tables this would be a write, and change nothing
	}
	if readOnly {
		dsn += "&_query_only=true"
	}
	raw, err := (&sqlite3.SQLiteDriver{}).Open(dsn)
	if err != nil {
		return nil, dbError(err)
	}
	c := &conn{raw: raw.(*sqlite3.SQLiteConn), stmts: make(map[string]*statement)}
	pragmas := []string{"PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", "PRAGMA cache_size=-8192", "PRAGMA temp_store=MEMORY", "PRAGMA wal_autocheckpoint=0"}
	if readOnly {
		pragmas = []string{"PRAGMA cache_size=-2048", "PRAGMA temp_store=MEMORY"}
	}
	for _, p := range pragmas {
		if _, err := c.raw.Exec(p, nil); err != nil {
			return nil, errors.Join(fmt.Errorf("open index: %s: %w", p, dbError(err)), c.close())
		}
	}
	return c, nil
}

// empty reports whether there is no database at path yet.
func empty(path string) (bool, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("open index: %w", err)
	}
	return info.Size() == 0, nil
}

// uriPath escapes what has a meaning in a file: URI.
func uriPath(path string) string {
	out := make([]byte, 0, len(path))
	for i := range len(path) {
		switch b := path[i]; b {
		case '%', '?', '#':
			out = fmt.Appendf(out, "%%%02X", b)
		default:
			out = append(out, b)
		}
	}
	return string(out)
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.stmt.Close())
	}
	return errors.Join(append(errs, c.raw.Close())...)
}

func (c *conn) prepare(sql string) (*statement, error) {
	if s, ok := c.stmts[sql]; ok {
		return s, nil
	}
	st, err := c.raw.Prepare(steady(sql))
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", sql, dbError(err))
	}
	s := &statement{stmt: st.(*sqlite3.SQLiteStmt), in: st.NumInput()}
	s.writes = !s.stmt.Readonly()
	c.stmts[sql] = s
	return s, nil
}

var boundOperand = regexp.MustCompile(`(=|\bLIMIT) ?(\?[0-9]*)`)

// steady keeps a prepared statement prepared. SQLite's planner looks at the values of bare parameters after
// = and LIMIT, and then compiles the statement anew whenever they are bound again, which costs ten times what the
// statement does. It does not look behind a unary plus, which changes nothing else.
func steady(sql string) string { return boundOperand.ReplaceAllString(sql, "$1 +$2") }

// run executes a statement and hands every row to scan. Statements that write come this way too: the driver binds and steps a
// query in one call into C, an exec in many.
func (c *conn) run(sql string, scan func(*row), args ...any) (err error) {
	s, err := c.prepare(sql)
	if err != nil {
		return err
	}
	if len(args) != s.in {
		return fmt.Errorf("run %q: %d arguments for %d parameters", sql, len(args), s.in)
	}
	c.args = c.args[:0]
	for i, a := range args {
		c.args = append(c.args, driver.NamedValue{Ordinal: i + 1, Value: value(a)})
	}
	rows, err := s.stmt.QueryContext(context.Background(), c.args)
	if err != nil {
		return fmt.Errorf("run %q: %w", sql, dbError(err))
	}
	defer func() {
		if err = errors.Join(err, rows.Close()); err == nil && c.recording && s.writes {
			c.note(sql)
		}
	}()
	if s.row.vals == nil {
		s.row.vals = make([]driver.Value, len(rows.Columns()))
	}
	for {
		switch err := rows.Next(s.row.vals); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("run %q: %w", sql, dbError(err))
		}
		if scan != nil {
			s.row.at = 0
			scan(&s.row)
		}
	}
}

// startRecord begins to write down the statements that change something.
func (c *conn) startRecord() {
	c.recording, c.unknown = true, nil
	if c.record = c.record[:0]; cap(c.record) > redoRoom {
		c.record = nil
	}
}

// endRecord ends it and gives what was written down, which is valid until the next startRecord.
func (c *conn) endRecord() ([]byte, error) {
	c.recording = false
	return c.record, c.unknown
}

// note writes down the statement that was run just now.
func (c *conn) note(sql string) {
	var err error
	if c.record, err = appendStatement(c.record, sql, c.args); err != nil {
		c.unknown = err
	}
}

// one is run for at most one row; it reports whether there was one.
func (c *conn) one(sql string, scan func(*row), args ...any) (bool, error) {
	found := false
	err := c.run(sql, func(r *row) {
		if !found {
			scan(r)
		}
		found = true
	}, args...)
	return found, err
}

// script runs several statements at once, for migrations.
func (c *conn) script(sql string) error {
	_, err := c.raw.Exec(sql, nil)
	return dbError(err)
}
