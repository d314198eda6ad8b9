package plan

import "fmt"

// OpKind is what an operation does.
type OpKind uint8

// Operations towards the drive. All of one Decision are applied in one
// transaction, in order.
const (
	// OpCreateLocal makes a dentry for the unbound object Remote (a file as a
	// placeholder) in Parent's directory under Name, and binds it: After is
	// the new binding without ID, Dentry and LocalVersion.
	OpCreateLocal OpKind = iota + 1
	// OpRestoreLocal makes the directory of Binding again, whose dentry is
	// gone or has become local only, because something in it lives on.
	OpRestoreLocal
	// OpUpdateLocal gives Dentry the content of Remote and Meta. After lacks
	// LocalVersion: the version the dentry has then. A file that is open by
	// readers gets a new node, see the cache's rules; the planner only asks
	// that it is not Busy.
	OpUpdateLocal
	// OpSplitLoser is for a file or symlink whose content was changed on both
	// sides. Dentry keeps name, intent and binding, and gets a new node with
	// the content of Remote and Meta, as in OpUpdateLocal. A new, unbound
	// dentry beside it, with a conflict name made from Name, takes the old
	// node.
	OpSplitLoser
	// OpMoveLocal moves Dentry to Name in Parent's directory.
	OpMoveLocal
	// OpSetLocalMeta gives Dentry Meta.
	OpSetLocalMeta
	// OpDeleteLocal removes Dentry and, unless it is 0, drops Binding. A
	// version that was not seen elsewhere is never deleted so; a directory is
	// empty.
	OpDeleteLocal
	// OpRenameAside gives Dentry a conflict name made from Name, in the
	// directory it is in. A binding stays with it, its base untouched: for a
	// bound dentry the new name is a local move still to be sent.
	OpRenameAside
	// OpParkLocal gives Dentry a parking name in the directory it is in, so
	// that Local.Parked is ParkedHere from then on; the base is untouched.
	// The engine should go on deciding Decision.Follow in the same
	// transaction, so that nobody sees the parking name.
	OpParkLocal
)

// Operations towards the endpoint. Each carries in Expect what the endpoint
// must find; when it finds something else nothing is done and the object is
// observed again.
const (
	// OpMkdir makes a directory for the unbound dentry Dentry in Parent's
	// directory under Name and binds it; After lacks ID, Remote.
	OpMkdir OpKind = iota + 32
	// OpSymlink makes a symlink, otherwise as OpMkdir.
	OpSymlink
	// OpPut makes a file from the version Expect.LocalVersion of Dentry,
	// otherwise as OpMkdir; After also lacks RemoteContent and, if the local
	// hash was unknown, RemoteHash. The name must not exist.
	OpPut
	// OpRestoreRemote makes the directory of Binding again, which is gone at
	// the endpoint, because something in it lives on in the drive; After
	// lacks Remote.
	OpRestoreRemote
	// OpReplace gives Remote the version Expect.LocalVersion of Dentry, and
	// Meta; After lacks RemoteContent and maybe RemoteHash. A symlink's
	// content is Meta.Target.
	OpReplace
	// OpMoveRemote moves Remote to Name in Parent's directory, where nothing
	// of that name may exist; without Parent it is renamed in the directory it
	// is in.
	OpMoveRemote
	// OpSetRemoteMeta gives Remote Meta.
	OpSetRemoteMeta
	// OpDeleteRemote removes Remote and drops Binding. A directory must be found empty. A Dentry that is not 0
	// exists under a name that is never sent, and needs the object no more: its bytes are here.
	OpDeleteRemote
	// OpParkRemote gives Remote a parking name in the directory it is in, to
	// free its name; Remote.Parked is ParkedHere from then on and the base
	// follows: After lacks RemoteName. One that has no Binding is about to be
	// removed, and has no After.
	OpParkRemote
	// OpRelease removes Remote, which is exactly what the drive has and the
	// archive has proved to store, and drops Binding. Dentry lives on. A
	// directory must be found empty. Binding is Releasing. It is decided again
	// at the last moment, and not carried out when it does not come out again:
	// the proof is of Expect.LocalVersion, and may have been overtaken.
	OpRelease
)

