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
	// Complete returns when the whole file is here and verified.
	Complete(ctx context.Context, pid uint32, ino cache.Ino) error
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
