package syncer

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"vdfs/cache"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/memory"
)

// side is one replica that a trace works on.
type side interface {
	write(p, data string)
	mkdir(p string)
	move(from, to string)
	remove(p string)
	tree() map[string]string
}

func (f *far) tree() map[string]string { return f.s.Tree() }

// trace is a random history: bursts of unsynchronised work on every side, with
// a settlement after each, checked against what the scenarios promise.
type trace struct {
	r     *rig
	rng   *rand.Rand
	sides []side
	names []string
	token int
	log   []string
	// blind tells of the sides whose moves look like a deletion and a creation
	// to everybody else: such a creation may bring back what another deleted.
	blind   []bool
	blinded bool // one of them moved something in this burst
}

// traces is how many random histories a test runs; VDFS_TRACES asks for more.
func traces(t *testing.T, normal int) int {
	if v := os.Getenv("VDFS_TRACES"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatalf("VDFS_TRACES: %v", err)
		}
		return n
	}
	if testing.Short() {
		return normal / 5
	}
	return normal
}

func TestRandomTracesOneLeg(t *testing.T)  { runTraces(t, 1) }
func TestRandomTracesTwoLegs(t *testing.T) { runTraces(t, 2) }

// firstSeed is the seed of the first of several histories; VDFS_SEED asks for another.
func firstSeed(t *testing.T) uint64 {
	first := uint64(1)
	if v := os.Getenv("VDFS_SEED"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatalf("VDFS_SEED: %v", err)
		}
		first = n
	}
	return first
}

// tell prints what a history that failed did.
func (tr *trace) tell(t *testing.T, seed uint64) {
	if t.Failed() {
		t.Logf("seed %d:\n%s", seed, strings.Join(tr.log, "\n"))
	}
}

func runTraces(t *testing.T, legs int) {
	first := firstSeed(t)
	for i := range uint64(traces(t, 40)) {
		seed := first + i
		for k, fl := range flavours() {
			t.Run(fmt.Sprintf("seed %d %s", seed, fl.name), func(t *testing.T) {
				t.Parallel()
				stores := make([]*memory.Store, legs)
				blind := []bool{false}
				for j := range stores {
					o := flavours()[(k+j)%len(flavours())].opts()
					stores[j] = memory.New(o)
					blind = append(blind, o.NoIdent)
				}
				tr := &trace{blind: blind, r: newRig(t, stores...), rng: rand.New(rand.NewPCG(seed, uint64(k))), names: []string{"a", "b", "c", "d", "e", "f"}}
				defer tr.tell(t, seed)
				tr.run()
			})
		}
	}
}

func (tr *trace) run() {
	r := tr.r
	tr.sides = append(tr.sides, r)
	for i := range r.stores {
		tr.sides = append(tr.sides, r.far(i))
	}
	r.settle()
	for range 3 {
		base := r.agree()
		tr.blinded = false
		var after []map[string]string
		for i, s := range tr.sides {
			for range tr.rng.IntN(6) {
				tr.step(i, s)
			}
			after = append(after, s.tree())
		}
		tr.disturb()
		r.settle()
		final := r.agree()
		tr.check(base, after, final)
		if r.t.(*testing.T).Failed() {
			return
		}
		tr.idle(final)
	}
}

// disturb cuts cycles short, kills the daemon, or makes the endpoint fail now and then.
func (tr *trace) disturb() {
	r := tr.r
	switch tr.rng.IntN(5) {
	case 3:
		nth := 1 + tr.rng.IntN(8)
		tr.note("killed after write %d", nth)
		r.killAfter(nth)
		for _, l := range r.legs() {
			_ = r.cycle(l) // whatever it came to
		}
		r.script.Clear()
		r.reopen()
		r.lookBack()
		r.unpark()
	case 0:
		tr.note("killed")
		r.reopen()
	case 1:
		tr.note("items deleted")
		for _, l := range r.legs() {
			r.must(r.c.Update(0, func(tx *cache.Tx) error { return tx.DeleteAllItems(l.id) }))
			r.rederive(l)
		}
	case 2:
		tr.note("cut short")
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		for _, l := range r.legs() {
			_, _ = l.cycle(ctx, true, &syncCall{done: make(chan error, 1)}) // whatever it came to
		}
		r.reopen()
	}
}

func (tr *trace) note(format string, args ...any) {
	tr.log = append(tr.log, fmt.Sprintf(format, args...))
}

func files(tree map[string]string, dirs bool) []string {
	var out []string
	for _, p := range slices.Sorted(maps.Keys(tree)) {
		if strings.HasSuffix(p, "/") == dirs {
			out = append(out, strings.TrimSuffix(p, "/"))
		}
	}
	return out
}

