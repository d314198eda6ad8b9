package syncer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"vdfs/cache"
	"vdfs/syncer/remote"
)

// Version is what a path of the drive once had, or one side of it has, and can have again.
type Version struct {
	Path    string // in the drive, as it was called then
	Kind    cache.Kind
	Size    int64
	Mtime   int64  // nanoseconds since 1970
	Mode    uint32 // as in remote.Attr
	Target  string // of a symlink
	Hash    cache.Hash
	born    int64 // it came into the drive; 0: not known
	When    int64 // it went; of a version that is to go: it was to
	Deleted bool  // the path was to be empty then
	Why     string
	Conduit string // by whose work it went, or whose endpoint has it; "": none
	From    string // the endpoint that has it; "": the drive

	by     *leg // whose moves it took part in; nil: of any of its place
	copied bool // what the trash has of it stays there
	// Where its bytes are: a row of the drive's trash, a file of the drive, an item in an endpoint's trash, or, by its remote
	// id, an object that the endpoint still has.
	trash    int64
	node     cache.Node
	l        *leg
	item     remote.ItemID
	remoteID string
	content  string
}

// Away is an endpoint that may have versions of a path, and cannot be asked.
type Away struct {
	Conduit, Endpoint string
	Err               error
}

// Versions are what a path can have again.
type Versions struct {
	// Dir tells that the path is, or was, a directory. Then each choice is what was deleted in it at one time.
	Dir     bool
	Choices []Choice // the newest first
	Away    []Away
	all     []Version // in the same order, also those at other paths below it
}

// Choice is a version of a file, or those of the files that were deleted in a directory at one time.
type Choice struct {
	Version
	Files int
	Since int64 // when the first of them went
	parts []Version
}

// burst is how long after one deletion another one belongs to the same, in a directory.
const burst = time.Minute

// errOwnTrash: an endpoint keeps what is deleted in a trash that cannot be looked into from here.
var errOwnTrash = errors.New("what it keeps of deleted files is listed there only")

// Versions finds what a path can have again: in the drive's trash, beside it as a conflict file, at endpoints that do not have
// what was done last, and in their trash. An endpoint that is away is named and no error.
func (e *Engine) Versions(ctx context.Context, file string) (*Versions, error) {
	s := search{e: e, file: file, out: &Versions{}, present: map[string]bool{}}
	err := e.Cache.View(s.here)
	if err == nil {
		err = s.there(ctx)
	}
	if err == nil {
		err = e.Cache.View(s.shown)
	}
	if err != nil {
		return nil, fmt.Errorf("look for versions of %s: %w", file, err)
	}
	slices.SortStableFunc(s.out.all, func(a, b Version) int { return cmp.Compare(b.When, a.When) })
	s.choose()
	return s.out, nil
}

// search looks for the versions of one path.
type search struct {
	e       *Engine
	file    string
	since   int64        // the time whose paths count; 0: now
	files   []string     // where in the drive something may be since that was at or below the path then
	entry   *cache.Entry // what the path names now; nil: nothing that is known
	reaches []reach
	losers  []VersionInfo   // what endpoints had in conflicts that a strategy decided
	asides  []string        // the paths of its conflict files
	present map[string]bool // paths of versions that name something now
	out     *Versions
}

// reach is a leg that the path, or something below it, belongs to.
type reach struct {
	l      *leg
	root   string   // the directory of the drive that the leg works on
	under  string   // the path as the endpoint calls it
	past   past     // its moves since the time that is asked for
	unders []string // where at the endpoint something may be since that was at or below the path then
}

// here is a path of the drive by what the endpoint calls it, there the inverse.
func (r reach) here(p string) string { return strings.TrimSuffix(r.root, "/") + "/" + p }

func (r reach) there(p string) string { return strings.Trim(strings.TrimPrefix(p, r.root), "/") }

// within reports whether a path is a directory or below it.
func within(p, dir string) bool {
	return dir == "/" || p == dir || strings.HasPrefix(p, dir+"/")
}

func (s *search) add(v Version) { s.out.all = append(s.out.all, v) }