// Operations on the base only.
const (
	// OpBind binds Dentry and Remote, which are equal; After lacks ID.
	OpBind OpKind = iota + 64
	// OpRebindLocal passes Binding to Dentry, which has taken the name of the
	// binding's former dentry. Pins and history go with the name. After is
	// complete.
	OpRebindLocal
	// OpRebindRemote passes Binding to Remote, likewise.
	OpRebindRemote
	// OpUnbind drops Binding. The side that lives on is unbound from then on
	// and decided as new.
	OpUnbind
	// OpAgree writes After: both sides have come to the same by themselves.
	OpAgree
	// OpDisown writes After, in which no version of the dentry is agreed any
	// more. It comes before the object is deleted while the dentry lives on
	// under a name that is never sent: should that be renamed again, and the
	// reply to the deletion be lost, the dentry is new, not deleted. With no
	// Dentry in After the dentry is about to be bound to another object.
	OpDisown
	// OpMarkRelease writes After, in which Releasing is set. It is committed
	// before OpRelease is carried out: should the reply to that be lost, and the
	// proof meanwhile be gone, the absence of the object must not be taken for a
	// deletion, which would go on to the archive.
	OpMarkRelease
)

// Operations that obtain knowledge without which nothing can be decided.
const (
	// OpNeedLocalHash asks that Dentry's hash becomes known.
	OpNeedLocalHash OpKind = iota + 96
	// OpNeedRemoteHash asks that Remote's hash becomes known, from the
	// endpoint or by reading the content.
	OpNeedRemoteHash
	// OpNeedBytes asks that Dentry's content is brought here in full: it
	// is about to lose the object, or the name, by which an endpoint could still give it.
	OpNeedBytes
	// OpMerge asks for a merge of Expect.LocalVersion of Dentry and
	// Expect.RemoteContent of Remote, against what Binding had agreed on. When
	// it comes about Dentry gets the result as a new version and After is
	// written, in one transaction, both originals going to the trash, and
	// Decision.Conflict is recorded. When it
	// does not, Dentry's Strategy is ConflictFile from then on.
	OpMerge
)

// Side is where an operation acts.
type Side uint8

// The sides.
const (
	SideDrive Side = iota
	SideEndpoint
	SideBase
	SideKnowledge
)

// Side says where operations of this kind act.
func (k OpKind) Side() Side { return Side(k / 32) }

// String returns the kind's name as logs show it.
func (k OpKind) String() string {
	if name, ok := opName(k); ok {
		return name
	}
	return fmt.Sprintf("op(%d)", uint8(k))
}

func opName(k OpKind) (string, bool) {
	switch k.Side() {
	case SideDrive:
		return nth(int(k-OpCreateLocal), "create-local", "restore-local", "update-local", "split-loser", "move-local",
			"set-local-meta", "delete-local", "rename-aside", "park-local")
	case SideEndpoint:
		return nth(int(k-OpMkdir), "mkdir", "symlink", "put", "restore-remote", "replace", "move-remote",
			"set-remote-meta", "delete-remote", "park-remote", "release")
	case SideBase:
		return nth(int(k-OpBind), "bind", "rebind-local", "rebind-remote", "unbind", "agree", "disown", "mark-release")
	}
	return nth(int(k-OpNeedLocalHash), "need-local-hash", "need-remote-hash", "need-bytes", "need-merge")
}

func nth(i int, names ...string) (string, bool) {
	if i < 0 || i >= len(names) {
		return "", false
	}
	return names[i], true
}

// Op is one operation. Which fields are set depends on Kind.
type Op struct {
	Kind OpKind
	// Object is the kind of the object acted on.
	Object  Kind
	Binding BindingID
	Dentry  DentryID
	Remote  RemoteID
	// Parent is the binding of the destination directory; it has both sides.
	Parent BindingID
	// Name is the destination name, or what a conflict name is made from.
	Name string
	// Aside asks for a conflict name made from Name, when Name itself is
	// taken; only creations, restorations and moves in the drive have it.
	// After.LocalName is then the engine's to fill.
	Aside bool
	// Numbered asks that the name made is a numbered one, of Aside and of
	// OpRenameAside: nobody has lost anything.
	Numbered bool
	// Trash says that this side has a version which the other has not seen, and
	// which the operation overwrites or removes: it must go to the trash of its
	// side first.
	Trash bool
	// Meta is what the destination gets.
	Meta Meta
	// Expect is what must be found when the operation is carried out.
	Expect Expect
	// After is the binding to be written once the operation is done, complete
	// but for what only carrying it out can tell. Operations that drop the
	// binding or do not touch the base leave it zero. Where a binding is
	// dropped, those that have it as Parent get Parent 0.
	After Binding
}

