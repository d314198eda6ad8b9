package cache

import (
	"bytes"
	"crypto/rand"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// redo is the log of the transactions that have not been committed to the index yet: the statements of each, with their
// values, are written to it before anybody is told that the transaction happened. It makes them as safe against kill -9 as
// a commit would, at the price of one write. Open repeats what it finds there.
//
// The file begins with a magic and a random number that is drawn by each process. A record is
//
//	length of the statements    4 bytes
//	checksum                    4 bytes, CRC-32C of the random number, the record's number and the statements
//	number                      8 bytes, one more than that of the record before
//	statements                  see appendStatement
//
// all little-endian. The index says which record it contains as its last (redoKey). Only the records that follow it without
// a gap are repeated, so what is left of older ones does no harm: neither behind the newest, nor after a power cut that took
// the index or parts of the file back, nor beside an index that was restored.
type redo struct {
	file   *os.File
	nonce  [8]byte
	number uint64 // of the last record
	end    int64  // where the next goes
	buf    []byte
}

const (
	redoKey    = "redo" // row of meta: the number of the last record that the index contains
	redoMagic  = "vdfsredo"
	redoHeader = int64(len(redoMagic) + len(redo{}.nonce))
	redoPrefix = 4 + 4 + 8
	// redoRoom is set aside on the disk, so that files can be removed where it is full. The log is kept about as short.
	redoRoom = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func redoPath(dir string) string { return indexPath(dir) + "-redo" }

func openRedo(path string) (*redo, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open redo log: %w", err)
	}
	return &redo{file: f}, nil
}

// renew begins the log anew behind the given number.
func (r *redo) renew(number uint64) error {
	_, _ = rand.Read(r.nonce[:]) // it never fails
	header := append([]byte(redoMagic), r.nonce[:]...)
	err := r.file.Truncate(0)
	if err == nil {
		// No room is no error: records are refused when their time comes.
		_ = ignoringEINTR(func() error { return unix.Fallocate(int(r.file.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, redoRoom) })
		_, err = r.file.WriteAt(header, 0)
	}
	if err != nil {
		return fmt.Errorf("begin redo log: %w", diskError(err))
	}
	r.number, r.end = number, redoHeader
	return nil
}

// append writes a record. On an error it is as if it had not been called.
func (r *redo) append(statements []byte) error {
	r.buf = append(r.buf[:0], make([]byte, redoPrefix)...)
	r.buf = append(r.buf, statements...)
	binary.LittleEndian.PutUint32(r.buf, uint32(len(statements)))
	binary.LittleEndian.PutUint64(r.buf[8:], r.number+1)
	binary.LittleEndian.PutUint32(r.buf[4:], r.checksum(r.buf[8:]))
	if _, err := r.file.WriteAt(r.buf, r.end); err != nil {
		return fmt.Errorf("write redo log: %w", diskError(err))
	}
	r.number++
	r.end += int64(len(r.buf))
	if cap(r.buf) > redoRoom {
		r.buf = nil
	}
	return nil
}

// checksum is that of a record from its number on.
func (r *redo) checksum(record []byte) uint32 {
	return crc32.Update(crc32.Checksum(r.nonce[:], castagnoli), castagnoli, record)
}

// emptied begins at the front again, after the index has what is in the log.
func (r *redo) emptied() error {
	long := r.end > redoRoom
	r.end = redoHeader
	if long {
		return r.file.Truncate(redoRoom)
	}
	return nil
}

// after gives the records that follow the given number, and the number of the last. The file may hold anything.
func (r *redo) after(number uint64) (statements [][]byte, last uint64, err error) {
	all, err := io.ReadAll(io.NewSectionReader(r.file, 0, 1<<62))
	if err != nil {
		return nil, number, fmt.Errorf("read redo log: %w", err)
	}
	if !bytes.HasPrefix(all, []byte(redoMagic)) || int64(len(all)) < redoHeader {
		return nil, number, nil
	}
	copy(r.nonce[:], all[len(redoMagic):])
	for all = all[redoHeader:]; len(all) >= redoPrefix; {
		n := int64(binary.LittleEndian.Uint32(all)) + redoPrefix
		if n > int64(len(all)) || r.checksum(all[8:n]) != binary.LittleEndian.Uint32(all[4:]) {
			break
		}
		switch got := binary.LittleEndian.Uint64(all[8:]); {
		case got == number+1:
			statements, number = append(statements, all[redoPrefix:n]), got
		case got > number:
			return nil, number, nil // what comes before it is missing
		}
		all = all[n:]
	}
	return statements, number, nil
}

// A statement is its text, the count of its values, and each value behind a byte that says what it is.
const (
	redoNull byte = iota
	redoInt
	redoBytes
	redoText
	redoFalse
	redoTrue
)

var errRedoValue = errors.New("value of a type that the redo log does not know")

func appendStatement(b []byte, sql string, args []driver.NamedValue) ([]byte, error) {
	b = appendBytes(b, sql)
	b = binary.AppendUvarint(b, uint64(len(args)))
	for _, a := range args {
		switch v := a.Value.(type) {
		case nil:
			b = append(b, redoNull)
		case int64:
			b = binary.AppendVarint(append(b, redoInt), v)
		case []byte:
			if v == nil {
				b = append(b, redoNull)
			} else {
				b = appendBytes(append(b, redoBytes), v)
			}
		case string:
			b = appendBytes(append(b, redoText), v)
		case bool:
			if v {
				b = append(b, redoTrue)
			} else {
				b = append(b, redoFalse)
			}
		default:
			return b, fmt.Errorf("log %q: %T: %w", sql, v, errRedoValue)
		}
	}
	return b, nil
}

func appendBytes[T ~string | ~[]byte](b []byte, v T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

// errRedoRecord cannot come of a torn write, as the checksum is right.
var errRedoRecord = fmt.Errorf("%w: a record of the redo log makes no sense", ErrDamaged)

// eachStatement runs f on each statement of a record.
func eachStatement(record []byte, f func(sql string, args []any) error) error {
	d := decoder{b: record}
	for len(d.b) > 0 {
		sql := string(d.bytes())
		var args []any
		for n := d.uvarint(); n > 0 && !d.bad; n-- {
			args = append(args, d.value())
		}
		if d.bad {
			return errRedoRecord
		}
		if err := f(sql, args); err != nil {
			return err
		}
	}
	return nil
}

// decoder reads a record from the front; bad stays set once something was not as it must be.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	d.skip(n)
	return v
}

func (d *decoder) skip(n int) {
	if n <= 0 || n > len(d.b) {
		d.b, d.bad = nil, true
		return
	}
	d.b = d.b[n:]
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.b, d.bad = nil, true
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) value() any {
	if len(d.b) == 0 {
		d.bad = true
		return nil
	}
	kind := d.b[0]
	d.skip(1)
	switch kind {
	case redoNull:
		return nil
	case redoInt:
		v, n := binary.Varint(d.b)
		d.skip(n)
		return v
	case redoBytes:
		return d.bytes()
	case redoText:
		return string(d.bytes())
	case redoFalse, redoTrue:
		return kind == redoTrue
	}
	d.bad = true
	return nil
}
