package syncer

import (
	"slices"
	"strings"

	"vdfs/cache"
)

// A version in a trash bears the path that it had when it went, and what is live bears the one that it has now. What a path had at
// a time is found by the moves that were made since: each base that gets another path writes one down. So is when a file came
// that looks older than it is.

// noteMove writes down that an object has another path at the endpoint from now on than its base says.
func (t *step) noteMove(was, is cache.Binding) error {
	if was.ID == 0 || was.Parent == is.Parent && was.RemoteName == is.RemoteName {
		return nil
	}
	old, known, err := t.pathAt(was)
	if err != nil || !known {
		return err
	}
	now, known, err := t.pathAt(is)
	if err != nil || !known {
		return err
	}
	return t.tx.AddMove(t.l.id, old, now)
}

// noteBirth writes down when a file came to be at the endpoint of which a version goes into a trash, if its own time says that it is
// older, as with what was copied with its time, or restored.
func (t *step) noteBirth(b cache.Binding) error {
	if b.ID == 0 || b.Kind != cache.File && b.Kind != cache.Symlink {
		return nil
	}
	born, err := t.tx.Born(b.ID)
	if err != nil || b.Mtime >= born {
		return err
	}
	at, known, err := t.pathAt(b)
	if err != nil || !known {
		return err
	}
	moves, err := t.tx.MovesSince(t.l.id, born)
	if err != nil {
		return err
	}
	if at, known = past(moves).back(at, t.tx.Now(), born); !known {
		return nil
	}
	return t.tx.AddBirth(b, born, at)
}

// pathAt is the path of an object at the endpoint, as bases have it; false: it is in no directory that is known.
func (t *step) pathAt(b cache.Binding) (string, bool, error) {
	names := []string{b.RemoteName}
	for range maxDepth {
		p, ok, err := t.tx.Binding(b.Parent)
		if err != nil || !ok {
			return "", false, err
		}
		if p.Parent == 0 { // the root
			slices.Reverse(names)
			return strings.Join(names, "/"), true, nil
		}
		names = append(names, p.RemoteName)
		b = p
	}
	return "", false, errCycle
}

// past is the moves of a leg since a time, the oldest first.
type past []cache.Move

// inside is what of a path is below a directory, with the slash before it; "" at the directory itself.
func inside(path, dir string) (rest string, ok bool) {
	if dir == "" && path != "" {
		return "/" + path, true
	}
	rest, ok = strings.CutPrefix(path, dir)
	return rest, ok && (rest == "" || rest[0] == '/')
}

// under is a path with something below it.
func under(dir, rest string) string { return strings.Trim(dir+rest, "/") }

// back is the path that what had one at a time had before, at another time. It is false if that was not there yet: something else
// had the path then, and was moved away since.
func (p past) back(path string, from, to int64) (string, bool) {
	for _, m := range slices.Backward(p) {
		if m.At > from || m.At <= to {
			continue
		}
		if m.Old == "" {
			if path == m.New {
				return "", false
			}
			continue
		}
		if rest, ok := inside(path, m.New); ok {
			path = under(m.Old, rest)
		} else if _, ok := inside(path, m.Old); ok {
			return "", false
		}
	}
	return path, true
}

// ahead are the paths at which something may be since that was at or below one at a time; no one is below another.
func (p past) ahead(path string, at int64) []string {
	all := []string{path}
	add := func(path string) {
		if !slices.ContainsFunc(all, func(a string) bool { _, ok := inside(path, a); return ok }) {
			all = append(all, path)
		}
	}
	for _, m := range p {
		if m.At <= at || m.Old == "" {
			continue
		}
		for _, a := range slices.Clone(all) {
			if _, ok := inside(m.Old, a); ok {
				add(m.New)
			} else if rest, ok := inside(a, m.Old); ok {
				add(under(m.New, rest))
			}
		}
	}
	return slices.DeleteFunc(all, func(a string) bool {
		return slices.ContainsFunc(all, func(b string) bool { _, ok := inside(a, b); return ok && a != b })
	})
}
