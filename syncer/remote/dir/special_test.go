package dir_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vdfs/syncer/remote"
	"vdfs/syncer/remote/dir"
)

// place is a root with an endpoint on it.
type place struct {
	*testing.T
	root, staging string
	ep            *dir.Endpoint
}

func newPlace(t *testing.T) *place { return placeIn(t, t.TempDir()) }

func placeIn(t *testing.T, base string) *place {
	t.Helper()
	t.Parallel()
	p := &place{T: t, root: filepath.Join(base, "root"), staging: filepath.Join(base, "staging")}
	must(t, os.Mkdir(p.root, 0o755))
	p.ep = p.open(dir.Options{Staging: p.staging})
	return p
}

func (p *place) open(o dir.Options) *dir.Endpoint {
	p.Helper()
	ep, err := dir.Open(p.root, o)
	must(p, err)
	p.Cleanup(func() {
		if err := ep.Close(); err != nil {
			p.Error(err)
		}
	})
	return ep
}

func (p *place) at(path string) string { return filepath.Join(p.root, path) }

func (p *place) write(path, data string) {
	p.Helper()
	must(p, os.WriteFile(p.at(path), []byte(data), 0o644))
}

func (p *place) stat(path string) remote.Entry {
	p.Helper()
	e, err := p.ep.Stat(context.Background(), remote.ItemID("p:"+path))
	must(p, err)
	return e
}

func (p *place) list(path string) []string {
	p.Helper()
	entries, _, err := p.ep.List(context.Background(), remote.ItemID("p:"+path), "")
	must(p, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name)
	}
	return names
}

func (p *place) put(u *remote.Upload, data string) (remote.Entry, error) {
	u.Body, u.Size = strings.NewReader(data), int64(len(data))
	return p.ep.Put(context.Background(), u)
}

func is(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func TestAParentThatBecameALinkLeadsNowhere(t *testing.T) {
	p := newPlace(t)
	ctx := context.Background()
	outside := t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("s"), 0o600))
	must(t, os.Mkdir(p.at("d"), 0o755))
	p.write("d/secret", "ours")
	e := p.stat("d/secret")
	must(t, os.RemoveAll(p.at("d")))
	must(t, os.Symlink(outside, p.at("d")))
	_, err := p.ep.Stat(ctx, e.ID)
	is(t, err, remote.ErrNotFound)
	_, err = p.ep.Read(ctx, e.ID, "", 0, -1)
	is(t, err, remote.ErrNotFound)
	is(t, p.ep.Delete(ctx, e.ID, remote.Pre{Force: true}, ""), remote.ErrNotFound)
	_, err = p.put(&remote.Upload{ID: e.ID, Pre: remote.Pre{Force: true}}, "x")
	is(t, err, remote.ErrNotFound)
	_, err = p.put(&remote.Upload{Parent: "p:d", Name: "new"}, "x")
	is(t, err, remote.ErrKind)
	_, err = p.ep.Mkdir(ctx, "p:d", "new", remote.Attr{}, "")
	is(t, err, remote.ErrKind)
	if got, err := os.ReadDir(outside); err != nil || len(got) != 1 {
		t.Fatalf("outside: %v, %v", got, err)
	}
}

func TestPipesAreShownAndNeverTouched(t *testing.T) {
	p := newPlace(t)
	ctx := context.Background()
	must(t, unix.Mkfifo(p.at("pipe"), 0o644))
	e := p.stat("pipe")
	if e.Kind != remote.Opaque {
		t.Fatalf("kind %v", e.Kind)
	}
	_, err := p.ep.Read(ctx, e.ID, "", 0, -1) // would block if it opened the pipe
	is(t, err, remote.ErrKind)
	is(t, p.ep.Delete(ctx, e.ID, remote.Pre{Tag: e.Tag}, ""), remote.ErrKind)
	_, err = p.put(&remote.Upload{ID: e.ID, Pre: remote.Pre{Tag: e.Tag}}, "x")
	is(t, err, remote.ErrKind)
}

