// Package remotetest is the conformance suite of remote.Endpoint: what every
// storage promises, as tests. A case is skipped only where a field of Caps says
// that the storage cannot do it, and the skip names the field.
package remotetest

import (
	"context"
	"testing"
	"time"

	"vdfs/syncer/remote"
)

// Harness is one empty storage, made for one case.
type Harness struct {
	// Open returns a new session on the storage. The suite closes it.
	Open func(t testing.TB) remote.Endpoint
	// Other returns a session of someone else; nil: as Open.
	Other func(t testing.TB) remote.Endpoint
	// Direct reaches the storage behind the endpoint's back.
	Direct Direct
	// LimitSpace makes the storage refuse more than n further content bytes; nil
	// where that cannot be arranged.
	LimitSpace func(t testing.TB, n int64)
}

// Direct works on the storage itself, with slash-separated paths.
type Direct interface {
	// Write creates a file or overwrites it in place.
	Write(t testing.TB, path, data string)
	// Tree returns all visible files by path with their content; a directory's
	// path ends in "/" and has none, a symlink's content is "-> target".
	Tree(t testing.TB) map[string]string
	// Kept returns the contents of all versions in trash and history.
	Kept(t testing.TB) []string
	// Litter names what unfinished writes left behind.
	Litter(t testing.TB) []string
	// LoseRoot makes the root unreachable, SwapRoot puts an empty other one in
	// its place, RestoreRoot undoes either.
	LoseRoot(t testing.TB)
	SwapRoot(t testing.TB)
	RestoreRoot(t testing.TB)
}

// test is one case: a sentence, the field of Caps that excuses from it ("" when
// nothing does), and the proof.
type test struct {
	says  string
	needs func(c *remote.Caps) (field string, ok bool)
	run   func(e *env)
}

// Run runs every case on a storage of its own, made by fresh.
func Run(t *testing.T, fresh func(t *testing.T) Harness) {
	t.Helper()
	for _, group := range [][]test{
		rootCases, listCases, createCases, replaceCases, bodyCases, togetherCases, directoryCases,
		updateCases, deleteCases, trashCases, anchorCases, readCases, changeCases, nameCases, faultCases,
	} {
		for _, c := range group {
			t.Run(c.says, func(t *testing.T) {
				t.Parallel()
				e := newEnv(t, fresh(t))
				if c.needs != nil {
					if field, ok := c.needs(e.caps); !ok {
						t.Skipf("Caps.%s is off", field)
					}
				}
				c.run(e)
			})
		}
	}
}

// env is what a case works with.
type env struct {
	*testing.T
	h     Harness
	ctx   context.Context
	ep    remote.Endpoint
	other remote.Endpoint
	caps  *remote.Caps
	root  remote.ItemID
}

func newEnv(t *testing.T, h Harness) *env {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	e := &env{T: t, h: h, ctx: ctx}
	e.ep = e.open(h.Open)
	if h.Other == nil {
		h.Other = h.Open
	}
	e.other = e.open(h.Other)
	e.caps = e.ep.Caps()
	st, err := e.ep.Check(ctx)
	e.ok(err)
	e.root = st.Root
	return e
}

func (e *env) open(open func(testing.TB) remote.Endpoint) remote.Endpoint {
	ep := open(e.T)
	e.Cleanup(func() {
		if err := ep.Close(); err != nil {
			e.Errorf("close: %v", err)
		}
	})
	return ep
}

func need(field string, get func(c *remote.Caps) bool) func(c *remote.Caps) (string, bool) {
	return func(c *remote.Caps) (string, bool) { return field, get(c) }
}
