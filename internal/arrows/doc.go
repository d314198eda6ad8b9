// Package arrows holds the test that keeps the import arrows of the project:
// a star around one durable truth. The cache knows nobody; fs, offload and
// syncer know the cache and never one another; only cmd wires them together.
//
// It has no code of its own and must never get any.
package arrows
