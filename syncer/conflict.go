package syncer

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"path"

	"vdfs/cache"
	"vdfs/syncer/plan"
	"vdfs/syncer/plan/aside"
)

// conflictName is a free conflict name in a directory of the drive.
func (t *step) conflictName(dir cache.Ino, name string) (string, error) {
	var failed error
	out := aside.Name(name, t.l.e.Device, t.l.e.Clock(), func(try string) bool { return t.taken(dir, try, &failed) })
	return out, failed
}

// otherName is the name that an operation of the drive asks for where its own is taken.
func (t *step) otherName(dir cache.Ino, op plan.Op) (string, error) {
	if !op.Numbered {
		return t.conflictName(dir, op.Name)
	}
	var failed error
	out := aside.Number(op.Name, func(try string) bool { return t.taken(dir, try, &failed) })
	return out, failed
}

// taken reports whether a directory has a name.
func (t *step) taken(dir cache.Ino, name string, failed *error) bool {
	_, ok, err := t.tx.DentryAt(dir, name)
	if err != nil {
		*failed = err
	}
	return ok && err == nil
}

// VersionInfo describes one side of a conflict for a person.
type VersionInfo struct {
	Size   int64  `json:"size"`
	Mtime  int64  `json:"mtime"` // nanoseconds since 1970
	Device string `json:"device,omitempty"`
	Hash   string `json:"hash,omitempty"`
}

func ofNode(device string, n cache.Node) *VersionInfo {
	return &VersionInfo{Size: n.Size, Mtime: n.Mtime, Device: device, Hash: hexHash(n.Hash)}
}

func ofObserved(endpoint string, o cache.Observed) *VersionInfo {
	return &VersionInfo{Size: o.Size, Mtime: o.Mtime, Device: endpoint, Hash: hexHash(o.Hash)}
}

// before is what a write that decides a conflict is about to take away at the endpoint, and where.
func (t *step) before(w write) (p parties, err error) {
	if w.Conflict == nil {
		return p, nil
	}
	if t.asked, err = t.wasAsked(w.Conflict, w.Op); err != nil {
		return p, err
	}
	p.winner = cache.DentryID(w.Op.Dentry)
	o, err := t.l.object(t.tx, string(w.Op.Remote))
	if err != nil {
		return p, err
	}
	if o != nil {
		p.theirs = ofObserved(t.l.target, *o)
	}
	p.path, err = t.l.itemPath(t.tx, cache.Item{Leg: t.l.id, Binding: cache.BindingID(w.Op.Binding), Dentry: cache.DentryID(w.Op.Dentry), RemoteID: string(w.Op.Remote)})
	return p, err
}

// recordSent records the conflict that a write has decided. What was removed meanwhile is nobody's.
func (t *step) recordSent(w write, lost parties) error {
	t.met = lost
	err := t.record(plan.Decision{Ops: []plan.Op{w.Op}, Conflict: w.Conflict})
	if errors.Is(err, cache.ErrNotFound) {
		return nil
	}
	return err
}

// record writes down the conflict of a decision whose operations have just been carried out.
func (t *step) record(d plan.Decision) error {
	c, met := d.Conflict, t.met
	if c == nil || c.Class == plan.MoveOnDelete { // of that nothing is left but a name that nobody has any more
		return nil
	}
	if t.asked {
		return nil // it was written down then
	}
	if c.Winner == "" { // what the drive has holds
		met.winner = cache.DentryID(d.Ops[len(d.Ops)-1].Dentry)
	}
	if met.winner == met.aside {
		met.winner = 0 // it was left under a conflict name, and nothing has its own
	}
	strategy := c.Strategy
	if strategy == 0 {
		strategy = plan.ConflictFile
	}
	row := cache.ConflictRow{
		Leg: t.l.id, Type: c.Class.String(), Strategy: strategy.String(), Dentry: met.winner, Conflict: met.aside,
		LocalInfo: "{}", RemoteInfo: "{}", State: cache.ConflictResolved, Created: t.tx.Now(), Resolved: t.tx.Now(),
	}
	if met.aside != 0 {
		row.State, row.Resolved = cache.ConflictOpen, 0
	}
	if err := t.describe(&row, d); err != nil {
		return err
	}
	t.counts.Conflicts++
	t.l.e.tellConflict(t.tx, t.l.conduitRow().Name, row)
	return t.tx.PutConflict(&row)
}

// describe fills in where the two sides of a conflict are, and what they have.
func (t *step) describe(row *cache.ConflictRow, d plan.Decision) (err error) {
	if row.Conflict != 0 {
		if row.ConflictPath, err = t.tx.Path(row.Conflict); err != nil {
			return err
		}
	}
	switch {
	case row.Dentry != 0:
		row.Path, err = t.tx.Path(row.Dentry)
	case row.Conflict == 0 && t.met.path != "":
		row.Path = t.met.path
	case row.Conflict != 0:
		row.Path = path.Join(path.Dir(row.ConflictPath), d.Ops[0].Name)
	default: // deleted here; it comes back from the endpoint
		row.Path, err = t.l.itemPath(t.tx, cache.Item{Leg: t.l.id, RemoteID: string(d.Conflict.Winner)})
	}
	if err != nil {
		return err
	}
	local := row.Conflict
	if local == 0 {
		local = row.Dentry
	}
	ours, theirs := t.met.ours, t.met.theirs
	if local != 0 && ours == nil {
		e, err := t.tx.Entry(local)
		if err != nil {
			return err
		}
		ours = ofNode(t.l.e.Device, e.Node)
	}
	if theirs == nil {
		o, err := t.l.object(t.tx, string(d.Conflict.Winner))
		if err != nil {
			return err
		}
		if o != nil {
			theirs = ofObserved(t.l.target, *o)
		}
	}
	if ours != nil {
		row.LocalInfo = info(*ours)
	}
	if theirs != nil {
		row.RemoteInfo = info(*theirs)
	}
	return nil
}

func info(v VersionInfo) string {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return string(out)
}

func hexHash(h cache.Hash) string {
	if !h.Known() {
		return ""
	}
	return hex.EncodeToString(h[:])
}

// ConflictReason is what happened in a conflict of a type, as it was recorded: in a word and in words. A type of another
// version has none.
func ConflictReason(recorded string) (Condition, string) {
	switch recorded {
	case plan.CreateOnCreate.String():
		return FileExists, "both sides made a file of this name"
	case plan.ModifyOnModify.String():
		return DataMismatch, "both sides changed the file"
	case plan.ModifyOnDelete.String():
		return DataMismatch, "one side changed it, the other had deleted it"
	case plan.DeleteOnModify.String():
		return DataMismatch, "one side deleted it, the other had changed it"
	case plan.ModifyOnParentDelete.String():
		return DataMismatch, "it was changed in a directory that the other side deleted"
	case plan.MoveOnMove.String():
		return DataMismatch, "both sides moved it, to different places"
	case plan.MoveOnExisting.String():
		return FileExists, "it was moved to a name that the other side had given to another file"
	case plan.TypeMismatch.String():
		return DirectoryExists, "what has this name is a directory on one side and none on the other, or a symbolic link"
	case plan.MoveOnDelete.String():
		return DataMismatch, "one side moved it, the other deleted it"
	case plan.MoveToDeletedParent.String():
		return DataMismatch, "it was moved into a directory that the other side deleted"
	}
	return "", ""
}
