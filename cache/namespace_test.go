package cache

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// tree prints the drive as sorted lines "path kind inode links".
func (x *indexTest) tree() []string { return x.treeOf(RootIno) }

func (x *indexTest) treeOf(root Ino) []string {
	x.t.Helper()
	var out []string
	var walk func(Ino, string)
	walk = func(dir Ino, path string) {
		entries, err := x.ReadDir(dir, 0, 100000, true)
		x.no(err)
		for _, e := range entries {
			out = append(out, fmt.Sprintf("%s/%s kind=%d links=%d", path, e.Name, e.Node.Kind, e.Node.Nlink))
			if e.Node.Kind == Dir {
				walk(e.Ino, path+"/"+e.Name)
			}
		}
	}
	walk(root, "")
	slices.Sort(out)
	return out
}

func TestRename(t *testing.T) {
	t.Parallel()
	// The scene: files a, b; "same" is a second name of a; directories empty, full (with full/f), sub (with sub/deep).
	cases := []struct {
		name     string
		from, to string
		flags    RenameFlags
		err      error
		gone     string // this name is free afterwards
		have     string // this name has what from named before
	}{
		{name: "file to a free name", from: "a", to: "new", gone: "a", have: "new"},
		{name: "file into a directory", from: "a", to: "full/a", gone: "a", have: "full/a"},
		{name: "file over a file", from: "a", to: "b", gone: "a", have: "b"},
		{name: "file over a directory", from: "a", to: "empty", err: ErrIsDir},
		{name: "directory over a file", from: "empty", to: "a", err: ErrNotDir},
		{name: "directory over an empty one", from: "full", to: "empty", gone: "full", have: "empty"},
		{name: "directory over one with entries", from: "empty", to: "full", err: ErrNotEmpty},
		{name: "directory into itself", from: "sub", to: "sub/x", err: ErrLoop},
		{name: "directory into its descendant", from: "sub", to: "sub/deep/x", err: ErrLoop},
		{name: "directory over its own ancestor", from: "sub/deep", to: "sub", err: ErrNotEmpty},
		{name: "to itself", from: "a", to: "a", have: "a"},
		{name: "between two names of a file", from: "a", to: "same", have: "a"},
		{name: "missing source", from: "nothing", to: "a", err: ErrNotFound},
		{name: "below a file", from: "a", to: "b/x", err: ErrNotDir},
		{name: "no replace, free", from: "a", to: "new", flags: RenameNoReplace, gone: "a", have: "new"},
		{name: "no replace, taken", from: "a", to: "b", flags: RenameNoReplace, err: ErrExists},
		{name: "exchange of files", from: "a", to: "b", flags: RenameExchange, have: "b"},
		{name: "exchange of file and directory", from: "a", to: "full", flags: RenameExchange, have: "full"},
		{name: "exchange over directories", from: "full/f", to: "sub/deep", flags: RenameExchange, have: "sub/deep"},
		{name: "exchange with a missing name", from: "a", to: "new", flags: RenameExchange, err: ErrNotFound},
		{name: "exchange with an ancestor", from: "sub/deep", to: "sub", flags: RenameExchange, err: ErrLoop},
		{name: "both flags", from: "a", to: "b", flags: RenameExchange | RenameNoReplace, err: ErrInvalid},
		{name: "bad name", from: "a", to: "..", err: ErrName},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			x := newIndexTest(t)
			at := x.scene()
			fromDir, fromName := at(tc.from)
			toDir, toName := at(tc.to)
			before := x.tree()
			src, srcErr := x.Lookup(fromDir, fromName)
			err := x.Rename(fromDir, fromName, toDir, toName, tc.flags)
			x.is(err, tc.err)
			x.wantSound()
			if tc.err != nil {
				if after := x.tree(); !slices.Equal(before, after) {
					t.Errorf("a refused rename changed the tree:\n%v\n%v", before, after)
				}
				return
			}
			x.no(srcErr)
			if tc.gone != "" {
				x.gone(at(tc.gone))
			}
			if got := x.lookup(at(tc.have)); got.ID != src.ID || got.Ino != src.Ino {
				t.Errorf("%s is %+v, want %+v", tc.have, got.Dentry, src.Dentry)
			}
		})
	}
}

