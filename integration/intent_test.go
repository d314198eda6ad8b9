package integration

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// isHere checks which files have all their bytes here and which none.
func (f *fixture) isHere(when string, want map[string]string) {
	f.t.Helper()
	for name, residency := range want {
		if i := f.info(name)[0]; i.Residency != residency {
			f.t.Errorf("%s: %s is %s, want %s", when, name, i.Residency, residency)
		}
	}
}

// wish checks what holds for a file, and whose wish that is.
func (f *fixture) wish(when, name, pin, from, path string) {
	f.t.Helper()
	if i := f.info(name)[0]; i.Pin != pin || i.PinFrom != from || i.PinPath != path {
		f.t.Errorf("%s: %s is %s by %s %q, want %s by %s %q", when, name, i.Pin, i.PinFrom, i.PinPath, pin, from, path)
	}
}

func TestIntentsFollowMoves(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	for _, dir := range []string{"keep", "plain/sub/deep", "cold"} {
		must(t, os.MkdirAll(f.behind(dir), 0o755))
	}
	for _, name := range []string{"keep/had", "plain/file", "plain/sub/deep/below", "plain/own", "cold/one"} {
		write(t, f.behind(name), "text of "+name)
	}
	f.mount()
	f.do("pin", "--wait", f.path("keep"))
	f.do("pin", "--wait", f.path("plain/own"))
	f.do("online", f.path("cold"))
	f.isHere("at first", map[string]string{"keep/had": "full", "plain/own": "full", "plain/file": "none", "plain/sub/deep/below": "none"})

	// Into a pinned directory.
	must(t, os.Mkdir(f.path("keep/new"), 0o755))
	f.wish("made below", "keep/new", "pinned", "inherited", "/keep")
	must(t, os.Rename(f.path("plain/file"), f.path("keep/file")))
	must(t, os.Rename(f.path("plain/sub"), f.path("keep/new/sub")))
	f.wish("moved in", "keep/new/sub/deep/below", "pinned", "inherited", "/keep")
	f.becomesFull([]string{"keep/file", "keep/new/sub/deep/below"})

	// Out of it.
	must(t, os.Rename(f.path("keep/had"), f.path("plain/had")))
	must(t, os.Rename(f.path("keep/new/sub"), f.path("sub")))
	f.wish("moved out", "plain/had", "auto", "default", "")
	f.sync()
	f.isHere("moved out", map[string]string{"plain/had": "full", "sub/deep/below": "full"})

	// With a wish of their own, and into what is online.
	must(t, os.Rename(f.path("plain/own"), f.path("cold/own")))
	must(t, os.Rename(f.path("cold"), f.path("keep/cold")))
	f.wish("a pin moved", "keep/cold/own", "pinned", "self", "/keep/cold/own")
	f.wish("a directory moved", "keep/cold/one", "online", "inherited", "/keep/cold")
	must(t, os.Rename(f.path("sub/deep/below"), f.path("keep/cold/below")))
	f.wish("moved in", "keep/cold/below", "online", "inherited", "/keep/cold")
	f.sync()
	f.isHere("after all moves", map[string]string{"keep/cold/one": "none", "keep/cold/own": "full", "keep/cold/below": "full"})

	// Saved by rename, as editors do.
	write(t, f.path("keep/cold/own~"), "saved")
	must(t, os.Rename(f.path("keep/cold/own~"), f.path("keep/cold/own")))
	f.wish("saved", "keep/cold/own", "pinned", "self", "/keep/cold/own")

	// Back to what the directory above says: that is a pin.
	f.do("unpin", f.path("keep/cold"))
	f.wish("unpinned", "keep/cold/one", "pinned", "inherited", "/keep")
	f.becomesFull([]string{"keep/cold/one"})
	f.settled()
}

func TestWhatMovesOutOfAPinBeforeItCameIsNotFetched(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	must(t, os.MkdirAll(f.behind("keep/sub"), 0o755))
	for _, name := range []string{"keep/stays", "keep/leaves", "keep/sub/leaves"} {
		write(t, f.behind(name), "text of "+name)
	}
	f.mount()
	sh(t, f.at, "find", ".")
	away := f.dir + ".away"
	must(t, os.Rename(f.dir, away))
	f.goesOffline()
	f.do("pin", f.path("keep"))
	must(t, os.Rename(f.path("keep/leaves"), f.path("left")))
	must(t, os.Rename(f.path("keep/sub"), f.path("sub")))
	must(t, os.Rename(away, f.dir))
	f.sync()
	f.becomesFull([]string{"keep/stays"})
	f.isHere("moved out before it came", map[string]string{"left": "none", "sub/leaves": "none"})
	wants(t, f.path("left"), "text of keep/leaves")
	f.settled()
}

