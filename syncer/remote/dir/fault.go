package dir

// Fault points of this package, for crash tests: between the steps by which the tree changes.
const (
	faultSpooled   = "dir.put.spooled"   // the body is in a temporary file, not durable
	faultSynced    = "dir.put.synced"    // it is durable
	faultPublished = "dir.put.published" // the file has its name, the directory is not durable
	faultSlotted   = "dir.put.slotted"   // the new version has a name in the trash, the old one still its own
	faultExchanged = "dir.put.exchanged" // they were exchanged, nobody has looked at what came out
	faultWritten   = "dir.put.durable"   // the directory is durable
	faultMade      = "dir.mkdir.made"    // the directory or link is there, its attributes are not
	faultMoved     = "dir.move.renamed"  // the item is moved, nobody has looked at it
	faultAttrs     = "dir.update.attrs"  // moved and looked at, its attributes are not set
	faultTrashed   = "dir.delete.trashed"
	faultRemoved   = "dir.delete.removed" // out of the tree, the directory is not durable
)

// FaultPoints names the points of package fault that this package passes.
func FaultPoints() []string {
	return []string{
		faultSpooled, faultSynced, faultPublished, faultSlotted, faultExchanged, faultWritten, faultMade, faultMoved, faultAttrs,
		faultTrashed, faultRemoved,
	}
}
