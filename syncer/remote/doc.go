// Package remote is the one interface to storages outside the drive, with the
// words both sides of it share.
//
// An endpoint is a tree of items. An item has an ItemID, a leaf name, a kind
// and two tokens: its Tag changes with any change, its Content only with its
// bytes. Writes carry a Pre, what the writer believes to be there, and an
// endpoint refuses a write whose Pre does not hold rather than destroy
// something unseen. Caps says how well it keeps that promise.
//
// Only leaf names cross the interface, never paths. Names are Go strings that
// hold raw bytes: any byte but '/' and NUL. Where Caps.StableID is false an
// ItemID is "p:" and the slash-separated path below the root ("p:" is the
// root), so it changes when the item or a directory above it moves; Ident then
// pairs the old item with the new one.
//
// What an endpoint must never do: answer an empty or short listing when it
// could not look, replace an item on a create or a move, publish half a file,
// or follow a symbolic link.
package remote
