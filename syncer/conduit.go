package syncer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"vdfs/cache"
	"vdfs/cache/event"
	"vdfs/syncer/plan"
)

// The names under which policies and the default strategy are stored.
const (
	PolicyOffload        = "offload"
	PolicySynchronize    = "synchronize"
	PolicyReplicate      = "replicate"
	PolicyArchive        = "archive"
	StrategyConflictFile = "conflict-file"

	defaultParallel = 3
	maxParallel     = 64
)

// drivePrefix begins the name of a directory of the drive where an endpoint is named.
const drivePrefix = "drive:"

// Spec says what conduit to make.
type Spec struct {
	Name, Source, Target string
	Policy               string
	At                   string       // directory of the drive; "": where Source or Target says, else one named after the conduit
	Strategy, Cadence    string       // "": the default
	Rules                []cache.Rule // strategies for the names that fit a pattern
	KeepExtra            bool         // replicate: the target keeps what the source does not have, or not any more
	Parallel             int          // copies at once; 0: the default
	Bandwidth            int64        // bytes a second, up and down; 0: no limit
	UseIndexRules        *bool        // nil: what rules ignore is left out
}

// settings are what of a spec can be changed later.
func (s Spec) settings() Settings {
	out := Settings{Rules: &s.Rules, UseIndexRules: s.UseIndexRules}
	if s.Strategy != "" {
		out.Strategy = &s.Strategy
	}
	if s.Cadence != "" {
		out.Cadence = &s.Cadence
	}
	if s.KeepExtra {
		out.KeepExtra = &s.KeepExtra
	}
	if s.Parallel != 0 {
		out.Parallel = &s.Parallel
	}
	if s.Bandwidth != 0 {
		out.Bandwidth = &s.Bandwidth
	}
	return out
}

// draft is a conduit to be made.
type draft struct {
	cd    cache.Conduit
	at    string
	legs  []cache.Leg // source first
	roots []string    // of the endpoints, as remote ids
	rules []cache.Rule
}

// draft checks a spec against everything but the endpoints and the drive.
func (s Spec) draft() (*draft, error) {
	d := &draft{cd: cache.Conduit{
		Name: s.Name, Source: s.Source, Target: s.Target, Enabled: true, Parallel: defaultParallel, UseIndexRules: true,
		Strategy: StrategyConflictFile, Cadence: CadenceInstant,
	}}
	if err := checkName(s.Name); err != nil {
		return nil, err
	}
	policy, err := plan.ParsePolicy(s.Policy)
	if err != nil {
		return nil, invalid("policy %q: choose synchronize, offload, replicate or archive", s.Policy)
	}
	d.cd.Policy = policy.String()
	if err := d.join(s, policy); err != nil {
		return nil, err
	}
	d.rules, err = s.settings().apply(&d.cd)
	return d, err
}

func checkName(name string) error {
	if name == "" || strings.ContainsAny(name, "/\x00\n") {
		return invalid("a conduit needs a name without slashes")
	}
	return nil
}

// join finds out which endpoints the conduit joins to which directory of the drive.
func (d *draft) join(s Spec, policy plan.Policy) error {
	from, fromDrive := strings.CutPrefix(s.Source, drivePrefix)
	to, toDrive := strings.CutPrefix(s.Target, drivePrefix)
	switch {
	case fromDrive && toDrive:
		return invalid("source and target are both in the drive: one must be a storage")
	case policy == plan.Offload && !fromDrive:
		return invalid("offload needs the drive as source; to move files from %s into long-term storage the policy is archive", s.Source)
	case policy == plan.Archive && toDrive:
		return invalid("archive gives up the files at %s only when another storage has proved to keep them: name that one as target, and where the drive shows them with --at", s.Source)
	}
	at := cmp.Or(s.At, s.Name)
	if fromDrive || toDrive {
		if at = from; toDrive {
			at = to
		}
		if s.At != "" && path.Clean("/"+s.At) != path.Clean("/"+at) {
			return invalid("a conduit has one directory of the drive, not %s and %s", path.Clean("/"+at), path.Clean("/"+s.At))
		}
	}
	d.at = path.Clean("/" + at)
	if !fromDrive {
		d.legs = append(d.legs, cache.Leg{Role: cache.RoleSource, Endpoint: s.Source})
	}
	if !toDrive {
		d.legs = append(d.legs, cache.Leg{Role: cache.RoleTarget, Endpoint: s.Target})
	}
	return nil
}

// oneWay reports whether a conduit only feeds its place: what is in it is the source's, and programs change nothing there.
func oneWay(cd cache.Conduit) bool {
	return !strings.HasPrefix(cd.Source, drivePrefix) && (cd.Policy == PolicyReplicate || cd.Policy == PolicyArchive)
}