func TestOurOwnNamesAreHiddenAndRefused(t *testing.T) {
	p := newPlace(t)
	ctx := context.Background()
	for _, name := range []string{".vdfs", ".vdfs-x", "d/.vdfs-y"} {
		must(t, os.MkdirAll(p.at(name), 0o755))
	}
	must(t, os.Mkdir(p.at("d/.vdfs"), 0o755)) // only in the root is it ours
	if got := fmt.Sprint(p.list(""), p.list("d")); got != "[d] [.vdfs]" {
		t.Fatalf("listed %s", got)
	}
	for _, id := range []string{".vdfs", "d/.vdfs-y", ".vdfs/trash"} {
		_, err := p.ep.Stat(ctx, remote.ItemID("p:"+id))
		is(t, err, remote.ErrNotFound)
	}
	_, err := p.put(&remote.Upload{Parent: "p:", Name: ".vdfs-z"}, "x")
	is(t, err, remote.ErrName)
	is(t, p.ep.Delete(ctx, "p:d", remote.Pre{Force: true}, ""), remote.ErrNotEmpty)
}

func TestAnIdentSurvivesAMoveAndNotAReuse(t *testing.T) {
	p := newPlace(t)
	p.write("f", "x")
	was := p.stat("f")
	if was.Ident == "" {
		t.Skip("the file system keeps no handles")
	}
	must(t, os.Mkdir(p.at("d"), 0o755))
	must(t, os.Rename(p.at("f"), p.at("d/g")))
	if now := p.stat("d/g"); now.Ident != was.Ident || now.Content != was.Content {
		t.Fatalf("%v became %v", was, now)
	}
	must(t, os.Remove(p.at("d/g")))
	p.write("f", "x") // ext4 gives it the number just freed
	if now := p.stat("f"); now.Ident == was.Ident || now.Content == was.Content {
		t.Fatalf("another file has the ident %s", now.Ident)
	}
	must(t, os.Link(p.at("f"), p.at("hard")))
	if now := p.stat("f"); now.Ident != "" {
		t.Fatal("a file with two names has an ident")
	}
}

func TestAReplaceKeepsTheModeAndIsNeverMoreReadable(t *testing.T) {
	p := newPlace(t)
	p.write("f", "old")
	must(t, os.Chmod(p.at("f"), 0o600))
	if os.Geteuid() == 0 {
		must(t, os.Chown(p.at("f"), 1234, 1235))
	}
	before, err := os.Stat(p.at("f"))
	must(t, err)
	if _, err := p.put(&remote.Upload{ID: "p:f", Pre: remote.Pre{Tag: p.stat("f").Tag}}, "new"); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	must(t, unix.Stat(p.at("f"), &st))
	if st.Mode&0o777 != 0o600 || os.Geteuid() == 0 && (st.Uid != 1234 || st.Gid != 1235) {
		t.Fatalf("mode %o, owner %d:%d; it was %v", st.Mode, st.Uid, st.Gid, before.Mode())
	}
}

func TestTheRootIsKnownAgainAndNoOther(t *testing.T) {
	p := newPlace(t)
	st, err := p.ep.Check(context.Background())
	must(t, err)
	p.open(dir.Options{Staging: p.staging, KnownRoot: st.Epoch})
	must(t, os.Rename(p.root, p.root+"-away"))
	_, err = dir.Open(p.root, dir.Options{Staging: p.staging, KnownRoot: st.Epoch})
	is(t, err, remote.ErrRootGone)
	must(t, os.Mkdir(p.root, 0o755))
	_, err = dir.Open(p.root, dir.Options{Staging: p.staging, KnownRoot: st.Epoch})
	is(t, err, remote.ErrRootGone)
	must(t, os.WriteFile(p.root+"-file", nil, 0o600))
	_, err = dir.Open(p.root+"-file", dir.Options{})
	is(t, err, remote.ErrRootGone)
}

func TestSameRoot(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		a, b string
		want bool
	}{
		"equal":                            {"k=1;u=a;f=2;d=3", "k=1;u=a;f=2;d=3", true},
		"the device number has changed":    {"k=1;u=a;f=2;d=3", "k=1;u=a;f=2;d=9", true},
		"a kernel that tells no uuid":      {"k=1;u=;f=2;d=3", "k=1;u=a;f=2;d=9", true},
		"another directory":                {"k=1;u=a;f=2;d=3", "k=2;u=a;f=2;d=3", false},
		"the same inode of another system": {"k=1;u=a;f=2;d=3", "k=1;u=b;f=2;d=3", false},
		"only the device is known":         {"k=1;u=;f=;d=3", "k=1;u=;f=;d=3", true},
		"only the device, another":         {"k=1;u=;f=;d=3", "k=1;u=;f=;d=4", false},
		"nothing":                          {"", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := dir.SameRoot(c.a, c.b); got != c.want {
				t.Fatalf("got %v", got)
			}
		})
	}
}