// step does one random thing on a side, if it is possible there.
func (tr *trace) step(i int, s side) {
	tree := s.tree()
	all, dirs := files(tree, false), files(tree, true)
	any := slices.Concat(all, dirs)
	pick := func(of []string) string { return of[tr.rng.IntN(len(of))] }
	dir := ""
	if len(dirs) > 0 && tr.rng.IntN(2) == 0 {
		dir = pick(dirs)
	}
	target := path.Join(dir, pick(tr.names))
	_, isFile := tree[target]
	_, isDir := tree[target+"/"]
	switch op := tr.rng.IntN(10); {
	case op < 4 && !isDir && strings.Count(target, "/") < 4:
		tr.token++
		tr.note("side %d: write %s t%d", i, target, tr.token)
		s.write(target, fmt.Sprintf("t%d", tr.token))
	case op < 5 && !isFile && !isDir && strings.Count(target, "/") < 3:
		tr.note("side %d: mkdir %s", i, target)
		s.mkdir(target)
	case op < 8 && len(any) > 0 && !isFile && !isDir:
		from := pick(any)
		if target == from || strings.HasPrefix(target, from+"/") || strings.Count(target, "/") > 3 {
			return
		}
		tr.note("side %d: move %s %s", i, from, target)
		tr.blinded = tr.blinded || tr.blind[i]
		s.move(from, target)
	case op == 8 && len(any) > 0:
		p := pick(any)
		tr.note("side %d: remove %s", i, p)
		s.remove(p)
	case op == 9 && i == 0 && len(all) > 1:
		a, b := pick(all), pick(all)
		if a == b {
			return
		}
		tr.note("side %d: exchange %s %s", i, a, b)
		r := tr.r
		r.must(r.c.Rename(r.parent(a), path.Base(a), r.parent(b), path.Base(b), cache.RenameExchange))
	}
}

func tokens(tree map[string]string) map[string]bool {
	out := map[string]bool{}
	for p, v := range tree {
		if !strings.HasSuffix(p, "/") {
			out[v] = true
		}
	}
	return out
}

// check holds the outcome of a burst against O2, O3, O4 and O5.
func (tr *trace) check(base map[string]string, after []map[string]string, final map[string]string) {
	t := tr.r.t.(*testing.T)
	was, is := tokens(base), tokens(final)
	written := map[string]bool{}
	deleted := map[string]bool{}
	for i, tree := range after {
		have := tokens(tree)
		for tok := range have {
			if was[tok] {
				continue
			}
			written[tok] = true
			if !is[tok] {
				t.Errorf("O2: %s, written on side %d, is lost; final %q", tok, i, final)
			}
		}
		for tok := range was {
			if !have[tok] {
				deleted[tok] = true
			}
		}
	}
	for tok := range was {
		switch {
		case deleted[tok] && is[tok] && !tr.blinded:
			t.Errorf("O4: %s was deleted or replaced and is back; final %q", tok, final)
		case !deleted[tok] && !is[tok]:
			t.Errorf("O2: %s was on every side and is lost; final %q", tok, final)
		}
	}
	for tok := range is {
		if !was[tok] && !written[tok] {
			t.Errorf("O3: %s was never written", tok)
		}
	}
	for p := range final {
		if strings.Contains(p, ".vdfs") {
			t.Errorf("O8: litter %s", p)
		}
	}
}

// idle checks O7 and O11: another full round does nothing.
func (tr *trace) idle(final map[string]string) {
	r := tr.r
	var before []remote.Cursor
	for i := range r.stores {
		before = append(before, r.seq(i))
	}
	for _, l := range r.legs() {
		var c counts
		ep, err := l.check(context.Background())
		r.must(err)
		r.must(l.pull(context.Background(), ep, true))
		_, _, err = l.generation(context.Background(), ep, &c, &syncCall{})
		r.must(err)
		if c != (counts{}) {
			r.t.Errorf("O7: leg %d did %+v on a drive at rest", l.id, c)
		}
	}
	for i := range r.stores {
		if now := r.seq(i); now != before[i] {
			r.t.Errorf("O7: endpoint %d was written to: %s, then %s", i, before[i], now)
		}
	}
	wantTree(r.t.(*testing.T), r.agree(), final)
}

// seq is a token that moves with every write to a store.
func (r *rig) seq(i int) remote.Cursor {
	r.t.Helper()
	ep := r.stores[i].Open()
	var c remote.Cursor
	for {
		b, err := ep.Changes(context.Background(), c)
		r.must(err)
		c = b.Next
		if !b.More {
			return c
		}
	}
}
