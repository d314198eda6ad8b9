package remotetest

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"lukechampine.com/blake3"

	"vdfs/syncer/remote"
)

func (e *env) ok(err error) {
	e.Helper()
	if err != nil {
		e.Fatalf("unexpected error: %v", err)
	}
}

// is checks that err is one of want.
func (e *env) is(err error, want ...error) {
	e.Helper()
	for _, w := range want {
		if errors.Is(err, w) {
			return
		}
	}
	e.Fatalf("got error %v, want %v", err, want)
}

func same[T comparable](e *env, what string, got, want T) {
	e.Helper()
	if got != want {
		e.Fatalf("%s: got %.80v, want %.80v", what, got, want)
	}
}

func blake(data string) string {
	h := blake3.Sum256([]byte(data))
	return fmt.Sprintf("%x", h[:])
}

// upload is a Put of data; the caller adds where it goes.
func upload(data string) *remote.Upload {
	return &remote.Upload{Size: int64(len(data)), Body: strings.NewReader(data), Hashes: remote.Hashes{remote.BLAKE3: blake(data)}}
}

func creation(parent remote.ItemID, name, data string) *remote.Upload {
	u := upload(data)
	u.Parent, u.Name = parent, name
	return u
}

func replacement(old remote.Entry, data string) *remote.Upload {
	u := upload(data)
	u.ID, u.Pre = old.ID, remote.Pre{Tag: old.Tag}
	return u
}

// put creates a file in the root.
func (e *env) put(name, data string) remote.Entry {
	e.Helper()
	return e.putIn(e.root, name, data)
}

func (e *env) putIn(dir remote.ItemID, name, data string) remote.Entry {
	e.Helper()
	got, err := e.ep.Put(e.ctx, creation(dir, name, data))
	e.ok(err)
	return got
}

func (e *env) mkdir(parent remote.ItemID, name string) remote.Entry {
	e.Helper()
	got, err := e.ep.Mkdir(e.ctx, parent, name, remote.Attr{}, "")
	e.ok(err)
	return got
}

func (e *env) stat(id remote.ItemID) remote.Entry {
	e.Helper()
	got, err := e.ep.Stat(e.ctx, id)
	e.ok(err)
	return got
}

// read returns a range of the content that v names.
func (e *env) read(ep remote.Endpoint, id remote.ItemID, v remote.Content, off, n int64) (string, error) {
	r, err := ep.Read(e.ctx, id, v, off, n)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(r)
	return string(data), errors.Join(err, r.Close())
}

func (e *env) holds(id remote.ItemID, want string) {
	e.Helper()
	got, err := e.read(e.ep, id, "", 0, -1)
	e.ok(err)
	same(e, "content", got, want)
}

// list returns the children by name and fails on one that comes twice.
func (e *env) list(ep remote.Endpoint, dir remote.ItemID) (map[string]remote.Entry, error) {
	e.Helper()
	out := map[string]remote.Entry{}
	for page := ""; ; {
		entries, next, err := ep.List(e.ctx, dir, page)
		if err != nil {
			return nil, err
		}
		for _, c := range entries {
			if _, twice := out[c.Name]; twice && e.caps.UniqueNames {
				e.Fatalf("%q is listed twice", c.Name)
			}
			same(e, "parent of "+c.Name, c.Parent, dir)
			out[c.Name] = c
		}
		if page = next; page == "" {
			return out, nil
		}
	}
}

// walk lists the whole tree as Direct.Tree shows it.
func (e *env) walk(ep remote.Endpoint) map[string]string {
	e.Helper()
	out := map[string]string{}
	var down func(dir remote.ItemID, prefix string)
	down = func(dir remote.ItemID, prefix string) {
		kids, err := e.list(ep, dir)
		e.ok(err)
		for name, c := range kids {
			switch c.Kind {
			case remote.Dir:
				out[prefix+name+"/"] = ""
				down(c.ID, prefix+name+"/")
			case remote.Symlink:
				out[prefix+name] = "-> " + c.Target
			case remote.File:
				data, err := e.read(ep, c.ID, c.Content, 0, -1)
				e.ok(err)
				out[prefix+name] = data
			default:
				out[prefix+name] = c.Kind.String()
			}
		}
	}
	down(e.root, "")
	return out
}

// tree checks the storage itself: pairs of path and content.
func (e *env) tree(want ...string) {
	e.Helper()
	m := map[string]string{}
	for i := 0; i < len(want); i += 2 {
		m[want[i]] = want[i+1]
	}
	if got := e.h.Direct.Tree(e.T); !maps.Equal(got, m) {
		e.Fatalf("storage holds %.300q, want %.300q", got, m)
	}
}

// kept checks that a version is in trash or history, where there is one.
func (e *env) kept(has bool, data string) {
	e.Helper()
	if has && !slices.Contains(e.h.Direct.Kept(e.T), data) {
		e.Fatalf("%.40q is not in trash or history", data)
	}
}

// body serves data and calls half once when the second half is first asked for.
type body struct {
	data string
	half func() error
	met  bool
}

func (b *body) ReadAt(p []byte, off int64) (int, error) {
	if !b.met && b.half != nil && off+int64(len(p)) > int64(len(b.data)/2) {
		b.met = true
		if err := b.half(); err != nil {
			return 0, err
		}
	}
	return strings.NewReader(b.data).ReadAt(p, off)
}

func pattern(n int, seed byte) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>8) ^ byte(i*7) + seed
	}
	return string(b)
}