// Expect is an operation's precondition, the state the decision was made from.
type Expect struct {
	LocalVersion  uint64
	RemoteContent string
	RemoteParent  RemoteID
	RemoteName    string
}

// Reason says why a subject waits.
type Reason uint8

// The reasons for waiting. WaitSettle, WaitTransit, WaitDecision, WaitProof and
// WaitBytes are without a subject to wait for.
const (
	// WaitSettle: the dentry is open for writing or its quiet period runs.
	WaitSettle Reason = iota + 1
	// WaitParent: the directory it belongs in does not exist yet.
	WaitParent
	// WaitName: the name it belongs under is still held.
	WaitName
	// WaitChild: something inside the directory is not decided yet.
	WaitChild
	// WaitInside: its destination still lies inside itself.
	WaitInside
	// WaitTransit: another leg or machine is moving it, or what was observed
	// so far does not fit together yet.
	WaitTransit
	// WaitDecision: it is in conflict, and a person is to decide.
	WaitDecision
	// WaitProof: the archive has not proved to store what the source has.
	WaitProof
	// WaitBytes: its new content is to be here before the old one goes. The
	// planner never says so, but who carries out its decisions.
	WaitBytes
)

// String returns the reason in words.
func (r Reason) String() string {
	if name, ok := nth(int(r)-1, "open for writing or not settled", "its directory does not exist yet",
		"its name is still taken", "something inside is not decided yet", "its destination lies inside itself",
		"it is being moved elsewhere", "it is in conflict: choose the version to keep",
		"the archive has not proved to store it", "its new version is being fetched"); ok {
		return name
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// Wait says why nothing can be done for a subject now.
type Wait struct {
	Reason Reason
	// On is the subject that has to be decided first; the zero Subject when
	// only the world can end the waiting.
	On Subject
	// park would free the name that is waited for.
	park *Op
}

// Class is the class of a conflict.
type Class uint8

// The classes of CON-03 and CON-04, from the point of view of the change that
// was accepted second.
const (
	CreateOnCreate Class = iota + 1
	ModifyOnModify
	ModifyOnDelete
	DeleteOnModify
	ModifyOnParentDelete
	MoveOnMove
	MoveOnExisting
	TypeMismatch
	MoveOnDelete
	MoveToDeletedParent
)

// String returns the class as it is recorded.
func (c Class) String() string {
	if name, ok := nth(int(c)-1, "create-on-create", "modify-on-modify", "modify-on-delete", "delete-on-modify",
		"modify-on-parent-delete", "move-on-move", "move-on-existing", "type-mismatch", "move-on-delete", "move-to-deleted-parent"); ok {
		return name
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

// Conflict is recorded with the operations that resolve it.
type Conflict struct {
	Class Class
	// Strategy is what decided between two contents, 0 where there was no choice.
	Strategy Strategy
	// Winner is the object of the endpoint whose state holds, "" where that of
	// the drive does, and while a person has not decided.
	Winner RemoteID
	// Loser is the dentry whose content or name yields, 0 where nothing of
	// the drive does. Whether a conflict file comes of it is told by the
	// operations: OpSplitLoser and OpRenameAside make one, others do not.
	Loser DentryID
}

// Decision is what is to be done for one subject now. The zero Decision says
// that the subject is at rest.
type Decision struct {
	// Ops are carried out in order; all of them act on the same side.
	Ops []Op
	// Wait is set, and Ops empty, when something has to happen first.
	Wait *Wait
	// Conflict is to be recorded when Ops are applied, or, with WaitDecision, as
	// one that is open.
	Conflict *Conflict
	// Drift says that Ops undo what was done at an endpoint that only follows.
	Drift bool
	// Follow is set with an operation in the drive that leaves a name to
	// others, and the engine goes on with these subjects in the same
	// transaction. With OpDeleteLocal it is what has taken the name at the
	// endpoint: nobody is to find that nothing has it. With a parking
	// operation it is the parked subject and those of the circle it cuts:
	// they are decided again and again, and what they wait for, until the
	// parked dentry has its place. Where that does not come about
	// soon (a file in the way is open) the parking name may be committed;
	// later rounds finish the circle.
	Follow []Subject
}
