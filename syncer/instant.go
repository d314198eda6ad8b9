package syncer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"vdfs/cache"
	"vdfs/syncer/remote"
)

// instant is what a path, or all paths in a directory, had at a time.
type instant struct {
	search
	at    int64
	whole bool               // also what is as it was then
	found map[string]Version // by the path then
}

// instantOf finds out what a path had at a time, as far as that is kept: of each path the version that went first after it, or
// what is live and did not go. What was made later is left out, as far as it can be told: by its own time, by when it came into
// the drive, and by what has moved away from its path since.
func (e *Engine) instantOf(ctx context.Context, file string, at int64, whole bool) (*instant, error) {
	m := &instant{search: search{e: e, file: file, since: at, out: &Versions{}, present: map[string]bool{}}, at: at, whole: whole, found: map[string]Version{}}
	err := e.Cache.View(m.here)
	if err == nil {
		err = m.there(ctx)
	}
	for _, p := range m.files {
		if err == nil {
			err = m.live(ctx, p)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("look for versions of %s: %w", file, err)
	}
	for _, v := range m.out.all {
		if then, ok := m.then(v); ok && within(then, file) {
			m.offer(then, v)
		}
	}
	for then, v := range m.found {
		if v.Mtime > at || v.born > at || v.When == math.MaxInt64 && !whole && then == v.Path {
			delete(m.found, then)
		}
	}
	return m, nil
}

// offer takes into account that a path had a version until its When.
func (m *instant) offer(then string, v Version) {
	if had, ok := m.found[then]; v.When > m.at && (!ok || v.When < had.When) {
		m.found[then] = v
	}
}

// then is the path at the time of what went as a version later; false: it was not there yet.
func (m *instant) then(v Version) (string, bool) {
	for _, r := range m.reaches {
		if v.by != nil && v.by != r.l || !within(v.Path, r.root) {
			continue
		}
		p, ok := r.past.back(r.there(v.Path), v.When, m.at)
		return r.here(p), ok
	}
	return v.Path, true
}

// live adds what is at or below a path of the drive now, and of what was changed in it and not sent yet what is there still.
func (m *instant) live(ctx context.Context, at string) error {
	top, err := m.e.reveal(ctx, at)
	if err != nil || top.ID == 0 {
		return err
	}
	if top.Node.Kind != cache.Dir {
		return m.liveFile(top, at)
	}
	type dir struct {
		ino  cache.Ino
		path string
	}
	for todo := []dir{{top.Ino, at}}; len(todo) > 0; {
		d := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for after := cache.DentryID(0); ; {
			page, err := m.e.Cache.ReadDirAll(d.ino, after, pageSize)
			if errors.Is(err, cache.ErrNotListed) {
				if !m.whole { // nothing in it was ever here, so nothing was changed
					break
				}
				if err = m.e.List(ctx, d.ino); err == nil {
					page, err = m.e.Cache.ReadDirAll(d.ino, after, pageSize)
				}
			}
			if err != nil {
				return err
			}
			for _, e := range page {
				after = e.ID
				p := strings.TrimSuffix(d.path, "/") + "/" + e.Name
				switch {
				case e.Hidden():
				case e.Node.Kind == cache.Dir:
					todo = append(todo, dir{e.Ino, p})
				default:
					if err := m.liveFile(e, p); err != nil {
						return err
					}
				}
			}
			if len(page) < pageSize {
				break
			}
		}
	}
	return nil
}

func (m *instant) liveFile(e cache.Entry, at string) error {
	n := e.Node
	if n.Kind != cache.File && n.Kind != cache.Symlink {
		return nil
	}
	why := "it has that still"
	v := Version{
		Path: at, Kind: n.Kind, Size: n.Size, Mtime: n.Mtime, Mode: remote.KnownMode(n.Mode), Target: n.Target, Hash: n.Hash, When: math.MaxInt64, Why: why, node: n, born: n.Btime,
	}
	m.add(v)
	return m.e.Cache.View(func(tx *cache.Tx) error { return m.unsent(tx, e, at) })
}

// versions are what there is to restore, in the order of their paths: each with the path that it is to have, which is below to
// instead of the directory if there is one.
func (m *instant) versions(to string) (out []Version) {
	for then, v := range m.found {
		v.Path = then
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b Version) int { return strings.Compare(a.Path, b.Path) })
	return moved(out, m.file, to)
}

// moved gives versions paths below another directory; "": they stay. Then what a trash has of them stays there, too.
func moved(all []Version, from, to string) []Version {
	if to == "" {
		return all
	}
	out := slices.Clone(all)
	for i := range out {
		out[i].Path = strings.TrimSuffix(to, "/") + strings.TrimPrefix(out[i].Path, strings.TrimSuffix(from, "/"))
		out[i].copied = true
	}
	return out
}