// here finds what the index knows of.
func (s *search) here(tx *cache.Tx) error {
	found, err := tx.Resolve(s.file)
	switch {
	case err == nil:
		s.entry = &found
	case !isAny(err, []error{cache.ErrNotFound, cache.ErrNotListed, cache.ErrNotDir}):
		return err
	}
	if err := s.find(tx); err != nil {
		return err
	}
	if err := s.follow(tx); err != nil {
		return err
	}
	if err := s.conflicts(tx); err != nil {
		return err
	}
	for _, p := range slices.Concat(s.files, s.asides) {
		if err := s.trashed(tx, p); err != nil {
			return err
		}
	}
	for _, r := range s.reaches {
		if err := s.leaving(tx, r.l); err != nil {
			return err
		}
	}
	if s.entry == nil || s.entry.Node.Kind == cache.Dir || s.since != 0 {
		return nil
	}
	return s.unsent(tx, *s.entry, s.file)
}

// follow finds where something may be now that had the path, or one below it, at the time that is asked for.
func (s *search) follow(tx *cache.Tx) error {
	s.files = []string{s.file}
	for i := range s.reaches {
		r := &s.reaches[i]
		if s.since != 0 {
			moves, err := tx.MovesSince(r.l.id, s.since)
			if err != nil {
				return err
			}
			r.past = moves
		}
		r.unders = r.past.ahead(r.under, s.since)
		for _, p := range r.unders {
			if at := r.here(p); p != r.under && !s.covers(at) {
				s.files = append(s.files, at)
			}
		}
	}
	return nil
}

// covers reports whether a path is at or below one of those that are looked at.
func (s *search) covers(p string) bool {
	return slices.ContainsFunc(s.files, func(f string) bool { return within(p, f) })
}

// find finds the legs of the path.
func (s *search) find(tx *cache.Tx) error {
	places, err := tx.Places()
	if err != nil {
		return err
	}
	roots, around := map[cache.PlaceID]string{}, cache.PlaceID(0)
	for id, ino := range places {
		d, err := tx.DentryOf(ino)
		if err != nil {
			return err
		}
		if roots[id], err = tx.Path(d.ID); err != nil {
			return err
		}
		if within(s.file, roots[id]) && (around == 0 || len(roots[id]) > len(roots[around])) {
			around = id
		}
	}
	for _, l := range s.e.current() {
		root := roots[l.place]
		switch {
		case root == "":
		case l.place == around:
			s.reaches = append(s.reaches, reach{l: l, root: root, under: strings.Trim(strings.TrimPrefix(s.file, root), "/")})
		case within(root, s.file):
			s.reaches = append(s.reaches, reach{l: l, root: root})
		}
	}
	slices.SortFunc(s.reaches, func(a, b reach) int { return cmp.Compare(a.l.id, b.l.id) })
	return nil
}

// trashed finds what the drive's trash has of the path, or of a conflict file of it.
func (s *search) trashed(tx *cache.Tx, p string) error {
	for after := int64(0); ; {
		rows, err := tx.TrashOf(p, after, pageSize)
		if err != nil {
			return err
		}
		for _, row := range rows {
			after = row.ID
			v := Version{
				Path: s.own(row.Path), Kind: row.Kind, Size: row.Size, Mtime: row.Mtime, Mode: remote.KnownMode(row.Mode), Target: row.Target, Hash: row.Hash,
				When: row.Created, Why: row.Reason, Deleted: row.Reason == deletedThere, trash: row.ID, born: row.Born,
			}
			if l := s.e.leg(row.Leg); l != nil {
				v.Conduit, v.by = l.conduitRow().Name, l
			}
			s.add(v)
		}
		if len(rows) < pageSize {
			return nil
		}
	}
}

// own is the path that a version is of: a conflict file's is one of the file that it was made of.
func (s *search) own(p string) string {
	if slices.Contains(s.asides, p) {
		return s.file
	}
	return p
}