func TestAHugeDirectoryIsListedInPages(t *testing.T) {
	p := placeIn(t, quickDir(t))
	ctx := context.Background()
	const n = 9000
	for i := range n {
		f, err := os.OpenFile(p.at(fmt.Sprintf("f%05d", i)), os.O_CREATE|os.O_WRONLY, 0o600)
		must(t, err)
		must(t, f.Close())
	}
	if got := count(t, p.ep, "p:"); got != n {
		t.Fatalf("listed %d", got)
	}
	var first string
	for range 12 {
		_, next, err := p.ep.List(ctx, "p:", "")
		must(t, err)
		if first == "" {
			first = next
		}
	}
	_, _, err := p.ep.List(ctx, "p:", first)
	is(t, err, remote.ErrChanged)
	_, _, err = p.ep.List(ctx, "p:", "garbage")
	is(t, err, remote.ErrChanged)
}

func TestAVeryDeepPathWorks(t *testing.T) {
	p := newPlace(t)
	ctx := context.Background()
	id := remote.ItemID("p:")
	name := strings.Repeat("n", 200)
	for range 30 { // 6 000 bytes, more than one system call takes
		d, err := p.ep.Mkdir(ctx, id, name, remote.Attr{}, "")
		must(t, err)
		id = d.ID
	}
	f, err := p.put(&remote.Upload{Parent: id, Name: "f"}, "deep")
	must(t, err)
	e, err := p.ep.Stat(ctx, f.ID)
	must(t, err)
	if e.Tag != f.Tag {
		t.Fatalf("%v, %v", e, f)
	}
}

func TestTheTrashIsListedAndPurged(t *testing.T) {
	p := newPlace(t)
	ctx := context.Background()
	now := time.Unix(1_700_000_000, 0)
	ep := p.open(dir.Options{Staging: p.staging, Now: func() time.Time { return now }})
	for _, name := range []string{"a", "b", strings.Repeat("n", 255)} {
		p.write(name, name)
		must(t, ep.Delete(ctx, remote.ItemID("p:"+name), remote.Pre{Tag: p.stat(name).Tag}, ""))
	}
	items, _, err := ep.Trash(ctx, "", "")
	must(t, err)
	if len(items) != 3 {
		t.Fatalf("got %v", items)
	}
	for _, it := range items {
		if it.Name == "" || !strings.HasPrefix("a", it.Name) && !strings.HasPrefix("b", it.Name) && !strings.HasPrefix(strings.Repeat("n", 255), it.Name) {
			t.Fatalf("got %v", it)
		}
		if d := it.When.Sub(now); d < 0 || d > time.Second {
			t.Fatalf("%s was put there at %s", it.Name, it.When)
		}
	}
	long := strings.Repeat("n", 255)
	if items, _, err := ep.Trash(ctx, long, ""); err != nil || len(items) != 1 || items[0].Path != long || items[0].Name != long {
		t.Fatalf("of a long name there is %v, %v", items, err)
	}
	for _, it := range items {
		must(t, ep.Purge(ctx, []remote.ItemID{it.ID}))
	}
	if left, err := os.ReadDir(filepath.Join(p.staging, "trash")); err != nil || len(left) != 0 {
		t.Fatalf("purged, there is %v, %v", left, err)
	}
}

