package integration

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestScenarios plays what two drives on one directory can do to each other. Every case is named after what it is about; to
// see one alone, run TestScenarios/A_first/NAME.
func TestScenarios(t *testing.T) {
	t.Parallel()
	all := map[string]scenario{}
	for _, part := range []map[string]scenario{
		contentScenarios(), attributeScenarios(), deleteScenarios(), typeScenarios(), moveScenarios(), directoryMoveScenarios(), savingScenarios(), nameScenarios(),
	} {
		maps.Copy(all, part)
	}
	playAll(t, all)
}

// does joins acts.
func does(acts ...func(hand)) func(hand) {
	return func(h hand) {
		for _, act := range acts {
			act(h)
		}
	}
}

func writes(name, token string) func(hand) { return func(h hand) { h.write(name, token) } }

func appends(name, token string) func(hand) { return func(h hand) { h.append(name, token) } }

func makes(names ...string) func(hand) {
	return func(h hand) {
		for _, name := range names {
			h.mkdir(name)
		}
	}
}

func links(name, target string) func(hand) { return func(h hand) { h.symlink(name, target) } }

func removes(name string) func(hand) { return func(h hand) { h.remove(name) } }

func moves(from, to string) func(hand) { return func(h hand) { h.move(from, to) } }

func swaps(one, other string) func(hand) { return func(h hand) { h.swap(one, other) } }

// File f.txt, or the files f and g, or the directory d with f and g in it, are what most cases begin with.
var (
	baseText = writes("f.txt", "v0")
	baseFile = writes("f", "v0")
	baseTwo  = does(writes("f", "v0"), writes("g", "g0"))
	baseDir  = does(makes("d"), writes("d/f", "f0"), writes("d/g", "g0"))
)

func contentScenarios() map[string]scenario {
	oldMark := "f (conflict C 2025-01-01 000000).txt"
	return map[string]scenario{
		"edit against edit": {
			base: baseText, a: writes("f.txt", "vA"), b: writes("f.txt", "vB"),
			want: []string{"f cf(B).txt=vB", "f.txt=vA"}, wantB: []string{"f cf(A).txt=vA", "f.txt=vB"},
		},
		"edit against edit of another size": {
			base: baseText, a: writes("f.txt", "long A"), b: writes("f.txt", "longer B"),
			want: []string{"f cf(B).txt=longer B", "f.txt=long A"}, wantB: []string{"f cf(A).txt=long A", "f.txt=longer B"},
		},
		"edit against edit with the same bytes": {
			base: baseText, a: writes("f.txt", "v1"), b: writes("f.txt", "v1"), want: []string{"f.txt=v1"}, once: []string{"v1"},
		},
		"create against create": {
			a: writes("f.txt", "vA"), b: writes("f.txt", "vB"),
			want: []string{"f cf(B).txt=vB", "f.txt=vA"}, wantB: []string{"f cf(A).txt=vA", "f.txt=vB"},
		},
		"create against create with the same bytes": {
			a: writes("f.txt", "v"), b: writes("f.txt", "v"), want: []string{"f.txt=v"}, once: []string{"v"},
		},
		"create against create that no drive has seen": {
			a: writes("f.txt", "vA"), h: writes("f.txt", "vH"), want: []string{"f cf(A).txt=vA", "f.txt=vH"},
		},
		"first sync of two different replicas": {
			a:     does(makes("d"), writes("d/a", "a"), writes("d/x", "1")),
			b:     does(makes("d"), writes("d/b", "b"), writes("d/x", "2")),
			want:  []string{"d/", "d/a=a", "d/b=b", "d/x cf(B)=2", "d/x=1"},
			wantB: []string{"d/", "d/a=a", "d/b=b", "d/x cf(A)=1", "d/x=2"},
		},
		"three sides edit": {
			base: baseText, a: writes("f.txt", "vA"), b: writes("f.txt", "vB"), h: writes("f.txt", "vH"),
			want: []string{"f cf(A).txt=vA", "f cf(B).txt=vB", "f.txt=vH"}, drivesOnly: true,
		},
		"three sides create": {
			a: writes("f.txt", "vA"), b: writes("f.txt", "vB"), h: writes("f.txt", "vH"),
			want: []string{"f cf(A).txt=vA", "f cf(B).txt=vB", "f.txt=vH"}, drivesOnly: true,
		},
		"conflict on a conflict file does not nest": {
			base: writes(oldMark, "c"), a: writes(oldMark, "vA"), b: writes(oldMark, "vB"),
			want: []string{"f cf(B).txt=vB", "f cf(C).txt=vA"}, wantB: []string{"f cf(A).txt=vA", "f cf(C).txt=vB"},
		},
		"append against append": {
			base: writes("log", "v0"), a: appends("log", "vA"), b: appends("log", "vB"),
			want: []string{"log cf(B)=v0+vB", "log=v0+vA"}, wantB: []string{"log cf(A)=v0+vA", "log=v0+vB"},
		},
		"symlink against symlink": {
			base: links("l", "0"), a: does(removes("l"), links("l", "a")), b: does(removes("l"), links("l", "b")),
			want: []string{"l cf(B)->b", "l->a"}, wantB: []string{"l cf(A)->a", "l->b"},
		},
		"edit against chmod": {
			base: baseFile, a: writes("f", "vA"), b: func(h hand) { h.chmod("f", 0o755) }, want: []string{"f=vA"},
			also: func(t *testing.T, dir string) { hasMode(t, filepath.Join(dir, "f"), 0o755) },
		},
	}
}

func hasMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != want {
		t.Errorf("%s has the mode %v, want %v", path, info.Mode().Perm(), want)
	}
}

func hasTime(t *testing.T, path string, want time.Time) {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	if !info.ModTime().Equal(want) {
		t.Errorf("%s has the time %v, want %v", path, info.ModTime(), want)
	}
}

// attributeScenarios are those in which a time is all that changes on a side.
func attributeScenarios() map[string]scenario {
	when := time.Unix(1_000_000_000, 123_000_000)
	touches := func(h hand) { h.touch("f", when) }
	return map[string]scenario{
		"touch": {
			base: baseFile, b: touches, want: []string{"f=v0"}, kept: []string{"v0"},
			also: func(t *testing.T, dir string) { hasTime(t, filepath.Join(dir, "f"), when) },
		},
		"touch in the directory": {
			base: baseFile, h: touches, want: []string{"f=v0"}, kept: []string{"v0"},
			also: func(t *testing.T, dir string) { hasTime(t, filepath.Join(dir, "f"), when) },
		},
		"edit against touch": {base: baseFile, a: writes("f", "vA"), b: touches, want: []string{"f=vA"}},
		"edit of another size against touch": {
			base: baseFile, a: writes("f", "longer"), b: touches, want: []string{"f=longer"},
		},
		"delete against touch": {base: baseFile, a: removes("f"), b: touches},
		"rename against touch": {base: baseFile, a: moves("f", "g"), b: touches, want: []string{"g=v0"}, kept: []string{"v0"}},
	}
}

func deleteScenarios() map[string]scenario {
	return map[string]scenario{
		"edit against delete":   {base: baseFile, a: writes("f", "vA"), b: removes("f"), want: []string{"f=vA"}},
		"delete against edit":   {base: baseFile, a: removes("f"), b: writes("f", "vB"), want: []string{"f=vB"}},
		"delete against delete": {base: baseFile, a: removes("f"), b: removes("f")},
		"delete and create again": {
			base: baseFile, b: does(removes("f"), writes("f", "new")), want: []string{"f=new"},
		},
		"delete against rename": {base: baseFile, a: moves("f", "g"), b: removes("f")},
		"directory deleted against child edited": {
			base: baseDir, a: removes("d"), b: writes("d/f", "vB"), want: []string{"d/", "d/f=vB"},
		},
		"directory deleted against child created": {
			base: baseDir, a: removes("d"), b: writes("d/new", "n"), want: []string{"d/", "d/new=n"},
		},
		"directories deleted against child created deep inside": {
			base: does(baseDir, makes("d/e", "d/e/x")), a: removes("d"), b: writes("d/e/new", "n"),
			want: []string{"d/", "d/e/", "d/e/new=n"},
		},
		"directory deleted against child moved in": {
			base: does(baseDir, makes("x"), writes("x/h", "h0")), a: removes("d"), b: moves("x/h", "d/h"),
			want: []string{"d/", "d/h=h0", "x/"},
		},
		"directory deleted against child moved out": {base: baseDir, a: removes("d"), b: moves("d/f", "f")},
		"directory deleted and made under the name it was moved to": {
			base: baseDir, a: does(removes("d"), makes("e"), writes("e/n", "n")), b: does(moves("d", "e"), writes("e/new", "new")),
			want: []string{"e/", "e/n=n", "e/new=new"},
		},
		"directory deleted and made again": {
			base: baseDir, a: does(removes("d"), makes("d")), b: writes("d/f", "vB"), want: []string{"d/", "d/f=vB"},
		},
	}
}