// leaving finds what was deleted in the drive, and the endpoint still has.
func (s *search) leaving(tx *cache.Tx, l *leg) error {
	for after := cache.BindingID(0); ; {
		rows, err := tx.LeavingPage(l.id, after, pageSize)
		if err != nil {
			return err
		}
		for _, b := range rows {
			after = b.ID
			if b.Kind != cache.File && b.Kind != cache.Symlink {
				continue
			}
			p, err := l.itemPath(tx, cache.Item{Leg: l.id, Binding: b.ID, RemoteID: b.RemoteID})
			if err != nil {
				return err
			}
			if s.covers(p) {
				if err := s.stillThere(tx, l, b.Binding, Version{Path: p, When: b.Since, Deleted: true, Why: "deleted here, not there yet"}); err != nil {
					return err
				}
			}
		}
		if len(rows) < pageSize {
			return nil
		}
	}
}

// unsent finds the version that an endpoint has of a file that was changed in the drive since.
func (s *search) unsent(tx *cache.Tx, e cache.Entry, at string) error {
	all, err := tx.BindingsOf(e.ID)
	if err != nil {
		return err
	}
	items, err := tx.OpenItemsOf(e.ID)
	if err != nil {
		return err
	}
	n := e.Node
	for _, b := range all {
		l := s.e.leg(b.Leg)
		if l == nil || b.LocalVersion == n.Version && !n.Writing || n.Hash.Known() && n.Hash == b.Hash && !n.Writing {
			continue
		}
		v := Version{Path: at, When: n.Mtime, Why: "overwritten here, not there yet"}
		for _, it := range items {
			if it.Leg == b.Leg {
				v.When = it.Created
			}
		}
		if err := s.stillThere(tx, l, b, v); err != nil {
			return err
		}
	}
	return nil
}

// stillThere adds the version that a base says the endpoint has, if it has not changed since.
func (s *search) stillThere(tx *cache.Tx, l *leg, b cache.Binding, v Version) error {
	o, err := l.object(tx, b.RemoteID)
	if err != nil || o == nil || o.Gone || o.Content != b.Content {
		return err
	}
	v.Kind, v.Size, v.Mtime, v.Mode, v.Target, v.Hash = o.Kind, o.Size, o.Mtime, o.Mode, o.Target, o.Hash
	v.Conduit, v.From, v.l, v.by, v.remoteID, v.content = l.conduitRow().Name, l.target, l, l, b.RemoteID, o.Content
	s.add(v)
	return nil
}

// conflicts finds the conflict files that the path has and had, and which versions lost.
func (s *search) conflicts(tx *cache.Tx) error {
	for after := int64(0); ; {
		rows, err := tx.Conflicts("", after, pageSize)
		if err != nil {
			return err
		}
		for _, row := range rows {
			after = row.ID
			same := s.entry != nil && row.Dentry == s.entry.ID
			if row.Path != s.file && !same {
				continue
			}
			if row.ConflictPath != "" && row.ConflictPath != s.file && !slices.Contains(s.asides, row.ConflictPath) {
				s.asides = append(s.asides, row.ConflictPath)
			}
			var theirs VersionInfo
			if row.ConflictPath == "" && json.Unmarshal([]byte(row.RemoteInfo), &theirs) == nil {
				s.losers = append(s.losers, theirs)
			}
			if row.State != cache.ConflictOpen || row.Conflict == 0 || !same {
				continue
			}
			beside, err := tx.Entry(row.Conflict)
			if errors.Is(err, cache.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			n := beside.Node
			if n.Kind != cache.File {
				continue
			}
			s.add(Version{
				Path: s.file, Kind: n.Kind, Size: n.Size, Mtime: n.Mtime, Mode: remote.KnownMode(n.Mode), Hash: n.Hash, When: row.Created,
				Why: "lost a conflict: " + beside.Name, node: n,
			})
		}
		if len(rows) < pageSize {
			return nil
		}
	}
}

// there asks the endpoints for what is in their trash.
func (s *search) there(ctx context.Context) error {
	for _, r := range s.reaches {
		err := s.trashThere(ctx, r)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			s.out.Away = append(s.out.Away, Away{r.l.conduitRow().Name, r.l.target, err})
		}
	}
	return nil
}

func (s *search) trashThere(ctx context.Context, r reach) error {
	ep, err := r.l.online(ctx)
	if err != nil {
		return err
	}
	caps := ep.Caps()
	if !caps.ListTrash {
		if caps.Trash || caps.Versions {
			return errOwnTrash
		}
		return nil
	}
	for _, under := range r.unders {
		if err := s.trashAt(ctx, ep, r, under); err != nil {
			return err
		}
	}
	for _, p := range s.asides {
		if within(p, r.root) {
			if err := s.trashAt(ctx, ep, r, r.there(p)); err != nil {
				return err
			}
		}
	}
	return nil
}

