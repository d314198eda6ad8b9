// Package remote is the one interface to storages outside the drive, with the
// words both sides of it share.
//
// An endpoint is a tree of items. An item has an ItemID, a leaf name, a kind
// and two tokens: its Tag changes with any change, its Content only with its
// bytes. Writes carry a Pre, what the writer believes to be there, and an
// endpoint refuses a write whose Pre does not hold rather than destroy
// something unseen. Caps says how well it keeps that promise.
//
// Only leaf names cross the interface, never paths, but for those of what is in
// the trash: its directory may be gone. Names are Go strings that
// hold raw bytes: any byte but '/' and NUL. Where Caps.StableID is false an
// ItemID is "p:" and the slash-separated path below the root ("p:" is the
// root), so it changes when the item or a directory above it moves; Ident then
// pairs the old item with the new one. Such an id means whatever is at its path,
// unless it is anchored (see Address): where Caps.Idents, a call with an anchored
// id looks at the directory that the anchor leads to, in the very step that goes
// on from there, and gives ErrPrecondition when it is missing or another one.
// ErrNotFound then says that the directory is there and the item is not. Without
// Caps.Idents an anchor says nothing: two directories that change places at the
// moment of a write are told apart by no one, and only what Pre names is safe.
// Entries have ids without anchors.
//
// What an endpoint must never do: answer an empty or short listing when it
// could not look, replace an item on a create or a move, publish half a file,
// or follow a symbolic link.
package remote