func typeScenarios() map[string]scenario {
	toDir := does(removes("f"), makes("f"), writes("f/x", "x"))
	return map[string]scenario{
		"file becomes directory": {base: baseFile, a: toDir, want: []string{"f/", "f/x=x"}},
		"directory becomes file": {
			base: does(makes("d", "d/e"), writes("d/e/f", "f")), a: does(removes("d"), writes("d", "file")), want: []string{"d=file"},
		},
		"file edited against file becomes directory": {
			base: baseFile, a: toDir, b: writes("f", "vB"),
			want: []string{"f cf(B)=vB", "f/", "f/x=x"}, wantB: []string{"f cf(A)/", "f cf(A)/x=x", "f=vB"},
		},
		"file created against directory created": {
			a: writes("d", "file"), b: does(makes("d"), writes("d/x", "x")),
			want: []string{"d cf(B)/", "d cf(B)/x=x", "d=file"}, wantB: []string{"d cf(A)=file", "d/", "d/x=x"},
		},
		"file becomes symlink against file edited": {
			base: baseTwo, a: does(removes("f"), links("f", "g")), b: writes("f", "vB"),
			want: []string{"f cf(B)=vB", "f->g", "g=g0"}, wantB: []string{"f cf(A)->g", "f=vB", "g=g0"}, kept: []string{"g0"},
		},
		"directory becomes file against child created": {
			base: makes("d"), a: does(removes("d"), writes("d", "file")), b: writes("d/new", "n"),
			want: []string{"d cf(B)/", "d cf(B)/new=n", "d=file"}, wantB: []string{"d cf(A)=file", "d/", "d/new=n"},
		},
	}
}

func moveScenarios() map[string]scenario {
	return map[string]scenario{
		"rename":              {base: baseFile, a: moves("f", "g"), want: []string{"g=v0"}, kept: []string{"v0"}},
		"rename against edit": {base: baseFile, a: moves("f", "g"), b: writes("f", "vB"), want: []string{"g=vB"}},
		"edit against rename": {base: baseFile, a: writes("f", "vA"), b: moves("f", "g"), want: []string{"g=vA"}},
		"rename against rename": {
			base: baseFile, a: moves("f", "g"), b: moves("f", "h"),
			want: []string{"g=v0"}, wantB: []string{"h=v0"}, kept: []string{"v0"},
		},
		"rename against the same rename": {
			base: baseFile, a: moves("f", "g"), b: moves("f", "g"), want: []string{"g=v0"}, kept: []string{"v0"},
		},
		"rename over existing": {base: baseTwo, a: moves("f", "g"), want: []string{"g=v0"}, kept: []string{"v0"}},
		"rename and new file of the name": {
			base: baseFile, a: does(moves("f", "g"), writes("f", "new")), want: []string{"f=new", "g=v0"}, kept: []string{"v0"},
		},
		"rename against file created under the new name": {
			base: baseFile, a: moves("f", "g"), b: writes("g", "vB"),
			want: []string{"g cf(B)=vB", "g=v0"}, wantB: []string{"g cf(A)=v0", "g=vB"},
		},
		"rename against file created with the same bytes": {
			base: baseFile, a: moves("f", "g"), b: writes("g", "v0"), want: []string{"g=v0"},
		},
		"two files swapped": {
			base: baseTwo, a: swaps("f", "g"), want: []string{"f=g0", "g=v0"}, kept: []string{"v0", "g0"},
		},
		"swap against edit": {
			base: baseTwo, a: swaps("f", "g"), b: writes("f", "vB"), want: []string{"f=g0", "g=vB"}, kept: []string{"g0"},
		},
		"three names rotated": {
			base: does(baseTwo, writes("h", "h0")), a: does(moves("f", "t"), moves("h", "f"), moves("g", "h"), moves("t", "g")),
			want: []string{"f=h0", "g=v0", "h=g0"}, kept: []string{"v0", "g0", "h0"},
		},
		"move and edit": {
			base: baseFile, a: does(moves("f", "g"), writes("g", "new")), want: []string{"g=new"},
		},
		"moved and changed, where its old bytes have the new name": {
			base: baseFile, a: moves("f", "g"), b: does(writes("f", "vB"), writes("g", "v0")),
			want: []string{"g cf(B)=v0", "g=vB"}, wantB: []string{"g cf(A)=vB", "g=v0"},
		},
	}
}