// scene makes the tree of TestRename and returns what splits its paths into directory and name.
func (x *indexTest) scene() func(string) (Ino, string) {
	x.t.Helper()
	dirs := map[string]Ino{"": RootIno}
	for _, d := range []string{"empty", "full", "sub"} {
		dirs[d] = x.mkdir(RootIno, d).Ino
	}
	dirs["sub/deep"] = x.mkdir(dirs["sub"], "deep").Ino
	a := x.touch(RootIno, "a")
	dirs["b"] = x.touch(RootIno, "b").Ino
	x.touch(dirs["full"], "f")
	_, err := x.Link(a.Ino, RootIno, "same")
	x.no(err)
	return func(path string) (Ino, string) {
		dir, name := "", path
		if i := strings.LastIndex(path, "/"); i >= 0 {
			dir, name = path[:i], path[i+1:]
		}
		ino, ok := dirs[dir]
		if !ok {
			x.t.Fatalf("no directory %q in the scene", dir)
		}
		return ino, name
	}
}

func TestNamesAreBytes(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	all := make([]byte, 0, 255)
	for b := 1; b < 256; b++ {
		if b != '/' {
			all = append(all, byte(b))
		}
	}
	for _, name := range []string{strings.Repeat("n", 255), string(all), "\xff\xfe", "a\nb", " ", "é", "e\u0301", "..."} {
		made := x.touch(RootIno, name)
		if got := x.lookup(RootIno, name); got.Ino != made.Ino || got.Name != name {
			t.Errorf("%q came back as %q", name, got.Name)
		}
		x.no(x.Rename(RootIno, name, RootIno, "x", 0))
		x.no(x.Rename(RootIno, "x", RootIno, name, 0))
		x.no(x.Unlink(RootIno, name))
	}
	for _, name := range []string{"", ".", "..", "a/b", "a\x00b", strings.Repeat("n", 256)} {
		_, err := x.Mkdir(RootIno, name, 0o755, Caller{})
		x.is(err, ErrName)
		f := x.touch(RootIno, "f")
		_, err = x.Link(f.Ino, RootIno, name)
		x.is(err, ErrName)
		x.no(x.Unlink(RootIno, "f"))
	}
}

func TestCreateFollowsItsDirectory(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	d, err := x.Mkdir(RootIno, "team", 0o2775, Caller{UID: 1, GID: 2})
	x.no(err)
	gid := uint32(50)
	_, err = x.SetAttr(d.Ino, Attrs{GID: &gid})
	x.no(err)
	sub, err := x.Mkdir(d.Ino, "sub", 0o755, Caller{UID: 3, GID: 4})
	x.no(err)
	if sub.Node.GID != 50 || sub.Node.UID != 3 || sub.Node.Mode != 0o2755 {
		t.Errorf("sub is %+v", sub.Node)
	}
	f, o, err := x.Create(d.Ino, "f", 0o644, Caller{UID: 3, GID: 4})
	x.no(err)
	x.no(o.Close())
	if f.Node.GID != 50 || f.Node.Mode != 0o644 {
		t.Errorf("f is %+v", f.Node)
	}
	_, err = x.Mkdir(d.Ino, "f", 0o755, Caller{})
	x.is(err, ErrExists)
	_, err = x.Mkdir(f.Ino, "x", 0o755, Caller{})
	x.is(err, ErrNotDir)
	x.is(x.Unlink(d.Ino, "sub"), ErrIsDir)
	x.is(x.Rmdir(d.Ino, "f"), ErrNotDir)
	x.is(x.Rmdir(RootIno, "team"), ErrNotEmpty)
	_, err = x.Link(sub.Ino, d.Ino, "hard")
	x.is(err, ErrIsDir)
	_, err = x.Mknod(d.Ino, "bad", Dir, 0, 0, Caller{})
	x.is(err, ErrInvalid)
	p, err := x.Mknod(d.Ino, "pipe", Fifo, 0o600, 0, Caller{})
	x.no(err)
	if !p.LocalOnly {
		t.Error("a pipe would be sent")
	}
	if up, err := x.ParentOf(sub.Ino); err != nil || up != d.Ino {
		t.Errorf("parent of sub is %d (%v)", up, err)
	}
	x.wantSound()
}

