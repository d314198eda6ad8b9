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
// # Roles
//
// There is one planner, not one for each policy. Rules come down to a role, of
// which two things matter almost everywhere: whether what was done at the
// endpoint comes in, and whether what was done in the drive goes out.
//
//	                      in   out
//	synchronize, offload  yes  yes
//	replicate, source     yes  no
//	replicate, target     no   yes
//	archive, source       yes  no   and releases
//	archive, target       yes  yes
//
// Where nothing goes out the drive's own changes stay in the drive until the
// endpoint changes the same, and then beside it; the endpoint is never written.
// Where nothing comes in, what was done at the endpoint is drift: it is undone,
// and what the endpoint had of its own goes to its trash first. Objects that
// only it has are removed, or kept, see Rules.KeepExtra, unless the drive needs
// the name. What is kept is never left with a parking name. There are no
// conflicts there.
//
// # Archives
//
// Every file comes in from the source, goes out to the target, is proved there
// (Local.Proved) and then released: deleted at the source, while its dentry
// lives on, bound to the target alone. Released must never be taken for
// deleted, as that would go on to the archive. So the binding is marked before
// the object is deleted, and the mark is never taken back: from then on its
// absence is no deletion, and other content under its name or even its identity
// is another object. Whatever is lost of what comes in between, a reply, the
// proof, the daemon, leaves at worst a name too many.
//
// Nothing in an archive is overwritten by what comes to it: the same bytes
// become one file, others get a numbered name. What is edited at its source
// before it is released is edited in the archive, too, and what it was goes to
// the trash there. A file that was changed in the archive first stays at the
// source: nobody has proved that version.
//
// # Strategies
//
// Order decides who keeps a name, whether a deletion holds, and which move does;
// a strategy decides between two contents, neither of which was written with
// knowledge of the other. Those that name a side (local, remote, source, target)
// mean its deletions as well; for the others there is nothing to compare, and an
// edit wins against a deletion. Objects of different kinds are never compared:
// both stay. What a strategy overwrites or removes has Op.Trash. Two files that
// were made under one name are bound to each other with nothing agreed, and then
// decided as two edits.
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
// side that loses it had not seen, unless that goes to the trash: such a version
// is kept under a conflict name (OpSplitLoser, OpRenameAside) or, against a
// deletion, wins. It never releases what was not proved.
package plan