// trashAt reads what an endpoint's trash has of a path there.
func (s *search) trashAt(ctx context.Context, ep remote.Endpoint, r reach, under string) error {
	for page := ""; ; {
		items, next, err := ep.Trash(ctx, under, page)
		if err != nil {
			return r.l.readFailed(err)
		}
		for _, it := range items {
			if it.Kind == remote.File || it.Kind == remote.Symlink {
				s.add(s.thrown(r, it))
			}
		}
		if page = next; page == "" {
			return nil
		}
	}
}

// thrown is a version in an endpoint's trash.
func (s *search) thrown(r reach, it remote.Trashed) Version {
	cd := r.l.conduitRow()
	at := r.here(it.Path)
	v := Version{
		Path: s.own(at), Kind: cache.File, Size: it.Size, Mode: it.Mode, Target: it.Target,
		When: it.When.UnixNano(), Deleted: it.Deleted, Why: "overwritten", Conduit: cd.Name, From: r.l.target, l: r.l, by: r.l, item: it.ID,
	}
	if it.Kind == remote.Symlink {
		v.Kind = cache.Symlink
	}
	if !it.Mtime.IsZero() {
		v.Mtime = it.Mtime.UnixNano()
	}
	if it.Deleted {
		v.Why = "deleted"
	}
	switch {
	case it.Deleted && releases(rulesOf(cd, r.l.role)):
		v.Why = "released"
	case cd.Policy == PolicyReplicate:
		v.Why += " by replicate"
	case v.Path != at, !it.Deleted && v.Path == s.file && slices.ContainsFunc(s.losers, func(i VersionInfo) bool { return i.Size == v.Size && i.Mtime == v.Mtime }):
		v.Why = "lost a conflict"
	}
	return v
}

// shown finds which paths of versions name something now.
func (s *search) shown(tx *cache.Tx) error {
	for _, v := range s.out.all {
		if _, known := s.present[v.Path]; known {
			continue
		}
		_, err := tx.Resolve(v.Path)
		switch {
		case err == nil:
			s.present[v.Path] = true
		case isAny(err, []error{cache.ErrNotFound, cache.ErrNotListed, cache.ErrNotDir}):
			s.present[v.Path] = false
		default:
			return err
		}
	}
	return nil
}

// choose makes of the versions what a person chooses from.
func (s *search) choose() {
	var own []Choice
	var gone []Version
	for _, v := range s.out.all {
		switch {
		case v.Path == s.file:
			own = append(own, Choice{Version: v, Files: 1, Since: v.When, parts: []Version{v}})
		case v.Deleted && !s.present[v.Path]:
			gone = append(gone, v)
		}
	}
	switch {
	case s.entry != nil:
		s.out.Dir = s.entry.Node.Kind == cache.Dir
	case len(own) == 0:
		s.out.Dir = len(gone) > 0
	case len(gone) > 0:
		s.out.Dir = gone[0].When > own[0].When
	}
	s.out.Choices = own
	if s.out.Dir {
		s.out.Choices = s.bursts(gone)
	}
}

// bursts groups what was deleted, the newest first, by when it was. Of a path that went twice at one time the last counts.
func (s *search) bursts(gone []Version) (out []Choice) {
	var seen map[string]bool
	for _, v := range gone {
		if len(out) == 0 || out[len(out)-1].Since-v.When > int64(burst) {
			seen = map[string]bool{}
			out = append(out, Choice{Version: Version{Path: s.file, Kind: cache.Dir, When: v.When, Deleted: true, Why: "deleted", Conduit: v.Conduit, From: v.From}})
		}
		c := &out[len(out)-1]
		c.Since = v.When
		if seen[v.Path] {
			continue
		}
		seen[v.Path] = true
		c.Files++
		c.Size += v.Size
		c.Mtime = max(c.Mtime, v.Mtime)
		c.parts = append(c.parts, v)
	}
	return out
}