func TestADirectoryThatIsNotListedConcludesNothing(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	d := x.mkdir(RootIno, "d")
	x.touch(d.Ino, "known")
	x.update(1, func(tx *Tx) error { return tx.SetListing(d.Ino, Unlisted) })
	x.lookup(d.Ino, "known")
	_, err := x.Lookup(d.Ino, "other")
	x.is(err, ErrNotListed)
	_, err = x.ReadDir(d.Ino, 0, 10, false)
	x.is(err, ErrNotListed)
	_, err = x.Mkdir(d.Ino, "other", 0o755, Caller{})
	x.is(err, ErrNotListed)
	_, err = x.Mkdir(d.Ino, "known", 0o755, Caller{})
	x.is(err, ErrExists)
	x.no(x.Unlink(d.Ino, "known"))
	x.is(x.Rmdir(RootIno, "d"), ErrNotListed)
	x.touch(RootIno, "f")
	x.is(x.Rename(RootIno, "f", d.Ino, "f", 0), ErrNotListed)
}

func TestReadDirPagesSeeEveryEntryThatStaysOnce(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	want := make(map[string]int)
	for i := range 300 {
		name := fmt.Sprintf("f%03d", i)
		_, err := x.Symlink(RootIno, name, "t", Caller{})
		x.no(err)
		if i%3 != 0 {
			want[name] = 1
		}
	}
	seen := make(map[string]int)
	after, deleted := DentryID(0), 0
	for {
		page, err := x.ReadDir(RootIno, after, 7, deleted%2 == 0)
		x.no(err)
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			seen[e.Name]++
			after = e.ID
			if e.Node.Kind != Symlink || e.Node.Ino != e.Ino {
				t.Fatalf("entry %+v", e)
			}
		}
		for range 3 { // before and behind the reader
			if deleted < 300 {
				x.no(x.Unlink(RootIno, fmt.Sprintf("f%03d", deleted)))
				deleted += 3
			}
		}
	}
	for name := range want {
		if seen[name] != 1 {
			t.Errorf("%s was seen %d times", name, seen[name])
		}
	}
}

func TestAHardLinkIsTheSameNodeUntilTheLastName(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	a := x.touch(RootIno, "a")
	b, err := x.Link(a.Ino, RootIno, "b")
	x.no(err)
	if b.Ino != a.Ino || b.Node.Nlink != 2 || b.ID == a.ID {
		t.Fatalf("link is %+v", b)
	}
	_, err = x.Link(a.Ino, RootIno, "b")
	x.is(err, ErrExists)
	x.no(x.Unlink(RootIno, "a"))
	if n, err := x.Attr(a.Ino); err != nil || n.Nlink != 1 {
		t.Fatalf("after one unlink: %+v, %v", n, err)
	}
	x.no(x.Unlink(RootIno, "b"))
	_, err = x.Attr(a.Ino)
	x.is(err, ErrNotFound)
}

func TestAnUnlinkedFileLivesUntilItsLastHandleCloses(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	f, o, err := x.Create(RootIno, "f", 0o600, Caller{})
	x.no(err)
	_, err = o.WriteAt([]byte("still here"), 0)
	x.no(err)
	x.no(x.Unlink(RootIno, "f"))
	if n, err := x.Attr(f.Ino); err != nil || n.Nlink != 0 || n.Size != 10 {
		t.Fatalf("orphan is %+v, %v", n, err)
	}
	_, err = x.Link(f.Ino, RootIno, "back")
	x.is(err, ErrNotFound)
	x.no(o.Close())
	_, err = x.Attr(f.Ino)
	x.is(err, ErrNotFound)
	x.wantSound()
}

func TestXattrs(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	f := x.touch(RootIno, "f")
	const create, replace = 1, 2
	_, err := x.GetXattr(f.Ino, "user.a")
	x.is(err, ErrNoAttr)
	x.is(x.SetXattr(f.Ino, "user.a", []byte("1"), replace), ErrNoAttr)
	x.no(x.SetXattr(f.Ino, "user.a", []byte("1"), create))
	x.is(x.SetXattr(f.Ino, "user.a", []byte("2"), create), ErrExists)
	x.no(x.SetXattr(f.Ino, "user.a", nil, 0))
	x.no(x.SetXattr(f.Ino, "user.b", []byte{0, 255}, 0))
	v, err := x.GetXattr(f.Ino, "user.b")
	if err != nil || string(v) != "\x00\xff" {
		t.Errorf("user.b is %q, %v", v, err)
	}
	names, err := x.ListXattr(f.Ino)
	if n := x.lookup(RootIno, "f").Node.Xattrs; err != nil || !slices.Equal(names, []string{"user.a", "user.b"}) || n != 2 {
		t.Errorf("names %q, count %d, %v", names, n, err)
	}
	x.no(x.RemoveXattr(f.Ino, "user.a"))
	x.is(x.RemoveXattr(f.Ino, "user.a"), ErrNoAttr)
	x.is(x.SetXattr(f.Ino, "user.big", make([]byte, 64<<10+1), 0), ErrInvalid)
	x.is(x.SetXattr(999, "user.a", nil, 0), ErrNotFound)
	x.wantSound()
	x.no(x.Unlink(RootIno, "f"))
	if names, err := x.ListXattr(f.Ino); err != nil || len(names) > 0 {
		t.Errorf("attributes of a file that is gone: %q, %v", names, err)
	}
}

