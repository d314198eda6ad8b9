package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Endpoint is one storage outside the drive. Every implementation and every
// fake passes the conformance suite in remotetest.
//
// All methods may be called from several goroutines at once. They make one
// attempt each: retrying, pacing and looking again after ErrUnknown are the
// caller's. None starts a goroutine that outlives the call, none sleeps longer
// than a second except Wait, and all end soon after ctx does. Errors wrap the
// sentinels of this package; ErrUnsupported comes only where Caps says so.
type Endpoint interface {
	// Caps is fixed after opening; the caller must not change it. It was
	// probed on this storage, not assumed from the name of a product.
	Caps() *Caps
	// Check proves that the root is the root vdfs knows and that it is
	// reachable. It is cheap and called before each cycle.
	Check(ctx context.Context) (Status, error)
	// Stat returns the item as it is now, or ErrNotFound.
	Stat(ctx context.Context, id ItemID) (Entry, error)
	// Lookup finds a child by name under the endpoint's own idea of equal
	// names, or gives ErrNotFound.
	Lookup(ctx context.Context, parent ItemID, name string) (Entry, error)
	// List returns one page of a directory's children. Page "" is the first,
	// next "" says that this was the last. A directory that changes between
	// pages may give ErrChanged: the caller starts again. A directory whose
	// content cannot be known now gives an error, never an empty page.
	List(ctx context.Context, dir ItemID, page string) (entries []Entry, next string, err error)
	// Changes returns what changed since the cursor; "" asks for everything.
	// ErrCursorExpired means that the cursor is unknown here (other process,
	// lost events): the caller starts again at "".
	Changes(ctx context.Context, since Cursor) (Batch, error)
	// Wait returns nil when Changes is worth a call, or ctx.Err().
	Wait(ctx context.Context, since Cursor) error
	// Read streams n bytes (n < 0: to the end) of this very content from off,
	// or gives ErrChanged before or instead of the end. An empty v pins what is
	// there when Read is called. The caller closes the stream.
	Read(ctx context.Context, id ItemID, v Content, off, n int64) (io.ReadCloser, error)
	// Put stores a whole file atomically and durably: others see the old bytes
	// or the new ones. u is not kept after the call.
	Put(ctx context.Context, u *Upload) (Entry, error)
	// Mkdir creates one directory, or a symlink when a.Target is set. The name
	// must be free.
	Mkdir(ctx context.Context, parent ItemID, name string, a Attr, key OpKey) (Entry, error)
	// Update renames, moves or sets attributes. It never replaces: a taken
	// name is ErrExists. Where ItemIDs are paths the returned entry has the
	// new one, and the items below a moved directory have new ones too.
	Update(ctx context.Context, id ItemID, p Patch, pre Pre, key OpKey) (Entry, error)
	// Delete removes one item, a directory only when it is empty.
	Delete(ctx context.Context, id ItemID, pre Pre, key OpKey) error
	// Verify makes the endpoint prove what it stores now, in the weakest way
	// that is at least atLeast. It returns what was proved, ErrCorrupt when
	// the bytes are others, ErrUnsupported when no such proof can be had.
	Verify(ctx context.Context, id ItemID, want Hashes, size int64, atLeast Proof) (Proof, error)
	// Trash lists files and symlinks that were deleted or replaced at or below a
	// path and can still be had: a page, as List gives it, in no order. The path
	// is one of names from the root with slashes between, as they were when it
	// went; "" is all. What is purged between two pages, or comes, moves nothing
	// else. ErrUnsupported where Caps.ListTrash is off.
	Trash(ctx context.Context, under, page string) (items []Trashed, next string, err error)
	// Purge removes versions for good that Trash has listed, by their ids: a few
	// at a time, as far as it comes. One that is not there any more is no error,
	// and an id of anything else is ErrNotFound. ErrUnsupported as for Trash.
	Purge(ctx context.Context, ids []ItemID) error
	// Close ends waits and releases what the endpoint holds.
	Close() error
}

// Gatherer is an Endpoint that stores many files together in less time than one by one.
type Gatherer interface {
	// PutAll is Put for up to Caps.Together files, each with an outcome of its own, in their order: one that fails holds up no
	// other. What is stored is proved, too, as strongly as Verify can: of a proof that fails when the file has its name
	// the error wraps ErrUnknown.
	PutAll(ctx context.Context, all []*Upload) []Stored
}

// Stored is what became of one file of a PutAll.
type Stored struct {
	Entry Entry
	Proof Proof
	Err   error
}

// Prove has the endpoint prove what a Put has stored as strongly as it can, up to a hash of its own.
func Prove(ctx context.Context, ep Endpoint, u *Upload, e Entry) Stored {
	s := Stored{Entry: e}
	id := e.ID
	if !ep.Caps().StableID {
		id = Within(u.Parent, e)
	}
	if weak := ep.Caps().Proof; weak < ProofStrong { // reading all of it back is left to those who need that
		s.Proof, s.Err = ep.Verify(ctx, id, u.Hashes, u.Size, weak)
	} else {
		r := Validate(ctx, ep, ValidationRequest{Transfer: u.Key, Destination: id, Content: e.Content, Size: u.Size, Expected: u.Hashes[BLAKE3]})
		s.Proof, s.Err = r.Proof, r.Err
	}
	if errors.Is(s.Err, ErrUnsupported) {
		s.Proof, s.Err = ProofNone, nil
	}
	if s.Err != nil { // whatever it says of the proof, the write was not refused
		s.Err = fmt.Errorf("prove what was sent: %w: %w", ErrUnknown, s.Err)
	}
	return s
}

// StoreEach is a PutAll that puts and proves one after the other.
func StoreEach(ctx context.Context, ep Endpoint, all []*Upload) []Stored {
	out := make([]Stored, len(all))
	for i, u := range all {
		e, err := ep.Put(ctx, u)
		if err != nil {
			out[i].Err = err
			continue
		}
		out[i] = Prove(ctx, ep, u, e)
	}
	return out
}

// Upload describes one Put.
type Upload struct {
	ID     ItemID // the file to replace; "" creates Parent/Name, which must be free
	Parent ItemID // of a new file
	Name   string // of a new file
	Pre    Pre    // of a replaced file
	Attr   Attr
	Size   int64              // bytes in Body; more or fewer fail the Put
	Body   io.ReaderAt        // a snapshot: the same bytes on every read
	Hashes Hashes             // of the whole body, at least those in Caps.WantHashes; others than stored fail with ErrCorrupt
	Key    OpKey              // the same on every retry of this Put
	Resume []byte             // what Save last stored for Key, else nil; an unknown one is ignored
	Save   func([]byte) error // makes progress durable; may be nil
	Sent   func(n int64)      // told the number of bytes sent so far; may be nil
}

// Patch changes metadata; nil fields stay. Parent and Name together are one
// move. An endpoint that cannot keep an attribute ignores it.
type Patch struct {
	Parent *ItemID
	Name   *string
	Mtime  *time.Time
	Mode   *uint32 // permission bits; Caps.Perm says what survives
}

// Status is what Check found.
type Status struct {
	Root ItemID
	// Epoch identifies this very storage. It differs when the storage was
	// replaced or restored. The caller keeps it and gives it back on opening.
	Epoch       string
	Total, Free int64 // bytes; -1: unknown
	ReadOnly    bool
}
