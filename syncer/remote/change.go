package remote

// Cursor is a place in an endpoint's list of changes. It is opaque; "" asks for
// a full enumeration.
type Cursor string

// Relist says that an endpoint knows where something changed but not what.
type Relist uint8

// How much to list.
const (
	RelistNo      Relist = iota // the change is itemised
	RelistShallow               // list the children of Entry.ID
	RelistDeep                  // list Entry.ID and every directory below it
)

// Change is one entry of a Batch.
type Change struct {
	Entry          // on a deletion only ID is sure to be set
	Deleted bool   // this one item is gone; says nothing about its children
	Relist  Relist // not RelistNo: list directory Entry.ID to learn what changed
}

// Batch is a page of changes.
//
// An endpoint without Caps.Feed answers Changes("") with one batch that is
// Full and asks for a deep relist of the root, and later cursors with hints.
// Only a Full enumeration that has ended (More is false), or a complete List,
// may imply that an item is absent, and only for items that were known before
// it began.
type Batch struct {
	Changes []Change
	Next    Cursor // to be stored in the transaction that stores Changes
	More    bool   // another batch is waiting at Next
	Full    bool   // part of a full enumeration: what it does not name may be gone, once More is false
}
