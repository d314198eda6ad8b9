// Package offload decides and does residency: which bytes of which files are on this machine. It brings bytes here when a
// program reads them (hydrate) or a person wants them (pin, fetch), and drops them when a person asks for space (offload,
// online, exclude) and an endpoint has proved that it stores exactly that version. It tells what is here, who wished that, and
// how many copies are known.
//
// Words: a file is none, partial or full by its residency. A flight is one request to an endpoint for one range of one
// version, shared by all who wait for any of it. A transfer is the durable wish to have a whole file here.
// A turn is the place of a flight among all: what a reader waits for comes before what a person fetched, that before what is
// pinned, then new versions of what was here, and last what nobody asked for yet.
// A walk goes through what is below a pinned directory and makes transfers of what is missing.
//
// Lock order: file.mu, then Hydrator.mu; gate.mu and panes.mu are leaves. No call into the cache or the source is made under
// Hydrator.mu, and none that waits under file.mu. The lease of a node is the cache's: a file being hydrated counts as read.
//
// Readers is the face to the mount: it looks which program asks, by package caller, and gives thumbnailers, indexers and what a
// person's list names no more than the head of what is not here. Only missing bytes are a question.
//
// What it must never do: show a reader bytes of two versions or bytes that failed verification; drop bytes without a
// proof for the version they are, asked for now; hydrate because of a listing, a stat, an open or a truncation.
//
// Adopt takes bytes from a directory of this machine instead of an endpoint, which proves them all the same.
//
// Eviction is a choice of files, made while Run runs; what it chose goes through Manager.drop, which has all the rules.
package offload
