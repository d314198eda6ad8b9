package syncer

import (
	"slices"

	"vdfs/syncer/plan"
)

// Fault points of this package, for crash tests. Each kind of write at an endpoint has one before and one after it.
const (
	faultBased    = "syncer.base.committed"  // a write at the endpoint and its base are both known
	faultSent     = "syncer.sent"            // the base of a copy is, its backing file is still marked as unsent
	faultLookBack = "syncer.lookback.found"  // what became of a write without a reply is known, and not written down
	faultObserved = "syncer.pull.observed"   // changes of the endpoint are written down, its cursor is not
	faultCursor   = "syncer.pull.cursor"     // the cursor is
	faultListed   = "syncer.list.read"       // a first listing is read, nothing of it is in the drive
	faultWelcomed = "syncer.list.committed"  // a part of it is
	faultApply    = "syncer.apply.commit"    // changes of the endpoint are about to be committed to the drive
	faultApplied  = "syncer.apply.committed" // they are
	faultMended   = "syncer.mend.stored"     // a damaged copy is replaced, its base is of the damaged one
	// A generation is complete and nothing of it looked at again; all of it was looked at again; it has been verified.
	faultComplete, faultReobserved, faultVerified = "syncer.generation.complete", "syncer.generation.reobserved", "syncer.generation.verified"
)

// written are the operations that write at an endpoint, but for OpRelease, which takes an archive between two of them.
var written = []plan.OpKind{
	plan.OpMkdir, plan.OpSymlink, plan.OpPut, plan.OpRestoreRemote, plan.OpReplace, plan.OpMoveRemote, plan.OpSetRemoteMeta,
	plan.OpDeleteRemote, plan.OpParkRemote,
}

// faultBefore and faultAfter name the points around a write: announced and not begun, done and its reply not written down.
var faultBefore, faultAfter = pointsOf("syncer.announced."), pointsOf("syncer.answered.")

func pointsOf(prefix string) map[plan.OpKind]string {
	out := make(map[plan.OpKind]string, len(written)+1)
	for _, k := range append(slices.Clone(written), plan.OpRelease) {
		out[k] = prefix + k.String()
	}
	return out
}

// FaultPoints names the points of package fault that this package passes.
func FaultPoints() []string {
	out := []string{faultBased, faultSent, faultLookBack, faultObserved, faultCursor, faultListed, faultWelcomed, faultApply, faultApplied, faultMended, faultComplete, faultReobserved, faultVerified}
	for _, k := range written {
		out = append(out, faultBefore[k], faultAfter[k])
	}
	slices.Sort(out)
	return out
}
