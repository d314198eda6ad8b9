// Package fs is the FUSE face of the drive: kernel requests in, cache calls out. The node id is the cache's inode
// number, so nothing has to be translated and nothing is kept per node.
//
// # What the kernel may keep
//
// Entries, attributes, absences and pages are handed out with a validity of an hour. That is right only because
// every change that does not come through this mount is pushed: the cache publishes it after its commit, Server.Run
// takes it from the feed and sends the notifications from a goroutine of its own, with no lock held. Four rules keep
// the gaps closed:
//
//   - A notification is sent only for what the kernel may know (two bit sets, one bit a node). A reply first reads,
//     then enters its node there, then looks whether a change was taken from the feed meanwhile, and if so reads again.
//   - A reply can still be on its way when the kernel answers a notification with "no such inode". Those are sent a
//     second time a second later.
//   - Pages are kept over an open (KEEP_CACHE) only if they are of the version that is opened. The package remembers,
//     for a bounded number of files, the version whose pages the kernel holds, and it learns that the kernel has
//     dropped the older ones from the first request on the new handle, not from having answered the open. While a
//     handle is open no version comes from elsewhere: that is the cache's lease.
//   - The same rule, by the directory's ctime, keeps listings over an opendir.
//
// # Missing bytes
//
// Lookup, stat, listing, open, rename, chmod, removal and O_TRUNC never fetch content. A read waits for its own
// range. A write into a file that is not all here waits for the rest of it, one that is cut for what stays of it;
// holding such a file open for writing longer than a moment starts that completion, so that touch(1) does not. Every
// wait ends with the caller's interrupt, which ends only this wait, or with the port's own deadline.
//
// # Locks
//
// The tables of handles and the sets above have a mutex each, held for a few instructions and never over a call
// into the cache, a port or the kernel. There is no other lock, so there is no order.
//
// # What it must never do
//
// Wait for an endpoint in flush, release or statfs; notify from inside a request; show a directory empty because
// its endpoint cannot be listed.
package fs
