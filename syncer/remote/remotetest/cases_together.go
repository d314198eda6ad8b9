package remotetest

import (
	"errors"
	"fmt"

	"vdfs/syncer/remote"
)

var gathers = need("Together", func(c *remote.Caps) bool { return c.Together > 1 })

// together stores files by PutAll.
func (e *env) together(all ...*remote.Upload) []remote.Stored {
	e.Helper()
	g, ok := e.ep.(remote.Gatherer)
	if !ok {
		e.Fatal("Caps says that it stores files together")
	}
	out := g.PutAll(e.ctx, all)
	same(e, "outcomes", len(out), len(all))
	return out
}

var togetherCases = []test{
	{"files that are put together come back as each was", gathers, func(e *env) {
		d := e.mkdir(e.root, "d")
		old := e.put("old", "before")
		var all []*remote.Upload
		var want []string
		add := func(u *remote.Upload, data string) { all, want = append(all, u), append(want, data) }
		for i := range e.caps.Together / 2 {
			parent := e.root
			if i%2 == 1 {
				parent = d.ID
			}
			data := pattern(1000*i, byte(i))
			add(creation(parent, fmt.Sprintf("f%d", i), data), data)
		}
		add(replacement(old, "after"), "after")
		for i, got := range e.together(all...) {
			e.ok(got.Err)
			if least := min(e.caps.Proof, remote.ProofStrong); got.Proof < least {
				e.Fatalf("proved by %v, want at least %v", got.Proof, least)
			}
			same(e, "size", got.Entry.Size, int64(len(want[i])))
			now := e.stat(got.Entry.ID)
			same(e, "tag of stat", now.Tag, got.Entry.Tag)
			same(e, "content of stat", now.Content, got.Entry.Content)
			data, err := e.read(e.ep, got.Entry.ID, got.Entry.Content, 0, -1)
			e.ok(err)
			if data != want[i] {
				e.Fatalf("%s: %d bytes came back as other bytes", got.Entry.Name, len(want[i]))
			}
		}
	}},
	{"of files that are put together those that fail hold up no others", gathers, func(e *env) {
		taken, gone := e.put("taken", "old"), e.mkdir(e.root, "gone")
		e.ok(e.ep.Delete(e.ctx, gone.ID, remote.Pre{Empty: true}, ""))
		wrong := creation(e.root, "wrong", "bytes")
		wrong.Hashes = remote.Hashes{remote.BLAKE3: blake("others")}
		short := creation(e.root, "short", "bytes")
		short.Size++
		stale := replacement(taken, "new")
		stale.Pre = remote.Pre{Tag: "another", Content: "another"}
		out := e.together(
			creation(e.root, "first", "1"), creation(e.root, "taken", "new"), creation(gone.ID, "f", "x"), wrong, short, stale,
			creation(e.root, "twice", "one"), creation(e.root, "twice", "two"), creation(e.root, "last", "9"),
		)
		for i, want := range []error{nil, remote.ErrExists, remote.ErrNotFound, remote.ErrCorrupt, errAny, remote.ErrPrecondition, nil, remote.ErrExists, nil} {
			switch err := out[i].Err; {
			case want == errAny && err != nil:
			case want != nil:
				e.is(err, want)
			default:
				e.ok(err)
			}
		}
		e.tree("first", "1", "taken", "old", "twice", "one", "last", "9")
	}},
}

// errAny stands for an error of any kind.
var errAny = errors.New("any")