// TestALargeTrashIsListedInPages has a tree of versions more than a page, of which some are purged while it is listed.
func TestALargeTrashIsListedInPages(t *testing.T) {
	p := newPlace(t)
	ctx := context.Background()
	ep := p.open(dir.Options{Staging: p.staging})
	want := map[string]int{}
	for i := range 2500 {
		at := []string{"", "d", "d/e", "d/e/f", "2024-reports", "f"}[i%6]
		must(t, os.MkdirAll(filepath.Join(p.staging, "trash", at), 0o700))
		name := fmt.Sprintf("%d-%s", 1_700_000_000_000_000_000+i, []string{"f", "g", strings.Repeat("n", 235)}[i/6%3])
		must(t, os.WriteFile(filepath.Join(p.staging, "trash", at, name), nil, 0o600))
		want["t:"+strings.TrimPrefix(at+"/"+name, "/")] = 1
	}
	listed := func(under string, purge bool) (seen map[string]int, pages int) {
		seen = map[string]int{}
		for page, i := "", 0; ; {
			items, next, err := ep.Trash(ctx, under, page)
			must(t, err)
			pages++
			for _, it := range items {
				seen[string(it.ID)]++
				if i++; purge && i%4 == 0 {
					must(t, ep.Purge(ctx, []remote.ItemID{it.ID}))
					delete(want, string(it.ID))
				}
			}
			if page = next; page == "" {
				return seen, pages
			}
		}
	}
	if all, pages := listed("", false); !maps.Equal(all, want) || pages != 3 {
		t.Fatalf("%d pages list %d of %d versions", pages, len(all), len(want))
	}
	all := maps.Clone(want)
	if seen, _ := listed("", true); !maps.Equal(seen, all) {
		t.Fatalf("while some were purged %d of %d versions were listed", len(seen), len(all))
	}
	for _, under := range []string{"", "f", "d", "d/e", "d/e/f", "2024-reports", strings.Repeat("n", 255)} {
		some := map[string]int{}
		for id := range want {
			path := strings.TrimPrefix(id, "t:")
			cut := strings.LastIndexByte(path, '/') + 1
			was := path[:cut] + path[cut:][strings.IndexByte(path[cut:], '-')+1:]
			long := len(under) == 255 && strings.HasPrefix(path[cut:], "17") && strings.HasSuffix(path, "nnn") && cut == 0
			if under == "" || was == under || strings.HasPrefix(was, under+"/") || long {
				some[id] = 1
			}
		}
		if got, _ := listed(under, false); !maps.Equal(got, some) || len(some) == 0 {
			t.Errorf("at or below %.10q there are %d versions, want %d", under, len(got), len(some))
		}
	}
}

func TestWhatItsOwnerMayNotReadIsReadFromTheTrash(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	p := newPlace(t)
	ctx := context.Background()
	ep := p.open(dir.Options{Staging: p.staging})
	p.write("f", "shut")
	must(t, os.Chmod(filepath.Join(p.root, "f"), 0o200))
	must(t, ep.Delete(ctx, "p:f", remote.Pre{Tag: p.stat("f").Tag}, ""))
	items, _, err := ep.Trash(ctx, "f", "")
	must(t, err)
	if len(items) != 1 || items[0].Mode != 0o200 {
		t.Fatalf("the trash has %+v", items)
	}
	r, err := ep.Read(ctx, items[0].ID, "", 0, -1)
	must(t, err)
	data, err := io.ReadAll(r)
	must(t, errors.Join(err, r.Close()))
	again, _, err := ep.Trash(ctx, "f", "")
	must(t, err)
	if string(data) != "shut" || again[0].Mode != 0o200 {
		t.Fatalf("it has %q, and then mode %o", data, again[0].Mode)
	}
}

func TestLeftoversAreRemovedUnlessTheyAreInUse(t *testing.T) {
	p := newPlace(t)
	tmp := filepath.Join(p.staging, "tmp")
	must(t, os.WriteFile(filepath.Join(tmp, "1-dead"), []byte("x"), 0o600))
	live, err := os.Create(filepath.Join(tmp, "2-live"))
	must(t, err)
	defer live.Close()
	must(t, unix.Flock(int(live.Fd()), unix.LOCK_SH))
	p.open(dir.Options{Staging: p.staging})
	left, err := os.ReadDir(tmp)
	must(t, err)
	if len(left) != 1 || left[0].Name() != "2-live" {
		t.Fatalf("left: %v", left)
	}
}

func TestAReadOnlyDirectoryIsASource(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("permissions do not hold the administrator back")
	}
	t.Parallel()
	root := t.TempDir()
	must(t, os.WriteFile(filepath.Join(root, "f"), []byte("x"), 0o644))
	must(t, os.Chmod(root, 0o555))
	t.Cleanup(func() { must(t, os.Chmod(root, 0o755)) })
	ep, err := dir.Open(root, dir.Options{})
	must(t, err)
	defer ep.Close()
	if n := count(t, ep, "p:"); n != 1 {
		t.Fatalf("%d entries", n)
	}
	_, err = ep.Put(context.Background(), &remote.Upload{Parent: "p:", Name: "g", Body: strings.NewReader("")})
	is(t, err, remote.ErrReadOnly)
	if ep.Caps().Create != remote.Never {
		t.Fatal("creating is offered")
	}
}
