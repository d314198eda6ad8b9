// Package plan decides what has to be done so that one leg's two sides agree.
// It is pure: states come in through Views, a Decision goes out; it reads no
// clock, does no I/O and keeps nothing between calls.
//
// # Words
//
// The base is what both sides last agreed on, one Binding per object, with a
// half for each side. The drive's side is compared with the local half, the
// endpoint's side with the remote half; the two sides are compared with each
// other only where no base exists. A side has "changed", "moved" or is "gone"
// relative to its own half.
//
// A Subject is one object that may need work. Decide looks at one subject and
// what stands in its way, and returns operations, or a Wait that names the
// subject which has to go first, or neither: the subject is at rest.
//
// # Order
//
// What the endpoint has accepted holds. Work towards the drive never waits for
// work towards the endpoint, so the first layer always drains; only then do the
// drive's own changes go out. Where waiting would be circular (two names
// swapped, a directory moved below its own child) the circle is cut by parking
// the holder of a wanted name, see OpParkLocal and OpParkRemote.
//
// Deciding every dirty subject again and again, and applying what comes out,
// ends: every operation brings one half of one binding nearer to its side.
// Nothing is remembered outside the states, so planning may be dropped at any
// moment and begun again.
//
// # What it must never do
//
// It never returns an operation that overwrites or removes a version which the
// side that loses it had not seen: such a version is kept under a conflict
// name (OpSplitLoser, OpRenameAside) or, against a deletion, wins.
package plan