// onlyTakes reports whether a conduit brings nothing into its place.
func onlyTakes(cd cache.Conduit) bool {
	return strings.HasPrefix(cd.Source, drivePrefix) && cd.Policy == PolicyReplicate
}

// CreateConduit joins one or two endpoints to a directory of the drive. It checks that they answer and belong to no other
// conduit before anything changes. Where there are files on more than one side, the first contact brings them together.
func (e *Engine) CreateConduit(ctx context.Context, s Spec) (cache.Conduit, error) {
	e.making.Lock()
	defer e.making.Unlock()
	d, err := e.drafted(ctx, s)
	if err != nil {
		return cache.Conduit{}, err
	}
	err = e.Cache.Update(0, func(tx *cache.Tx) error {
		if err := d.create(tx); err != nil || d.cd.UseIndexRules {
			return err
		}
		return e.judgeLate(tx)
	})
	if err != nil {
		return d.cd, d.refusal(err)
	}
	err = e.reload()
	e.tellConduit(event.ConduitCreated, d.cd)
	return d.cd, err
}

// completed is a spec with what nobody said in it as it was configured.
func (e *Engine) completed(s Spec) Spec {
	s.Strategy = cmp.Or(s.Strategy, e.Strategy)
	s.Parallel = cmp.Or(s.Parallel, e.Options.Parallel)
	if s.Rules == nil {
		s.Rules = e.Rules
	}
	return s
}

// drafted is the draft of a spec whose endpoints were looked at.
func (e *Engine) drafted(ctx context.Context, s Spec) (*draft, error) {
	d, err := e.completed(s).draft()
	if err != nil {
		return nil, err
	}
	if err := e.canMerge(d.cd, d.rules); err != nil {
		return nil, err
	}
	if err := e.disjoint(d); err != nil {
		return nil, err
	}
	for i := range d.legs {
		st, caps, err := e.probe(ctx, d.legs[i].Endpoint)
		if err != nil {
			return nil, err
		}
		d.legs[i].Identity = st.Epoch
		root := rootID
		if caps.StableID {
			root = string(st.Root)
		}
		d.roots = append(d.roots, root)
	}
	d.cd.UUID = newUUID()
	return d, e.disjoint(d) // by what they call themselves, too
}

// refusal says for a person why the drive did not take the conduit.
func (d *draft) refusal(err error) error {
	var known *InvalidError
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, cache.ErrExists):
		return invalid("a conduit named %s exists already", d.cd.Name)
	case errors.Is(err, cache.ErrInvalid):
		return invalid("%s cannot become the place of a conduit: the conduit of the directory around it syncs it already; choose a new directory", d.at)
	case errors.Is(err, cache.ErrNotDir):
		return invalid("%s is not a directory of the drive", d.at)
	}
	return fmt.Errorf("create conduit %s: %w", d.cd.Name, err)
}

// create makes the conduit, and of its directory what is missing, in one transaction.
func (d *draft) create(tx *cache.Tx) error {
	dir, err := makeDirs(tx, d.at)
	if err != nil {
		return err
	}
	if d.cd.Place, err = tx.EnsurePlace(dir.Ino); err != nil {
		return err
	}
	others, err := conduitsAt(tx, d.cd.Place)
	if err != nil {
		return err
	}
	if err := d.goesWith(others); err != nil {
		return err
	}
	if err := tx.CreateConduit(&d.cd, d.legs); err != nil {
		return err
	}
	if err := tx.SetRules(d.cd.ID, d.rules); err != nil {
		return err
	}
	for i, l := range d.legs {
		root := cache.Binding{Leg: l.ID, Dentry: dir.ID, RemoteID: d.roots[i], Kind: cache.Dir}
		if err := errors.Join(tx.PutBinding(&root), beginDerive(tx, l.ID)); err != nil {
			return err
		}
	}
	return d.begin(tx, dir, len(others) == 0)
}

// begin decides how the directory of a new conduit is from now on. What the first one of a place wants holds: for others it is
// known what is here, and whether its content is kept.
func (d *draft) begin(tx *cache.Tx, dir cache.Entry, first bool) error {
	n, err := tx.ChildCount(dir.Ino)
	if err != nil {
		return err
	}
	if n > 0 && oneWay(d.cd) {
		return invalid("%s has files already, and would only show those of %s: choose a new directory", d.at, d.cd.Source)
	}
	if err := settlePlace(tx, d.cd.Place); err != nil {
		return err
	}
	if !first {
		return nil
	}
	if n == 0 && !onlyTakes(d.cd) { // nobody can tell yet what is in it
		if err := tx.SetListing(dir.Ino, cache.Unlisted); err != nil {
			return err
		}
	}
	if d.cd.Policy != PolicySynchronize && d.cd.Policy != PolicyReplicate || len(d.legs) > 1 {
		return nil
	}
	return tx.SetIntent(dir.ID, cache.Pinned) // content is kept
}

