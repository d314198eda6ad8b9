// Package cache keeps everything that is true of a drive on this machine: the index, one SQLite database of nodes, names
// and what the endpoints agreed to, and the contents, one backing file for the bytes of one version of one file. It knows
// nothing of FUSE, of networks or of people.
//
// # Words
//
// A node is an inode, a dentry a name of it; people pin dentries, programs write nodes. A binding is a row of the base:
// what drive and endpoint last agreed on about one object. An item is durable work on one difference, put there in the
// transaction that made the difference; it says what to look at, not what happened, so marks squash. A leg is an endpoint
// joined to a place, a place the directory it is joined to.
//
// # Three faces
//
// The methods of Cache from Lookup to ListXattr are file-system operations, each one transaction: they check what a kernel
// does not, and what they change the kernel knows already. The methods of Tx are primitives for those who carry
// changes from endpoints into the drive: what they change is published to the Feed after the commit, and becomes work for
// all legs of the place but the transaction's origin. OpenFile, Fill, Snapshot and Swap are the faces of a node's bytes, and
// of its lease.
//
// # What must never happen here
//
// I/O other than SQLite's own inside a transaction, except looking at or touching the inode of an open backing file; a
// lock held while another package's code runs, except inside View and Update; a goroutine that Run did not start; memory
// that grows with the number of nodes; zeros in place of bytes that are missing.
package cache