func directoryMoveScenarios() map[string]scenario {
	oneFile := does(makes("d"), writes("d/f", "f0"))
	ab := does(makes("a", "b"), writes("a/x", "x"), writes("b/y", "y"))
	return map[string]scenario{
		"directory renamed against child edited": {
			base: oneFile, a: moves("d", "e"), b: writes("d/f", "vB"), want: []string{"e/", "e/f=vB"},
		},
		"directory renamed against child created": {
			base: oneFile, a: moves("d", "e"), b: writes("d/new", "n"), want: []string{"e/", "e/f=f0", "e/new=n"}, kept: []string{"f0"},
		},
		"two moves that would make a circle": {
			base: ab, a: moves("a", "b/a"), b: moves("b", "a/b"),
			want: []string{"b/", "b/a/", "b/a/x=x", "b/y=y"}, wantB: []string{"a/", "a/b/", "a/b/y=y", "a/x=x"}, kept: []string{"x", "y"},
		},
		"directory and its child change places": {
			base: does(makes("a", "a/b"), writes("a/b/y", "y")), a: does(moves("a/b", "t"), moves("a", "t/b"), moves("t", "a")),
			want: []string{"a/", "a/b/", "a/y=y"}, kept: []string{"y"},
		},
		"directory moved into a new one of its name": {
			base: oneFile, a: does(makes("t"), moves("d", "t/d"), moves("t", "d")),
			want: []string{"d/", "d/d/", "d/d/f=f0"}, kept: []string{"f0"},
		},
		"child takes the name of its deleted directory": {
			base: oneFile, a: does(moves("d/f", "t"), removes("d"), moves("t", "d")), want: []string{"d=f0"}, kept: []string{"f0"},
		},
	}
}

// savingScenarios are the ways in which editors save. Each is an edit.
func savingScenarios() map[string]scenario {
	all := map[string]scenario{}
	for name, way := range map[string]struct {
		save   func(hand)
		unsent string
	}{
		"temporary file renamed over it": {does(writes("f.tmp", "new"), moves("f.tmp", "f")), ""},
		"backup moved away and removed": {
			does(moves("f", "f~"), writes("f", "new"), removes("f~")), "",
		},
		"backup moved away and kept": {does(moves("f", "f~"), writes("f", "new")), "f~"},
		"lock, and a temporary file renamed over it": {
			does(writes(".~lock.f#", "lock"), writes("lu12345.tmp", "new"), moves("lu12345.tmp", "f"), removes(".~lock.f#")), "",
		},
		"moved away, temporary file in its place, removed": {
			does(writes("f.tmp", "new"), moves("f", "f.bak"), moves("f.tmp", "f"), removes("f.bak")), "",
		},
	} {
		c := scenario{base: baseFile, a: way.save, want: []string{"f=new"}, followed: []string{"f"}}
		if way.unsent != "" {
			c.unsent = []string{way.unsent}
		}
		all["saved: "+name] = c
		c.b, c.followed = writes("f", "vB"), nil
		c.want, c.wantB = []string{"f cf(B)=vB", "f=new"}, []string{"f cf(A)=new", "f=vB"}
		all["saved against edit: "+name] = c
	}
	return all
}

func nameScenarios() map[string]scenario {
	const nfc, nfd = "\u00e9", "e\u0301"
	long := strings.Repeat("é", 127) + "e"
	cut := strings.Repeat("é", 112) // what is left of it beside the mark of a conflict
	odd := []string{
		"line\nbreak", " leading", "-dash", "dot.", "space ", "CON", "a:b", `back\slash`, "\U0001f600", "not utf-8 \xff\xfe", strings.Repeat("n", 255),
	}
	mine, theirs, both := []func(hand){makes("mine")}, []func(hand){makes("theirs")}, []string{"mine/", "theirs/"}
	for _, name := range odd {
		mine, theirs = append(mine, writes("mine/"+name, "text")), append(theirs, writes("theirs/"+name, "text"))
		both = append(both, "mine/"+name+"=text", "theirs/"+name+"=text")
	}
	slices.Sort(both)
	return map[string]scenario{
		"odd names": {a: does(mine...), b: does(theirs...), want: both},
		"names that differ in case": {
			a: does(writes("Readme", "1"), writes("README", "2")), want: []string{"README=2", "Readme=1"},
		},
		"names that differ in case, one on each side": {
			a: writes("a", "1"), b: writes("A", "2"), want: []string{"A=2", "a=1"},
		},
		"names that differ in their normal form": {
			a: writes(nfc, "nfc"), b: writes(nfd, "nfd"), want: []string{nfd + "=nfd", nfc + "=nfc"},
		},
		"conflict of a name that is as long as can be": {
			base: writes(long, "v0"), a: writes(long, "vA"), b: writes(long, "vB"),
			want: []string{cut + " cf(B)=vB", long + "=vA"}, wantB: []string{cut + " cf(A)=vA", long + "=vB"},
		},
	}
}
