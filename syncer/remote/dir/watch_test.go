package dir_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"vdfs/syncer/remote"
	"vdfs/syncer/remote/dir"
)

// follow starts a cursor and lists everything, as the syncer does first.
func (p *place) follow(ep *dir.Endpoint) remote.Cursor {
	p.Helper()
	b, err := ep.Changes(context.Background(), "")
	must(p, err)
	count(p, ep, "p:")
	return b.Next
}

// hints returns what Changes says, as "path" or "path*" where all below is meant.
func (p *place) hints(ep *dir.Endpoint, since remote.Cursor) (string, remote.Cursor) {
	p.Helper()
	b, err := ep.Changes(context.Background(), since)
	must(p, err)
	var out []string
	for _, c := range b.Changes {
		path := strings.TrimPrefix(string(c.ID), "p:")
		switch c.Relist {
		case remote.RelistDeep:
			path += "*"
		case remote.RelistNo:
			p.Fatalf("%s is no hint", c.ID)
		}
		out = append(out, "/"+path)
	}
	return strings.Join(out, " "), b.Next
}

func TestHintsNameTheDirectories(t *testing.T) {
	p := newPlace(t)
	must(t, os.MkdirAll(p.at("a/b"), 0o755))
	must(t, os.MkdirAll(p.at("c"), 0o755))
	p.write("a/b/f", "1")
	cur := p.follow(p.ep)
	step := func(want string, do func()) {
		t.Helper()
		do()
		var got string
		if got, cur = p.hints(p.ep, cur); got != want {
			t.Fatalf("got hints %q, want %q", got, want)
		}
		count(t, p.ep, "p:")
	}
	step("", func() {})
	step("/a/b", func() { p.write("a/b/f", "2") })
	step("/a/b", func() { must(t, os.Chmod(p.at("a/b/f"), 0o600)) })
	step("/a/b /c", func() { must(t, os.Rename(p.at("a/b/f"), p.at("c/f"))) })
	step("/a /a/new*", func() { must(t, os.MkdirAll(p.at("a/new/deep"), 0o755)) })
	step("/a/new/deep", func() { p.write("a/new/deep/f", "3") })
	step("/ /c /c/moved*", func() { must(t, os.Rename(p.at("a"), p.at("c/moved"))) })
	step("/c/moved/b", func() { p.write("c/moved/b/f", "4") })
	step("/c/moved/new/deep", func() { p.write("c/moved/new/deep/f", "5") })
	step("/c", func() { must(t, os.RemoveAll(p.at("c/moved"))) })
	step("", func() { must(t, os.WriteFile(p.root+"-beside", nil, 0o600)) })
}

func TestADirectoryMovedOutIsNotFollowed(t *testing.T) {
	p := newPlace(t)
	must(t, os.MkdirAll(p.at("a/b"), 0o755))
	cur := p.follow(p.ep)
	must(t, os.Rename(p.at("a"), p.root+"-out"))
	got, cur := p.hints(p.ep, cur)
	if got != "/" || p.ep.Watched() != 1 {
		t.Fatalf("hints %q, %d watched", got, p.ep.Watched())
	}
	must(t, os.WriteFile(p.root+"-out/b/f", nil, 0o600))
	if got, _ := p.hints(p.ep, cur); got != "" {
		t.Fatalf("hints %q", got)
	}
}

func TestTooManyHintsBecomeOne(t *testing.T) {
	p := placeIn(t, quickDir(t))
	cur := p.follow(p.ep)
	for i := range 5000 {
		must(t, os.Mkdir(p.at(fmt.Sprintf("d%d", i)), 0o755))
		if i%1000 == 0 {
			p.list("") // takes events from the kernel
		}
	}
	if got, _ := p.hints(p.ep, cur); got != "/*" {
		t.Fatalf("got %d bytes of hints", len(got))
	}
}

func TestAnOverflowIsAFullListing(t *testing.T) {
	data, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	must(t, err)
	var n int
	if _, err := fmt.Sscan(string(data), &n); err != nil || n > 20_000 {
		t.Skipf("the queue holds %d events: too many to fill", n)
	}
	p := newPlace(t)
	p.write("a", "")
	p.write("b", "")
	cur := p.follow(p.ep)
	for i := 0; i < n; i++ { // two events a turn, each unlike the one before
		must(t, os.Chmod(p.at("a"), 0o600))
		must(t, os.Chmod(p.at("b"), 0o600))
	}
	if got, _ := p.hints(p.ep, cur); got != "/*" {
		t.Fatalf("hints %q", got)
	}
}

func TestTheWatchLimitIsToldAndPolled(t *testing.T) {
	p := newPlace(t)
	must(t, os.MkdirAll(p.at("a/b"), 0o755))
	now := time.Unix(1_700_000_000, 0)
	ep := p.open(dir.Options{Staging: p.staging, Poll: time.Minute, Now: func() time.Time { return now }})
	ep.LimitWatches(2)
	if n := ep.Notice(); n != "" {
		t.Fatalf("notice before anything happened: %s", n)
	}
	cur := p.follow(ep)
	if n := ep.Notice(); !strings.Contains(n, "fs.inotify.max_user_watches") || !strings.Contains(n, "1m0s") {
		t.Fatalf("notice: %s", n)
	}
	p.write("a/b/f", "not watched")
	got, cur := p.hints(ep, cur)
	if got != "" {
		t.Fatalf("hints %q", got)
	}
	now = now.Add(time.Minute)
	must(t, ep.Wait(context.Background(), cur))
	if got, _ = p.hints(ep, cur); got != "/*" {
		t.Fatalf("hints %q", got)
	}
}