// conduitsAt are the conduits that work at a place.
func conduitsAt(tx *cache.Tx, place cache.PlaceID) (out []cache.Conduit, err error) {
	all, err := tx.Conduits()
	for _, cd := range all {
		if cd.Place == place {
			out = append(out, cd)
		}
	}
	return out, err
}

// goesWith refuses a conduit that cannot work beside others at one place: nothing that is done in a place which is fed one way
// has a way back to where its files come from.
func (d *draft) goesWith(others []cache.Conduit) error {
	for _, o := range others {
		switch {
		case oneWay(d.cd) && !onlyTakes(o):
			return invalid("%s is the place of conduit %s: files that only come from %s need a directory of their own, see --at", d.at, o.Name, d.cd.Source)
		case oneWay(o) && !onlyTakes(d.cd):
			return invalid("%s is fed one way by conduit %s: only a conduit with policy replicate and the drive as source can work there, too", d.at, o.Name)
		}
	}
	return nil
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
		if dir, err = tx.MakeDir(dir.Ino, name, dir.Node.UID, dir.Node.GID); err != nil {
			return dir, err
		}
	}
	return dir, nil
}

// awayText says what of a conduit's files the drive would miss without it, and where that is, now and afterwards.
func awayText(tx *cache.Tx, cd cache.Conduit, files, unlisted int64) (string, error) {
	legs, err := tx.LegsOfConduit(cd.ID)
	if err != nil {
		return "", err
	}
	var at []string
	for _, l := range legs {
		if len(legs) == 1 || l.Role == cache.RoleTarget || cd.Policy != PolicyArchive { // whose source gives up what it has
			at = append(at, l.Endpoint)
		}
	}
	where := strings.Join(at, " and at ")
	if unlisted > 0 {
		return "some of its directories were never looked into; what is in them stays at " + where, nil
	}
	return fmt.Sprintf("%d of its files are not on this machine; they stay at %s", files, where), nil
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
		files, unlisted, err := tx.CountAway(cd)
		if err != nil || files+unlisted == 0 {
			return err
		}
		what, err := awayText(tx, cd, files, unlisted)
		if err != nil {
			return err
		}
		return fmt.Errorf("%s, but the drive would not know where: --hydrate fetches them first, --force leaves names without content here: %w", what, ErrRefused)
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
		return forget(tx, cd)
	})
	if err != nil {
		return fmt.Errorf("conduit %s: %w", name, err)
	}
	e.tellConduit(event.ConduitDeleted, cd)
	return e.reload()
}

// forget deletes a conduit with all that was kept for it.
func forget(tx *cache.Tx, cd cache.Conduit) error {
	legs, err := tx.LegsOfConduit(cd.ID)
	if err != nil {
		return err
	}
	for _, l := range legs {
		if err := endDerive(tx, l.ID); err != nil {
			return err
		}
	}
	if err := errors.Join(tx.DeleteConduit(cd.ID), endRuns(tx, cd.ID)); err != nil {
		return err
	}
	return settlePlace(tx, cd.Place)
}

// mergeMax is the size of the largest file that is merged.
const mergeMax = 1 << 20

// merges reports whether some file of a conduit may have to be merged.
func merges(cd cache.Conduit, rules []cache.Rule) bool {
	merge := plan.Merge.String()
	return cd.Strategy == merge || slices.ContainsFunc(rules, func(r cache.Rule) bool { return r.Strategy == merge })
}

// canMerge refuses a conduit whose files would have to be merged where there is nobody to do it.
func (e *Engine) canMerge(cd cache.Conduit, rules []cache.Rule) error {
	if e.Merge == nil && merges(cd, rules) {
		return invalid("strategy merge: this version cannot merge; use conflict-file")
	}
	return nil
}

// settlePlace has the cache treat a place as its conduits ask for: whether programs may change something in it, and whether
// files are merged.
func settlePlace(tx *cache.Tx, place cache.PlaceID) error {
	all, err := conduitsAt(tx, place)
	if err != nil {
		return err
	}
	fed, limit := false, int64(0)
	for _, cd := range all {
		rules, err := tx.Rules(cd.ID)
		if err != nil {
			return err
		}
		fed = fed || oneWay(cd)
		if merges(cd, rules) {
			limit = mergeMax
		}
	}
	return errors.Join(tx.SetPlaceReadOnly(place, fed), tx.SetPlaceMerges(place, limit))
}
