package cache

import "vdfs/internal/fault"

// Fault points of this package, for crash tests: between the steps of every change that outlives the process.
const (
	faultCreateFile = "cache.create.file"      // the backing file of a new file is made, its rows are not
	faultCreateRows = "cache.create.committed" // they are, and nobody was told

	faultGroup      = "cache.group.commit" // transactions are acknowledged and about to be committed together
	faultGroupDone  = "cache.group.committed"
	faultRepeated   = "cache.redo.repeated" // acknowledged transactions were repeated at a start, and not committed yet
	faultRepeatDone = "cache.redo.committed"

	faultMake      = "cache.make.commit" // a directory, a link or a special file is about to be committed
	faultMakeDone  = "cache.make.committed"
	faultLink      = "cache.link.commit" // a further name
	faultLinkDone  = "cache.link.committed"
	faultRemove    = "cache.remove.commit" // the loss of a name
	faultRmDone    = "cache.remove.committed"
	faultRename    = "cache.rename.commit"
	faultMoveDone  = "cache.rename.committed"
	faultSetAttr   = "cache.attr.commit"
	faultAttrsDone = "cache.attr.committed"

	faultCreated = "cache.content.created" // the backing file of a new version is made, its rows are not
	faultMarked  = "cache.content.marked"  // rows say that it is written to, its file says not yet whose it is
	faultSettle  = "cache.content.settle"  // the last writer is gone, rows say that it is written to
	faultSettled = "cache.content.settled"

	faultFillPart = "cache.fill.part"     // bytes are here, rows do not say so
	faultFilled   = "cache.fill.complete" // all are here and verified, rows do not say so
	faultFillDone = "cache.fill.completed"

	faultStaged  = "cache.stage.synced" // a new version is here beside the old one, no row names it
	faultSwap    = "cache.stage.swap"   // it takes its place, in the transaction that says so
	faultSwapped = "cache.stage.swapped"

	faultRestore  = "cache.restore.commit" // a version is about to be a path's again
	faultRestored = "cache.restore.committed"

	faultCutPart = "cache.cut.recorded" // rows say that nothing behind the cut of a part is here, and it still is
	faultCutFile = "cache.cut.file"     // the backing file is cut, rows still say that it is a part of the old version

	faultDropped = "cache.content.drop"    // bytes are to be given up
	faultReplace = "cache.content.replace" // another version's bytes are, in the transaction that says so
	faultUnlink  = "cache.content.unlink"  // no row names a backing file any more, it is still there

	faultBackupCopied = "cache.backup.copied"    // a backup is complete and has not got its name
	faultBackupNamed  = "cache.backup.published" // it has, and the oldest is still there
)

// FaultPoints names the points of package fault that this package passes.
func FaultPoints() []string {
	return []string{
		faultGroup, faultGroupDone, faultRepeated, faultRepeatDone, faultCreateFile, faultCreateRows, faultMake, faultMakeDone, faultLink, faultLinkDone, faultRemove, faultRmDone,
		faultRename, faultMoveDone, faultSetAttr, faultAttrsDone, faultCreated, faultMarked, faultSettle, faultSettled,
		faultFillPart, faultFilled, faultFillDone, faultStaged, faultSwap, faultSwapped, faultRestore, faultRestored, faultCutPart, faultCutFile, faultDropped, faultReplace, faultUnlink, faultBackupCopied, faultBackupNamed,
	}
}

// updateBetween is update for a change made through the mount, between two fault points.
func (c *Cache) updateBetween(commit, committed string, fn func(*Tx) error) error {
	c.noteChange()
	err := c.update(0, true, func(tx *Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return fault.Point(commit)
	})
	if err == nil {
		fault.Cut(committed)
	}
	return err
}
