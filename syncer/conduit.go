package syncer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path"
	"strings"

	"vdfs/cache"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/bounded"
)

// The policies a conduit can have so far, and the one strategy.
const (
	PolicyOffload        = "offload"
	PolicySynchronize    = "synchronize"
	StrategyConflictFile = "conflict-file"
	CadenceInstant       = "instant"
)

// policyNames are the words that people may use.
var policyNames = map[string]string{
	"offload": PolicyOffload, "selective": PolicyOffload, "synchronize": PolicySynchronize, "bidirectional": PolicySynchronize,
}

// drivePrefix begins the name of a directory of the drive where an endpoint is named.
const drivePrefix = "drive:"

// Spec says what conduit to make.
type Spec struct {
	Name, Source, Target string
	Policy               string
	At                   string // directory of the drive; "": where Source or Target says
	Strategy, Cadence    string
}

// plan of a conduit to be made, checked against everything but the endpoint.
func (s Spec) check() (cache.Conduit, string, string, error) {
	cd := cache.Conduit{Name: s.Name, Source: s.Source, Target: s.Target, Enabled: true, Parallel: 3, UseIndexRules: true, Strategy: StrategyConflictFile, Cadence: CadenceInstant}
	fail := func(format string, args ...any) (cache.Conduit, string, string, error) {
		return cd, "", "", invalid(format, args...)
	}
	if s.Name == "" || strings.ContainsAny(s.Name, "/\x00\n") {
		return fail("a conduit needs a name without slashes")
	}
	if cd.Policy = policyNames[s.Policy]; cd.Policy == "" {
		return fail("policy %q is not supported by this version: use offload or synchronize", s.Policy)
	}
	if s.Strategy != "" && s.Strategy != StrategyConflictFile {
		return fail("strategy %q is not supported by this version: use %s", s.Strategy, StrategyConflictFile)
	}
	if s.Cadence != "" && s.Cadence != CadenceInstant {
		return fail("cadence %q is not supported by this version: use %s", s.Cadence, CadenceInstant)
	}
	at, fromDrive := strings.CutPrefix(s.Source, drivePrefix)
	endpoint := s.Target
	if to, toDrive := strings.CutPrefix(s.Target, drivePrefix); toDrive {
		if fromDrive {
			return fail("source and target are both in the drive: one must be a storage")
		}
		if cd.Policy == PolicyOffload {
			return fail("offload needs the drive as source; to move files from %s into long-term storage the policy is archive, which this version does not have", s.Source)
		}
		at, endpoint = to, s.Source
	} else if !fromDrive {
		return fail("one of source and target must be a directory of the drive, such as drive:/%s", s.Name)
	}
	if s.At != "" {
		at = s.At
	}
	return cd, path.Clean("/" + at), endpoint, nil
}

// CreateConduit joins an endpoint to a directory of the drive. It checks that
// the endpoint answers and belongs to no other conduit before anything changes.
func (e *Engine) CreateConduit(ctx context.Context, s Spec) (cache.Conduit, error) {
	cd, at, endpoint, err := s.check()
	if err != nil {
		return cd, err
	}
	st, caps, err := e.probe(ctx, endpoint)
	if err != nil {
		return cd, err
	}
	if err := e.disjoint(endpoint, st.Epoch); err != nil {
		return cd, err
	}
	cd.UUID = newUUID()
	err = e.Cache.Update(0, func(tx *cache.Tx) error { return createConduit(tx, &cd, at, endpoint, st, caps) })
	switch {
	case errors.Is(err, cache.ErrExists):
		return cd, invalid("a conduit named %s exists already", s.Name)
	case errors.Is(err, cache.ErrInvalid), errors.Is(err, cache.ErrBusy):
		return cd, invalid("%s cannot become the place of a conduit: it is synced already or another conduit works there; choose a new directory", at)
	case errors.Is(err, cache.ErrNotDir):
		return cd, invalid("%s is not a directory of the drive", at)
	case err != nil:
		return cd, fmt.Errorf("create conduit %s: %w", s.Name, err)
	}
	if err := e.rederive(cd); err != nil {
		return cd, err
	}
	return cd, e.reload()
}

// probe opens an endpoint, asks who it is, and closes it again.
func (e *Engine) probe(ctx context.Context, endpoint string) (st remote.Status, caps remote.Caps, err error) {
	ep, err := bounded.NewPool().Open(ctx, func(ctx context.Context) (remote.Endpoint, error) {
		return e.Open(ctx, endpoint, cache.Leg{Endpoint: endpoint})
	})
	if err == nil {
		caps = *ep.Caps()
		st, err = ep.Check(ctx)
		err = errors.Join(err, ep.Close())
	}
	if errors.Is(err, remote.ErrRootGone) || errors.Is(err, remote.ErrUnavailable) {
		err = &unreachable{err}
	}
	if err != nil {
		return st, caps, fmt.Errorf("endpoint %s: %w", endpoint, err)
	}
	return st, caps, nil
}

