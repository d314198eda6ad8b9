package syncer

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"

	"vdfs/cache"
	"vdfs/syncer/plan"
	"vdfs/syncer/plan/aside"
)

// conflictName is a free conflict name in a directory of the drive.
func (t *step) conflictName(dir cache.Ino, name string) (string, error) {
	var failed error
	out := aside.Name(name, t.l.e.Device, t.l.e.Clock(), func(try string) bool {
		_, ok, err := t.tx.DentryAt(dir, try)
		if err != nil {
			failed = err
		}
		return ok && err == nil
	})
	return out, failed
}

// VersionInfo describes one side of a conflict for a person.
type VersionInfo struct {
	Size   int64  `json:"size"`
	Mtime  int64  `json:"mtime"` // nanoseconds since 1970
	Device string `json:"device,omitempty"`
	Hash   string `json:"hash,omitempty"`
}

// record writes down a conflict that operations have just resolved. aside is the conflict file's name, "" if none came of it.
func (t *step) record(c *plan.Conflict, op plan.Op, winner cache.DentryID, aside string) error {
	if c == nil {
		return nil
	}
	t.counts.Conflicts++
	e, err := t.tx.Entry(winner)
	if err != nil {
		return err
	}
	p, err := t.tx.Path(winner)
	if err != nil {
		return err
	}
	row := cache.ConflictRow{
		Leg: t.l.id, Type: c.Class.String(), Strategy: StrategyConflictFile, Dentry: winner,
		Path: p, ConflictPath: "", State: cache.ConflictResolved, Created: t.tx.Now(), Resolved: t.tx.Now(),
	}
	local := e
	if aside != "" {
		row.State, row.Resolved = cache.ConflictOpen, 0
		row.ConflictPath = path.Join(path.Dir(p), aside)
		loser, ok, err := t.tx.EntryAt(e.Parent, aside)
		if err != nil || !ok {
			return fmt.Errorf("conflict file %q: %w", aside, err)
		}
		row.Conflict, local = loser.ID, loser
		if op.Kind == plan.OpRenameAside { // the winner takes the name in the next operation
			row.Dentry, row.Path = 0, path.Join(path.Dir(p), op.Name)
		}
	}
	row.LocalInfo = info(VersionInfo{Size: local.Node.Size, Mtime: local.Node.Mtime, Device: t.l.e.Device, Hash: hexHash(local.Node.Hash)})
	if o, err := t.l.object(t.tx, string(c.Winner)); err != nil {
		return err
	} else if o != nil {
		row.RemoteInfo = info(VersionInfo{Size: o.Size, Mtime: o.Mtime, Device: t.l.target, Hash: hexHash(o.Hash)})
	} else {
		row.RemoteInfo = "{}"
	}
	return t.tx.PutConflict(&row)
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
