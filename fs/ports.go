package fs

import (
	"context"

	"vdfs/cache"
)

// Hydrator brings bytes here for programs, which it may refuse. Errors that carry an errno (`interface{ Errno() syscall.Errno }`) reach the program
// with it. A context that ends ends only that wait, never the fetch that others share.
type Hydrator interface {
	// Prepare says at once whether missing bytes of the file could be fetched now. It fetches nothing.
	Prepare(ino cache.Ino) error
	// Ensure returns when the n bytes from off on are here, as far as the file reaches. pid is the process, or the thread of
	// it, that needs them; 0: it cannot be told.
	Ensure(ctx context.Context, pid uint32, ino cache.Ino, off, n int64) error
	// Head returns when the first n bytes of the file are here. It has no others come for that.
	Head(ctx context.Context, pid uint32, ino cache.Ino, n int64) error
	// Complete returns when the whole file is here and verified.
	Complete(ctx context.Context, pid uint32, ino cache.Ino) error
	// Begin has the whole file brought here, with nobody waiting for it. It does not wait.
	Begin(pid uint32, ino cache.Ino)
	// Ahead tells of a read of bytes that were here, in a file of which others were missing when it was opened, so that what
	// follows can come before somebody waits for it. It does not wait.
	Ahead(pid uint32, ino cache.Ino, version uint64, off, n int64)
	// Through reads bytes of a version of the file that are not here and cannot be kept, because Ensure has failed with
	// cache.ErrNoSpace. It may answer io.EOF with the last of them.
	Through(ctx context.Context, pid uint32, ino cache.Ino, version uint64, p []byte, off int64) (int, error)
}

// Room makes room on the local disk for what is written.
type Room interface {
	// Paced reports whether Pace would wait. It costs nothing.
	Paced() bool
	// Pace is called before n bytes are written. It waits if more was written than can be sent, for as long as something is
	// being sent, or until ctx ends: the write may be done in any case.
	Pace(ctx context.Context, n int64)
	// MakeRoom runs an operation, and again as long as it fails with cache.ErrNoSpace and room is being made. need is how many
	// bytes it takes; 0: few.
	MakeRoom(ctx context.Context, need int64, op func() error) error
}

// Lister brings the names of a directory here that was never listed.
type Lister interface {
	// List returns when the directory is listed. It is given a deadline.
	List(ctx context.Context, ino cache.Ino) error
}

// StateKey names one of the virtual extended attributes, without its prefix.
type StateKey string

// The virtual attributes user.vdfs.*.
const (
	StateWord  StateKey = "state"
	StatePin   StateKey = "pin"
	StateHash  StateKey = "hash"
	StateLocal StateKey = "local_bytes"
	StateError StateKey = "error"
)

// States answers the virtual extended attributes.
type States interface {
	// State returns the value of one attribute; "" means: has none.
	State(ino cache.Ino, key StateKey) (string, error)
	// SetPin sets the intent of the node's names to pinned, online or auto; "" goes back to inheriting.
	SetPin(ino cache.Ino, value string) error
}