func TestSetAttr(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	f := x.touch(RootIno, "f")
	mode, uid, mtime, atime, size := uint32(0o4755), uint32(9), int64(123), int64(99), int64(3)
	n, err := x.SetAttr(f.Ino, Attrs{Mode: &mode, UID: &uid, Mtime: &mtime, Atime: &atime})
	x.no(err)
	if n.Mode != mode || n.UID != 9 || n.Mtime != 123 || n.Atime != 99 || n.Ctime <= 123 {
		t.Errorf("attributes are %+v", n)
	}
	n, err = x.SetAttr(f.Ino, Attrs{Size: &size})
	if err != nil || n.Size != 3 || n.Version == f.Node.Version {
		t.Errorf("after truncate: %+v, %v", n, err)
	}
	_, err = x.SetAttr(RootIno, Attrs{Size: &size})
	x.is(err, ErrIsDir)
	_, err = x.SetAttr(4711, Attrs{Mode: &mode})
	x.is(err, ErrNotFound)
}

func TestMtimeSetWhileOpenForWritingSurvivesTheClose(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	f, o, err := x.Create(RootIno, "f", 0o644, Caller{})
	x.no(err)
	_, err = o.WriteAt([]byte("abc"), 0)
	x.no(err)
	mtime := int64(1234567890123456789)
	n, err := x.SetAttr(f.Ino, Attrs{Mtime: &mtime})
	if err != nil || n.Mtime != mtime || n.Size != 3 {
		t.Fatalf("while open: %+v, %v", n, err)
	}
	x.no(o.Close())
	if n, err := x.Attr(f.Ino); err != nil || n.Mtime != mtime || n.Size != 3 {
		t.Errorf("after close: %+v, %v", n, err)
	}
}

// model is the namespace as a plain map: paths to node numbers, with the kind of each node.
type model struct {
	root  Entry
	names map[string]Ino
	kinds map[Ino]Kind
}

func (m *model) children(dir string) int {
	n := 0
	for p := range m.names {
		if p != dir && strings.HasPrefix(p, dir+"/") {
			n++
		}
	}
	return n
}

func TestTheNamespaceBehavesLikeAMap(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	x.legs(RootIno, 2)
	tries := 0
	rapid.Check(t, func(rt *rapid.T) {
		tries++ // each try has a directory of its own
		root := x.mkdir(RootIno, fmt.Sprint(tries))
		m := &model{root: root, names: map[string]Ino{"": root.Ino}, kinds: map[Ino]Kind{root.Ino: Dir}}
		pick := func(label string) (path, dir, name string) {
			dirs := []string{}
			for p, ino := range m.names {
				if m.kinds[ino] == Dir && strings.Count(p, "/") < 3 {
					dirs = append(dirs, p)
				}
			}
			slices.Sort(dirs)
			dir = rapid.SampledFrom(dirs).Draw(rt, label+" dir")
			name = rapid.SampledFrom([]string{"a", "b", "c", "d.tmp"}).Draw(rt, label+" name")
			return dir + "/" + name, dir, name
		}
		rt.Repeat(map[string]func(*rapid.T){
			"mkdir": func(rt *rapid.T) {
				p, dir, name := pick("new")
				e, err := x.Mkdir(m.names[dir], name, 0o755, Caller{})
				m.made(rt, p, e, err, Dir)
			},
			"symlink": func(rt *rapid.T) {
				p, dir, name := pick("new")
				e, err := x.Symlink(m.names[dir], name, "t", Caller{})
				m.made(rt, p, e, err, Symlink)
			},
			"link": func(rt *rapid.T) {
				p, dir, name := pick("new")
				old, _, _ := pick("old")
				ino, ok := m.names[old]
				if !ok {
					return
				}
				e, err := x.Link(ino, m.names[dir], name)
				if m.kinds[ino] == Dir {
					expect(rt, err, ErrIsDir)
					return
				}
				m.made(rt, p, e, err, Symlink)
			},
			"remove": func(rt *rapid.T) {
				p, dir, name := pick("old")
				ino, ok := m.names[p]
				switch {
				case !ok:
					expect(rt, x.Unlink(m.names[dir], name), ErrNotFound)
					return
				case m.kinds[ino] != Dir:
					expect(rt, x.Unlink(m.names[dir], name), nil)
				case m.children(p) > 0:
					expect(rt, x.Rmdir(m.names[dir], name), ErrNotEmpty)
					return
				default:
					expect(rt, x.Rmdir(m.names[dir], name), nil)
				}
				delete(m.names, p)
			},
			"rename": func(rt *rapid.T) {
				from, fromDir, fromName := pick("from")
				to, toDir, toName := pick("to")
				flags := rapid.SampledFrom([]RenameFlags{0, 0, RenameNoReplace, RenameExchange}).Draw(rt, "flags")
				err := x.Rename(m.names[fromDir], fromName, m.names[toDir], toName, flags)
				expect(rt, err, m.rename(from, to, flags))
			},
			"": func(rt *rapid.T) { m.compare(rt, x) },
		})
	})
	x.wantSound()
}