// disjoint refuses an endpoint that another conduit has, or that contains or lies in one.
func (e *Engine) disjoint(endpoint, identity string) error {
	for _, l := range e.current() {
		row, err := l.row()
		if err != nil {
			return err
		}
		a, b := strings.TrimPrefix(endpoint, "dir:"), strings.TrimPrefix(row.Endpoint, "dir:")
		name := l.conduitRow().Name
		switch {
		case a == b || identity != "" && identity == row.Identity:
			return invalid("%s is the endpoint of conduit %s already", endpoint, name)
		case strings.HasPrefix(a+"/", strings.TrimSuffix(b, "/")+"/"):
			return invalid("%s lies inside %s, the endpoint of conduit %s", endpoint, row.Endpoint, name)
		case strings.HasPrefix(b+"/", strings.TrimSuffix(a, "/")+"/"):
			return invalid("%s contains %s, the endpoint of conduit %s", endpoint, row.Endpoint, name)
		}
	}
	return nil
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func createConduit(tx *cache.Tx, cd *cache.Conduit, at, endpoint string, st remote.Status, caps remote.Caps) error {
	dir, err := makeDirs(tx, at)
	if err != nil {
		return err
	}
	if cd.Place, err = tx.EnsurePlace(dir.Ino); err != nil {
		return err
	}
	if all, err := tx.LegsOf(cd.Place); err != nil || len(all) > 0 {
		return errors.Join(err, cache.ErrBusy)
	}
	legs := []cache.Leg{{Endpoint: endpoint, Identity: st.Epoch}}
	if err := tx.CreateConduit(cd, legs); err != nil {
		return err
	}
	root := cache.Binding{Leg: legs[0].ID, Dentry: dir.ID, RemoteID: rootID, Kind: cache.Dir}
	if caps.StableID {
		root.RemoteID = string(st.Root)
	}
	if err := tx.PutBinding(&root); err != nil {
		return err
	}
	if n, err := tx.ChildCount(dir.Ino); err != nil {
		return err
	} else if n == 0 {
		if err := tx.SetListing(dir.Ino, cache.Unlisted); err != nil {
			return err
		}
	}
	if cd.Policy != PolicySynchronize {
		return nil
	}
	return tx.SetIntent(dir.ID, cache.Pinned) // content is kept
}

// makeDirs finds a directory of the drive and makes what is missing of its path.
func makeDirs(tx *cache.Tx, at string) (cache.Entry, error) {
	dir, err := tx.Entry(cache.RootDentry)
	if err != nil {
		return dir, err
	}
	for _, name := range strings.Split(strings.Trim(at, "/"), "/") {
		if name == "" {
			continue
		}
		child, ok, err := tx.EntryAt(dir.Ino, name)
		switch {
		case err != nil:
			return dir, err
		case ok && child.Node.Kind != cache.Dir:
			return dir, cache.ErrNotDir
		case ok:
			dir = child
			continue
		case dir.Node.Listing != cache.Listed:
			return dir, fmt.Errorf("%s is not listed yet: look into it once and try again: %w", at, cache.ErrNotListed)
		}
		n := dir.Node
		now := tx.Now()
		ino, err := tx.InsertNode(cache.Node{
			Kind: cache.Dir, Mode: defaultDirMode, UID: n.UID, GID: n.GID, Atime: now, Mtime: now, Ctime: now, Btime: now,
			Listing: cache.Listed, Place: n.Place,
		})
		if err != nil {
			return dir, err
		}
		id, err := tx.InsertDentry(dir.Ino, name, ino)
		if err != nil {
			return dir, err
		}
		if dir, err = tx.Entry(id); err != nil {
			return dir, err
		}
	}
	return dir, nil
}

// rederive makes items for what the drive holds already at a new conduit's place.
func (e *Engine) rederive(cd cache.Conduit) error {
	return e.eachLeg(cd.ID, func(row cache.Leg) error {
		for pos := (cache.RederivePos{}); !pos.Done; {
			err := e.Cache.Update(0, func(tx *cache.Tx) (err error) {
				pos, err = tx.Rederive(row.ID, pos, batchSize)
				return err
			})
			if err != nil {
				return fmt.Errorf("plan conduit %s: %w", cd.Name, err)
			}
		}
		return nil
	})
}

func (e *Engine) eachLeg(id cache.ConduitID, do func(cache.Leg) error) error {
	var legs []cache.Leg
	err := e.Cache.View(func(tx *cache.Tx) (err error) {
		legs, err = tx.LegsOfConduit(id)
		return err
	})
	for _, row := range legs {
		if err != nil {
			return err
		}
		err = do(row)
	}
	return err
}

func awayText(files, unlisted int64) string {
	if unlisted > 0 {
		return "some of its directories were never looked into"
	}
	return fmt.Sprintf("%d of its files are not on this machine", files)
}

// DeleteConduit forgets a conduit; no file is touched on either side. Files
// whose bytes only its endpoint has would be lost to the drive: unless force is
// set their presence refuses it.
func (e *Engine) DeleteConduit(_ context.Context, name string, force bool) error {
	var cd cache.Conduit
	refuse := func(tx *cache.Tx) (err error) {
		var ok bool
		if cd, ok, err = tx.ConduitByName(name); err != nil || !ok {
			return errors.Join(err, ErrUnknownConduit)
		}
		if force {
			return nil
		}
		files, unlisted, err := tx.CountAway(cd.Place)
		if err == nil && files+unlisted > 0 {
			err = fmt.Errorf("%s; --hydrate fetches them first, --force leaves them behind: %w", awayText(files, unlisted), ErrRefused)
		}
		return err
	}
	if err := e.Cache.View(refuse); err != nil {
		return fmt.Errorf("conduit %s: %w", name, err)
	}
	for _, l := range e.current() {
		if l.conduitRow().ID == cd.ID {
			l.interrupt()
		}
	}
	err := e.Cache.Update(0, func(tx *cache.Tx) error {
		if err := refuse(tx); err != nil {
			return err // offloaded a moment ago
		}
		return tx.DeleteConduit(cd.ID)
	})
	if err != nil {
		return fmt.Errorf("conduit %s: %w", name, err)
	}
	return e.reload()
}
