package plan

import (
	"errors"
	"fmt"
)

// Kind is what an object is. It never changes during an object's life, on
// either side: an endpoint that reuses an identity for another kind must put
// the kind into the RemoteID.
type Kind uint8

// The kinds. Special stands for fifos, sockets and devices, which are never
// sent and never received.
const (
	File Kind = iota + 1
	Dir
	Symlink
	Special
)

// String returns the kind's lower-case name.
func (k Kind) String() string {
	switch k {
	case File:
		return "file"
	case Dir:
		return "dir"
	case Symlink:
		return "symlink"
	case Special:
		return "special"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

type (
	// BindingID names a binding; 0 is none.
	BindingID int64
	// DentryID names a dentry of the drive; 0 is none.
	DentryID int64
	// RemoteID names an object of the endpoint; "" is none.
	RemoteID string
)

// Meta is the metadata that both sides can be compared by. Both values are
// reduced beforehand to what the leg's endpoint can keep, so that a value
// written to one side is read back equal from the other. Fields that mean
// nothing for a kind are ignored: a directory has a mode only, a symlink a
// target only, a file everything but a target.
type Meta struct {
	// Mode holds the permission bits the endpoint keeps.
	Mode uint32
	// Mtime is in nanoseconds, cut to the leg's grain.
	Mtime int64
	// Target is a symlink's text; it counts as content.
	Target string
}

// Parked says that an object bears a parking name: vdfs itself moved it out
// of the way, so its present name is nobody's wish and must not be copied to
// the other side.
type Parked uint8

// ParkedHere is a parking name given by this leg, ParkedElsewhere one given by
// another leg or another machine, which will move the object on.
const (
	NotParked Parked = iota
	ParkedHere
	ParkedElsewhere
)

// Binding is the base of one object: what both sides last agreed on.
type Binding struct {
	ID BindingID
	// Parent is the directory the object was in when both sides last agreed;
	// 0 when that directory's binding has been dropped since. Parents need
	// not form a tree: each binding was agreed at its own time.
	Parent BindingID
	Kind   Kind

	// Dentry is the object in the drive; 0, or a dentry that no longer
	// exists, says that the drive's side is gone.
	Dentry DentryID
	// LocalName is the name in the drive. The base directory is that of
	// Parent on both sides.
	LocalName string
	// LocalVersion is the node version that was agreed on; versions begin
	// at 1, so 0 says that no version of this dentry was ever agreed.
	LocalVersion uint64
	LocalMeta    Meta

	Remote RemoteID
	// RemoteName is the name at the endpoint; it differs from LocalName only
	// while the object is parked or was placed under a conflict name.
	RemoteName string
	// RemoteContent is the token of the agreed content; "" is no token, and
	// differs from every token.
	RemoteContent string
	// RemoteHash is the hash of the agreed content, "" when unknown. It is
	// the base hash of both sides, and may be filled in at any time from
	// either, as long as that side still has the agreed version.
	RemoteHash string
	RemoteSize int64
	RemoteMeta Meta

	// Releasing says that the agreed content was proved elsewhere, and that
	// the endpoint may have been made to give it up, see OpMarkRelease. From
	// then on its absence there is no deletion, and other content there is
	// another object.
	Releasing bool
}

// Local is a dentry together with its node, as the drive is now.
type Local struct {
	ID     DentryID
	Parent DentryID
	Name   string
	Kind   Kind
	// Version is another number, from 1 on, for every content the dentry has
	// had, also where it got it with another node; none comes back.
	Version uint64
	// Hash is the content's hash, comparable with Remote.Hash; "" is unknown.
	Hash string
	Size int64
	Meta Meta
	// Busy says the node is open for writing or not settled: its content
	// must not be replaced.
	Busy bool
	// Ready says that Version can be sent: the quiet period after the last
	// change is over or, of a busy node, it is a copy of what that was.
	Ready bool
	// LocalOnly marks what is never sent: temporary names, special files,
	// roots of nested places, and everything below such a directory.
	LocalOnly bool
	// Ignored says that it is LocalOnly by a rule, which may change: a
	// directory is not made anew at the endpoint for what it holds of such.
	Ignored bool
	// Placeholder says that the content's bytes are not here in full.
	Placeholder bool
	Parked      Parked
	// Unlisted says of a directory that the drive does not show all yet that is
	// to be in it: what it lacks means nothing. A directory into which another
	// leg has still to bring something is unlisted, too.
	Unlisted bool
	// Proved says that the target of this leg's archive stores exactly this
	// version, by a proof or by reading it again, and that no metadata are left
	// to be sent there; of a directory or a symlink, that it is there.
	Proved bool
	// Strategy is what holds for conflicts of this object instead of Rules:
	// because of its name, or because a person has decided the conflict that
	// it is in, or because merging was tried in vain. The last two are for the
	// two versions they were about; with another one they must be forgotten. 0
	// is none.
	Strategy Strategy
}

// Remote is an object of the endpoint as last observed: the base overlaid
// with the observed rows.
type Remote struct {
	ID     RemoteID
	Parent RemoteID
	Name   string
	Kind   Kind
	// Content is a token that is different for different content of this
	// object; never "" for a file. It may differ for equal content.
	Content string
	// Hash is the content's hash, comparable with Local.Hash; "" is unknown.
	Hash string
	Size int64
	Meta Meta
	// Gone says the object was deleted. When a directory is gone, everything
	// that was still in it is reported gone too.
	Gone   bool
	Parked Parked
	// Unlisted says of a directory that it is not known what is in it: that
	// nothing is seen there means nothing.
	Unlisted bool
	// Ignored says of an unbound object that it is passed over by a rule: it
	// stays as it is, and its directory with it.
	Ignored bool
}

// Views is how the planner sees one leg. All answers given during one call of
// Decide must belong to one state. A yield that returns false ends the
// iteration. Objects that do not exist are reported with false, not with an
// error; every error ends the call of Decide and is returned by it.
type Views interface {
	// Root binds the place's directory to the endpoint's root. It never
	// changes and is never decided.
	Root() Binding
	Binding(BindingID) (Binding, bool, error)
	BindingOfDentry(DentryID) (Binding, bool, error)
	BindingOfRemote(RemoteID) (Binding, bool, error)
	// BindingsAt yields the bindings whose base place is this name in this
	// directory, by LocalName or by RemoteName. Names of the base are not
	// unique: while moves are under way several bindings may have one place.
	BindingsAt(parent BindingID, name string, yield func(Binding) bool) error

	Local(DentryID) (Local, bool, error)
	LocalAt(parent DentryID, name string) (Local, bool, error)
	LocalChildren(parent DentryID, yield func(Local) bool) error

	// Remote may report an object that is gone, or false for it.
	Remote(RemoteID) (Remote, bool, error)
	// RemoteAt and RemoteChildren leave out what is gone.
	RemoteAt(parent RemoteID, name string) (Remote, bool, error)
	RemoteChildren(parent RemoteID, yield func(Remote) bool) error
}

// Subject names one object to decide. Exactly one field is set: Binding for a
// bound object, Dentry for an unbound dentry, Remote for an unbound object of
// the endpoint. A dentry or remote object that is bound by now stands for its
// binding; one that does not exist is at rest.
type Subject struct {
	Binding BindingID
	Dentry  DentryID
	Remote  RemoteID
}

// String names the subject for errors and logs.
func (s Subject) String() string {
	switch {
	case s.Binding != 0:
		return fmt.Sprintf("binding %d", s.Binding)
	case s.Dentry != 0:
		return fmt.Sprintf("dentry %d", s.Dentry)
	}
	return fmt.Sprintf("remote %q", string(s.Remote))
}

// ErrSubject is returned for a subject in which not exactly one field is set.
var ErrSubject = errors.New("subject must name exactly one object")