func expect(rt *rapid.T, err, want error) {
	if !errors.Is(err, want) {
		rt.Fatalf("error is %v, want %v", err, want)
	}
}

func (m *model) made(rt *rapid.T, p string, e Entry, err error, kind Kind) {
	if _, taken := m.names[p]; taken {
		expect(rt, err, ErrExists)
		return
	}
	expect(rt, err, nil)
	m.names[p], m.kinds[e.Ino] = e.Ino, kind
}

// rename does to the model what rename(2) says, or tells the error it should give.
func (m *model) rename(from, to string, flags RenameFlags) error {
	src, ok := m.names[from]
	dst, taken := m.names[to]
	inside := func(a, b string) bool { return strings.HasPrefix(a, b+"/") }
	switch {
	case !ok || flags == RenameExchange && !taken:
		return ErrNotFound
	case taken && flags == RenameNoReplace:
		return ErrExists
	case from == to:
		return nil
	case flags == RenameExchange:
		if inside(from, to) || inside(to, from) {
			return ErrLoop
		}
		m.move(from, "\x00")
		m.move(to, from)
		m.move("\x00", to)
		return nil
	case taken && src == dst:
		return nil
	case m.kinds[src] == Dir && inside(to, from):
		return ErrLoop
	case taken && m.kinds[src] == Dir && m.kinds[dst] != Dir:
		return ErrNotDir
	case taken && m.kinds[src] != Dir && m.kinds[dst] == Dir:
		return ErrIsDir
	case taken && m.kinds[dst] == Dir && m.children(to) > 0:
		return ErrNotEmpty
	}
	delete(m.names, to)
	m.move(from, to)
	return nil
}

func (m *model) move(from, to string) {
	for p, ino := range m.names {
		if p == from || strings.HasPrefix(p, from+"/") {
			delete(m.names, p)
			m.names[to+p[len(from):]] = ino
		}
	}
}

func (m *model) compare(rt *rapid.T, x *indexTest) {
	links := make(map[Ino]int)
	for p, ino := range m.names {
		links[ino]++
		var e Entry
		if err := x.View(func(tx *Tx) (err error) { e, err = tx.Resolve(m.root.Name + p); return err }); err != nil {
			rt.Fatalf("%q: %v", p, err)
		}
		if e.Ino != ino || e.Node.Kind != m.kinds[ino] {
			rt.Fatalf("%q is node %d of kind %d, want %d of %d", p, e.Ino, e.Node.Kind, ino, m.kinds[ino])
		}
		if err := x.View(func(tx *Tx) error {
			got, err := tx.Path(e.ID)
			if err == nil && got != "/"+m.root.Name+p {
				err = fmt.Errorf("path of %q is %q", p, got)
			}
			return err
		}); err != nil {
			rt.Fatal(err)
		}
	}
	for ino, n := range links {
		node, err := x.Attr(ino)
		if err != nil {
			rt.Fatal(err)
		}
		if m.kinds[ino] != Dir && int(node.Nlink) != n {
			rt.Fatalf("node %d has %d links, want %d", ino, node.Nlink, n)
		}
	}
	if got := len(x.treeOf(m.root.Ino)); got != len(m.names)-1 {
		rt.Fatalf("%d names, want %d", got, len(m.names)-1)
	}
}