func TestOnlineDropsNowWhatMayGoAndUnpinEndsIt(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	must(t, os.Mkdir(f.behind("films"), 0o755))
	for _, name := range []string{"films/seen", "films/kept", "films/open"} {
		write(t, f.behind(name), "text of "+name)
	}
	f.mount()
	f.do("fetch", "--wait", f.path("films"))
	f.do("pin", f.path("films/kept"))
	h, err := os.Open(f.path("films/open"))
	must(t, err)
	r := f.run("online", f.path("films"))
	must(t, h.Close())
	if r.Code != 0 || !strings.Contains(r.Stderr, "1 file") || !strings.Contains(r.Stderr, "may not go yet") {
		t.Errorf("online beside an open file: %s", r)
	}
	f.isHere("online", map[string]string{"films/seen": "none", "films/kept": "full", "films/open": "full"})
	wants(t, f.path("films/seen"), "text of films/seen")
	f.wish("online", "films/seen", "online", "inherited", "/films")
	f.do("unpin", f.path("films"))
	f.wish("unpinned", "films/seen", "auto", "default", "")

	f.do("pause")
	write(t, f.path("films/unsent"), "nobody else has this")
	f.do("online", f.path("films"))
	f.isHere("not sent yet", map[string]string{"films/unsent": "full"})
	f.do("resume")
	f.settled()
}

// pinsJSON are the fields of `vdfs pins --json` that the test reads, and so below.
type pinsJSON struct {
	Path         string `json:"path"`
	Pin          string `json:"pin"`
	Files        int64  `json:"files"`
	LocalBytes   int64  `json:"local_bytes"`
	MissingBytes int64  `json:"missing_bytes"`
}

type duJSON struct {
	Path   string `json:"path"`
	Files  int64  `json:"files"`
	Pinned int64  `json:"pinned_bytes"`
	Cached int64  `json:"cached_bytes"`
	Dirty  int64  `json:"dirty_bytes"`
	Total  int64  `json:"total_bytes"`
}

type redundancyJSON struct {
	Files []struct {
		Path   string `json:"path"`
		Copies int    `json:"copies"`
		Proved int    `json:"proved"`
		Local  bool   `json:"local"`
	} `json:"files"`
	Checked int64 `json:"checked"`
	AtRisk  int64 `json:"at_risk"`
}

func TestPinsAndDuTellWhereTheSpaceGoes(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	must(t, os.MkdirAll(f.behind("keep/cold"), 0o755))
	write(t, f.behind("keep/a"), "12345")
	write(t, f.behind("keep/cold/b"), "123")
	write(t, f.behind("seen"), "1234567")
	f.mount()
	if r := f.run("pins"); r.Code != 0 || r.Stdout != "" {
		t.Errorf("nothing is pinned: %s", r)
	}
	f.do("pin", "--wait", f.path("keep"))
	f.do("online", f.path("keep/cold"))
	wants(t, f.path("seen"), "1234567")
	f.becomesFull([]string{"seen"})
	f.do("pause")
	write(t, f.path("unsent"), "12")

	var pins []pinsJSON
	must(t, f.JSON(&pins, "pins", "--json"))
	want := []pinsJSON{{"/keep", "pinned", 1, 5, 0}, {"/keep/cold", "online", 1, 0, 3}}
	slices.SortFunc(pins, func(a, b pinsJSON) int { return strings.Compare(a.Path, b.Path) })
	if !slices.Equal(pins, want) {
		t.Errorf("pins: got %+v, want %+v", pins, want)
	}
	if out := f.do("pins"); !strings.Contains(out, "pinned") || !strings.Contains(out, "/keep/cold") {
		t.Errorf("pins prints %q", out)
	}
	var use []duJSON
	must(t, f.JSON(&use, "du", "--json", f.path("keep"), f.at))
	if want := []duJSON{{"/keep", 1, 5, 0, 0, 5}, {"/", 3, 5, 7, 2, 14}}; !slices.Equal(use, want) {
		t.Errorf("du of paths: got %+v, want %+v", use, want)
	}
	must(t, f.JSON(&use, "du", "--json"))
	if want := []duJSON{{"/", 3, 5, 7, 2, 14}}; !slices.Equal(use, want) || f.status().Cache.Bytes != 14 {
		t.Errorf("du: got %+v, want %+v; status says %d", use, want, f.status().Cache.Bytes)
	}
	if r := f.run("du", f.path("keep"), f.path("none")); r.Code != 3 || !strings.Contains(r.Stdout, "/keep") || !strings.Contains(r.Stderr, "none") {
		t.Errorf("du of what is not there, too: %s", r)
	}
	f.do("resume")
	f.settled()
}

func TestAPinThatDoesNotFitChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	must(t, os.Mkdir(f.behind("huge"), 0o755))
	write(t, f.behind("huge/small"), "small")
	file, err := os.Create(f.behind("huge/file"))
	must(t, err)
	const need = int64(1) << 43
	must(t, file.Truncate(need)) // a hole: it takes no room here either
	must(t, file.Close())
	f.mount()
	free := f.status().Cache.FreeBytes
	if free >= need {
		t.Skipf("%d bytes are free: it would fit", free)
	}
	for _, args := range [][]string{{"pin", f.path("huge")}, {"pin", "--wait", f.path("huge/small"), f.path("huge/file")}, {"fetch", f.path("huge")}} {
		r := f.run(args...)
		if r.Code != 1 || r.Stdout != "" || !strings.Contains(r.Stderr, "bytes are to be fetched") || !strings.Contains(r.Stderr, fmt.Sprint(need)[:4]) {
			t.Errorf("%v: %s", args, r)
		}
		var gotNeed, gotFree int64
		_, numbers, _ := strings.Cut(r.Stderr, args[0]+": ")
		if _, err := fmt.Sscanf(numbers, "%d bytes are to be fetched, %d bytes are free", &gotNeed, &gotFree); err != nil || gotNeed < need || gotFree <= 0 || gotFree >= need {
			t.Errorf("%v: the numbers are %d and %d, %v: %s", args, gotNeed, gotFree, err, r)
		}
	}
	for _, name := range []string{"huge", "huge/small", "huge/file"} {
		f.wish("after the refusals", name, "auto", "default", "")
	}
	f.isHere("after the refusals", map[string]string{"huge/small": "none", "huge/file": "none"})
	var pins []pinsJSON
	must(t, f.JSON(&pins, "pins", "--json"))
	if held := f.status().Cache.Bytes; held != 0 || len(pins) != 0 {
		t.Errorf("after the refusals %d bytes are here and pins are %+v", held, pins)
	}
}

func TestRedundancyNamesWhatHasOneCopy(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	must(t, os.Mkdir(f.behind("old"), 0o755))
	write(t, f.behind("old/cloud"), "nobody looked at it yet")
	f.mount()
	sh(t, f.at, "find", ".")
	write(t, f.path("sent"), "here and there")
	write(t, f.path("dropped"), "there")
	f.sync()
	f.do("offload", f.path("dropped"))
	f.do("pause")
	write(t, f.path("unsent"), "here")
	copies := func(args ...string) map[string]string {
		t.Helper()
		var r redundancyJSON
		must(t, f.JSON(&r, append([]string{"redundancy", "--json"}, args...)...))
		found := map[string]string{}
		for _, c := range r.Files {
			found[c.Path] = fmt.Sprint(c.Copies, c.Proved, c.Local)
		}
		found["checked, at risk"] = fmt.Sprint(r.Checked, r.AtRisk)
		return found
	}
	for name, tc := range map[string]struct {
		args []string
		want map[string]string
	}{
		"at risk": {nil, map[string]string{"/old/cloud": "0 0 false", "/dropped": "1 1 false", "/unsent": "1 0 true", "checked, at risk": "4 3"}},
		"all": {[]string{"--all"}, map[string]string{
			"/old/cloud": "0 0 false", "/dropped": "1 1 false", "/unsent": "1 0 true", "/sent": "2 1 true", "checked, at risk": "4 3",
		}},
		"three are wanted": {[]string{"--min", "3"}, map[string]string{
			"/old/cloud": "0 0 false", "/dropped": "1 1 false", "/unsent": "1 0 true", "/sent": "2 1 true", "checked, at risk": "4 4",
		}},
		"one is enough": {[]string{"--min", "1"}, map[string]string{"/old/cloud": "0 0 false", "checked, at risk": "4 1"}},
		"of a path":     {[]string{f.path("old")}, map[string]string{"/old/cloud": "0 0 false", "checked, at risk": "1 1"}},
	} {
		if got := copies(tc.args...); fmt.Sprint(got) != fmt.Sprint(tc.want) {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
	if r := f.run("redundancy"); r.Code != 0 || !strings.Contains(r.Stdout, "/dropped") || strings.Contains(r.Stdout, "/sent") || !strings.Contains(r.Stderr, "3 of 4 files") ||
		!strings.Contains(r.Stderr, "copies: 1 file with 0, 2 files with 1, 1 file with 2") || !strings.Contains(r.Stdout, "/dropped  ("+f.dir+")") {
		t.Errorf("redundancy prints %s", r)
	}
	if r := f.run("redundancy", "--min", "0"); r.Code != 2 {
		t.Errorf("no copy is enough: %s", r)
	}
	f.do("resume")
	f.settled()
}