func TestAFileThatIsWrittenForLongIsSeen(t *testing.T) {
	p := newPlace(t)
	f, err := os.Create(p.at("log"))
	must(t, err)
	defer f.Close()
	cur := p.follow(p.ep)
	if _, err := f.WriteString("a line"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	must(t, p.ep.Wait(ctx, cur))
	if got, _ := p.hints(p.ep, cur); got != "/" {
		t.Fatalf("hints %q", got)
	}
}

func TestAWaitSeesTheRootGo(t *testing.T) {
	p := newPlace(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cur := p.follow(p.ep)
	must(t, os.Rename(p.root, p.root+"-away"))
	must(t, p.ep.Wait(ctx, cur))
	_, err := p.ep.Changes(ctx, cur)
	is(t, err, remote.ErrRootGone)
	must(t, os.Rename(p.root+"-away", p.root))
	must(t, os.WriteFile(p.at("f"), nil, 0o600))
	if got, _ := p.hints(p.ep, cur); got != "/" {
		t.Fatalf("hints %q", got)
	}
}

func TestARootMadeAgainElsewhereStaysGone(t *testing.T) {
	p := newPlace(t)
	ctx := context.Background()
	cur := p.follow(p.ep)
	must(t, os.RemoveAll(p.root))
	must(t, os.Mkdir(p.root, 0o755))
	if _, err := p.ep.Changes(ctx, cur); !errors.Is(err, remote.ErrRootGone) {
		t.Fatalf("got %v", err)
	}
}

func TestADirectoryListedBeforeTheFirstCursorIsWatched(t *testing.T) {
	p := newPlace(t)
	must(t, os.Mkdir(p.at("a"), 0o755))
	p.list("a")
	b, err := p.ep.Changes(context.Background(), "")
	must(t, err)
	p.write("a/f", "1")
	if got, _ := p.hints(p.ep, b.Next); got != "/a" {
		t.Fatalf("hints %q", got)
	}
}

func TestWhatTheEndpointWroteItselfIsNoNews(t *testing.T) {
	p := newPlace(t)
	ctx := context.Background()
	must(t, os.Mkdir(p.at("a"), 0o755))
	p.write("a/old", "theirs")
	cur := p.follow(p.ep)
	step := func(what, want string, do func()) {
		t.Helper()
		do()
		var got string
		if got, cur = p.hints(p.ep, cur); got != want {
			t.Fatalf("%s: got hints %q, want %q", what, got, want)
		}
	}
	put := func(name string) remote.Entry {
		t.Helper()
		e, err := p.put(&remote.Upload{Parent: "p:a", Name: name}, "ours")
		must(t, err)
		return e
	}
	over := func(e remote.Entry) remote.Entry {
		t.Helper()
		e, err := p.put(&remote.Upload{ID: e.ID, Pre: remote.Pre{Tag: e.Tag}}, "ours again")
		must(t, err)
		return e
	}
	var e remote.Entry
	step("two new files", "", func() { e = put("f"); put("g") })
	step("one over ours", "", func() { e = over(e) })
	step("one over theirs", "", func() { over(p.stat("a/old")) })
	step("a file that goes", "", func() { must(t, p.ep.Delete(ctx, e.ID, remote.Pre{Tag: e.Tag}, "")) })
	step("theirs in the place of one that went", "/a", func() { p.write("a/f", "theirs") })
	step("theirs beside ours", "/a", func() { put("h"); p.write("a/theirs", "x") })
	step("theirs over ours", "/a", func() { put("i"); p.write("a/i", "theirs") })
	step("theirs over ours, later", "/a", func() { p.write("a/g", "OURS") })
	step("ours with another mode", "/a", func() { put("j"); must(t, os.Chmod(p.at("a/j"), 0o600)) })
	step("ours with another name", "/a", func() { put("k"); must(t, os.Rename(p.at("a/k"), p.at("a/K"))) })
	step("ours that they remove", "/a", func() { put("l"); must(t, os.Remove(p.at("a/l"))) })
	step("a write that fails", "/a", func() {
		e := put("m")
		p.write("a/m", "theirs")
		_, err := p.put(&remote.Upload{ID: e.ID, Pre: remote.Pre{Tag: e.Tag}}, "ours again")
		is(t, err, remote.ErrPrecondition)
	})
	step("nothing", "", func() {})
}

func TestTheirsOverOursEndsAWait(t *testing.T) {
	p := newPlace(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cur := p.follow(p.ep)
	_, err := p.put(&remote.Upload{Parent: "p:", Name: "f"}, "ours")
	must(t, err)
	p.write("f", "theirs")
	must(t, p.ep.Wait(ctx, cur))
	if got, _ := p.hints(p.ep, cur); got != "/" {
		t.Fatalf("hints %q", got)
	}
}
