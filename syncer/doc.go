// Package syncer is agreement between the drive and its endpoints.
//
// A leg joins one endpoint to a place of the drive. Each leg runs cycles:
//
//	check   the endpoint's root is the one recorded
//	pull    what changed there becomes observed rows; absence only from a complete listing
//	apply   observed rows become changes of the drive, metadata only
//	contact directories nobody has looked into yet are listed, those asked for first
//	send    local items become changes of the endpoint: structure, copies, proofs, then deletes
//
// until one comes to nothing. What to do about an object is decided by the pure
// package plan from states alone. Remote work is decided and applied in one
// transaction; local work is decided right before the endpoint is called with a
// precondition, and what the endpoint refuses is looked at again and decided
// anew, never forced.
//
// Identity. The base names an object of an endpoint by a remote id. Where the
// endpoint has ids of its own it is theirs. Where items are known by path only,
// the leg gives out ids (address.go): a path is computed from parents and names,
// so that renaming a directory changes one row.
//
// Lock order: Engine.mu, leg.mu, then the cache's own (lease, transaction).
// None of the two is held over a call of an endpoint or a transaction. The cycles of a leg are one goroutine's.
//
// This package must never: conclude a deletion from an endpoint that is
// missing, half listed or another one; hold a transaction over I/O; drop local
// bytes (package offload does, after Prove).
package syncer
