package memory_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"vdfs/syncer/remote"
	"vdfs/syncer/remote/bounded"
	"vdfs/syncer/remote/faulty"
	"vdfs/syncer/remote/memory"
	"vdfs/syncer/remote/remotetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]func(c *remote.Caps){
		"all on":            func(*remote.Caps) {},
		"ids are paths":     func(c *remote.Caps) { c.StableID, c.FeedMoves = false, false },
		"no feed":           func(c *remote.Caps) { c.Feed, c.FeedMoves = false, false },
		"as a directory is": func(c *remote.Caps) { c.StableID, c.Feed, c.FeedMoves, c.Idempotent = false, false, false, false },
		"no symlinks":       func(c *remote.Caps) { c.Symlinks = false },
		"no ranges":         func(c *remote.Caps) { c.Ranges = false },
		"no times":          func(c *remote.Caps) { c.MtimeGrain = 0 },
		"coarse times":      func(c *remote.Caps) { c.MtimeGrain = 2e9 },
		"no permissions":    func(c *remote.Caps) { c.Perm = remote.PermNone },
		"x bit only":        func(c *remote.Caps) { c.Perm = remote.PermExec },
		"proof by size":     func(c *remote.Caps) { c.Proof = remote.ProofSize },
		"no trash":          func(c *remote.Caps) { c.Trash, c.Versions = false, false },
		"trash not listed":  func(c *remote.Caps) { c.ListTrash = false },
		"not idempotent":    func(c *remote.Caps) { c.Idempotent = false },
		"folded names":      func(c *remote.Caps) { c.Names.Fold = remote.FoldUnicode },
		"small files only":  func(c *remote.Caps) { c.MaxSize = 32 << 20 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			remotetest.Run(t, func(t *testing.T) remotetest.Harness {
				caps := memory.AllCaps()
				off(&caps)
				return harness(memory.New(memory.Options{Caps: &caps}))
			})
		})
	}
}

func TestConformanceThroughAnEmptyScript(t *testing.T) {
	t.Parallel()
	remotetest.Run(t, func(t *testing.T) remotetest.Harness {
		h := harness(memory.New(memory.Options{PageSize: 100}))
		plain := h.Open
		h.Open = func(t testing.TB) remote.Endpoint { return faulty.Wrap(plain(t), &faulty.Script{}) }
		return h
	})
}

func TestConformanceThroughWorkers(t *testing.T) {
	t.Parallel()
	remotetest.Run(t, func(t *testing.T) remotetest.Harness {
		h := harness(memory.New(memory.Options{PageSize: 100}))
		plain := h.Open
		h.Open = func(t testing.TB) remote.Endpoint {
			ep, err := bounded.NewPool().Open(context.Background(), func(context.Context) (remote.Endpoint, error) { return plain(t), nil })
			if err != nil {
				t.Fatal(err)
			}
			return ep
		}
		return h
	})
}

func harness(s *memory.Store) remotetest.Harness {
	return remotetest.Harness{
		Open:       func(testing.TB) remote.Endpoint { return s.Open() },
		Direct:     direct{s},
		LimitSpace: func(_ testing.TB, n int64) { s.SetQuota(n) },
	}
}

// direct reaches a store by its own controls.
type direct struct{ s *memory.Store }

func (d direct) Write(t testing.TB, path, data string) {
	t.Helper()
	if err := d.s.WriteFile(path, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

func (d direct) Tree(testing.TB) map[string]string { return d.s.Tree() }

func (d direct) Kept(testing.TB) []string {
	var out []string
	for _, k := range d.s.Kept() {
		out = append(out, string(k.Data))
	}
	return out
}

func (d direct) Litter(testing.TB) []string { return nil }
func (d direct) LoseRoot(testing.TB)        { d.s.SetRootGone(true) }
func (d direct) SwapRoot(testing.TB)        { d.s.SetEmptyRoot(true) }

func (d direct) RestoreRoot(testing.TB) {
	d.s.SetRootGone(false)
	d.s.SetEmptyRoot(false)
}

func TestOfflineEndsAndNothingIsLost(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := memory.New(memory.Options{})
	if err := s.WriteFile("d/f", []byte("x")); err != nil {
		t.Fatal(err)
	}
	ep := s.Open()
	s.SetOffline(true)
	if _, err := ep.Check(ctx); !errors.Is(err, remote.ErrUnavailable) || !remote.Temporary(err) {
		t.Fatalf("got %v", err)
	}
	s.SetOffline(false)
	if _, err := ep.Check(ctx); err != nil {
		t.Fatal(err)
	}
	if got, want := s.Tree(), map[string]string{"d/": "", "d/f": "x"}; !maps.Equal(got, want) {
		t.Fatalf("got %v", got)
	}
}

func TestAnEmptyRootListsNothingAndFailsItsCheck(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := memory.New(memory.Options{})
	if err := s.WriteFile("f", []byte("x")); err != nil {
		t.Fatal(err)
	}
	ep := s.Open()
	st, err := ep.Check(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s.SetEmptyRoot(true)
	if _, err := ep.Check(ctx); !errors.Is(err, remote.ErrRootGone) {
		t.Fatalf("got %v", err)
	}
	if kids, _, err := ep.List(ctx, st.Root, ""); err != nil || len(kids) != 0 {
		t.Fatalf("got %v, %v", kids, err)
	}
	b, err := ep.Changes(ctx, "")
	if err != nil || !b.Full || len(b.Changes) != 0 {
		t.Fatalf("got %v, %v", b, err)
	}
}

func TestANewEpochExpiresCursors(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := memory.New(memory.Options{})
	ep := s.Open()
	b, err := ep.Changes(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	before, err := ep.Check(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s.NewEpoch()
	if _, err := ep.Changes(ctx, b.Next); !errors.Is(err, remote.ErrCursorExpired) {
		t.Fatalf("got %v", err)
	}
	if after, err := ep.Check(ctx); err != nil || after.Epoch == before.Epoch {
		t.Fatalf("got %v, %v", after, err)
	}
}

func TestTheSameCallsGiveTheSameTokens(t *testing.T) {
	t.Parallel()
	play := func() string {
		s := memory.New(memory.Options{})
		for _, p := range []string{"a/b/c", "a/d", "e"} {
			if err := s.WriteFile(p, []byte(p)); err != nil {
				t.Fatal(err)
			}
		}
		b, err := s.Open().Changes(context.Background(), "")
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, c := range b.Changes {
			out = append(out, string(c.ID)+string(c.Tag)+c.Mtime.String())
		}
		return strings.Join(out, " ")
	}
	if a, b := play(), play(); a != b {
		t.Fatalf("%s\n%s", a, b)
	}
}
