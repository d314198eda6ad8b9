package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// scenario is one case of two drives that change the same things while they are cut off from their directory. It has a
// directory of its own in every replica, so that all cases are played at once.
//
// A content is written down as its token: what a program writes is the token and the name of the case, so that the bytes of
// one case are strange to every other.
type scenario struct {
	// base is made in A and synced; a, b and h are then done in A, in B and in the directory itself.
	base, a, b, h func(hand)
	// want is the tree at the end when A is accepted first, wantB when B is, where that is another one: see shape.
	want, wantB []string
	// kept are tokens of contents whose files stay the same objects in all replicas: their bytes were not moved.
	kept []string
	// once are tokens that the drive accepted first brings to the directory, and that are not written there again.
	once []string
	// followed are names that stay the files they were in B, whatever became of them in A.
	followed []string
	// unsent are names that a drive keeps for itself.
	unsent []string
	// also asserts what else has to hold at the end in the directory of the case in each replica.
	also func(t *testing.T, dir string)
	// drivesOnly is a case that another program in the directory cannot be a side of.
	drivesOnly bool
}

// hand acts as programs do in one replica's directory of a case.
type hand struct {
	t   *testing.T
	dir string
}

func (h hand) path(name string) string { return filepath.Join(h.dir, name) }

// line is a token as it is written.
func (h hand) line(token string) string { return token + " of " + filepath.Base(h.dir) + "\n" }

// write makes a file or writes it anew, in place.
func (h hand) write(name, token string) {
	h.t.Helper()
	write(h.t, h.path(name), h.line(token))
}

func (h hand) append(name, token string) {
	h.t.Helper()
	f, err := os.OpenFile(h.path(name), os.O_WRONLY|os.O_APPEND, 0)
	must(h.t, err)
	_, err = f.WriteString(h.line(token))
	must(h.t, errors.Join(err, f.Close()))
}

func (h hand) mkdir(name string) {
	h.t.Helper()
	must(h.t, os.Mkdir(h.path(name), 0o755))
}

func (h hand) symlink(name, target string) {
	h.t.Helper()
	must(h.t, os.Symlink(target, h.path(name)))
}

// remove is rm -r.
func (h hand) remove(name string) {
	h.t.Helper()
	must(h.t, os.RemoveAll(h.path(name)))
}

func (h hand) move(from, to string) {
	h.t.Helper()
	must(h.t, os.Rename(h.path(from), h.path(to)))
}

func (h hand) swap(one, other string) {
	h.t.Helper()
	must(h.t, unix.Renameat2(unix.AT_FDCWD, h.path(one), unix.AT_FDCWD, h.path(other), unix.RENAME_EXCHANGE))
}

func (h hand) chmod(name string, mode os.FileMode) {
	h.t.Helper()
	must(h.t, os.Chmod(h.path(name), mode))
}

func (h hand) touch(name string, when time.Time) {
	h.t.Helper()
	must(h.t, os.Chtimes(h.path(name), time.Time{}, when))
}

// shape lists what is in a directory of a case: "d/", "l->target", "f.txt=token", with + between the tokens of a file that was
// appended to. The mark of a conflict file is shortened to " cf(A)", after the drive that made it.
func shape(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	eachIn(t, dir, func(name, path string, d fs.DirEntry) {
		name = conflictMark.ReplaceAllString(name, " cf($1)")
		switch d.Type() {
		case fs.ModeDir:
			name += "/"
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			must(t, err)
			name += "->" + target
		default:
			name += "=" + content(t, dir, path)
		}
		out = append(out, name)
	})
	slices.Sort(out)
	return out
}

// eachIn visits all that is in the directory of a case, but for what nothing happens to.
func eachIn(t *testing.T, dir string, visit func(name, path string, d fs.DirEntry)) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name := strings.TrimPrefix(path, dir+"/")
		switch name {
		case steadyFile:
			return nil
		case steadyDir:
			return filepath.SkipDir
		}
		visit(name, path, d)
		return nil
	}))
}

// content is what a file of a case holds, as tokens. Bytes that nobody wrote there are shown as they are.
func content(t *testing.T, dir, path string) string {
	t.Helper()
	text := read(t, path)
	var tokens []string
	for line := range strings.Lines(text) {
		token, ours := strings.CutSuffix(line, " of "+filepath.Base(dir)+"\n")
		if !ours {
			return fmt.Sprintf("%q", text)
		}
		tokens = append(tokens, token)
	}
	return strings.Join(tokens, "+")
}

// inodes tells which object of a case has a name, after a slash, and which one holds a content.
func inodes(t *testing.T, dir string) map[string]uint64 {
	t.Helper()
	out := map[string]uint64{}
	eachIn(t, dir, func(name, path string, d fs.DirEntry) {
		var st unix.Stat_t
		must(t, unix.Lstat(path, &st))
		out["/"+name] = st.Ino
		if d.Type().IsRegular() {
			out[content(t, dir, path)] = st.Ino
		}
	})
	return out
}

// What nothing happens to in each case, beside all that happens: it is watched over.
const (
	steadyFile = "steady"
	steadyDir  = "still"
)

// staged are cases on their way through a pair.
type staged struct {
	*pair
	cases map[string]scenario
	// before are the inodes of each replica when the base was agreed on, accepted those of the directory when the first drive
	// had been accepted, by the name of the case.
	before   map[string]map[string]map[string]uint64
	accepted map[string]map[string]uint64
}

// playAll plays all cases at once with A accepted first, and with B; and with another program in the directory instead of B,
// which is accepted before anybody.
func playAll(t *testing.T, cases map[string]scenario) {
	t.Helper()
	for _, run := range []struct {
		name, policy string
		first        int
		direct       bool
	}{
		{"A first", "synchronize", 0, false},
		{"B first", "synchronize", 1, false},
		{"A first, offload", "offload", 0, false},
		{"B first, offload", "offload", 1, false},
		{"directory first", "synchronize", 1, true},
	} {
		t.Run(run.name, func(t *testing.T) {
			t.Parallel()
			s := &staged{pair: newPair(t, run.policy, t.TempDir()), cases: maps.Clone(cases)}
			if run.direct {
				maps.DeleteFunc(s.cases, func(_ string, c scenario) bool { return c.drivesOnly })
			}
			s.makeBase()
			s.act(run.direct)
			first := s.drives()[run.first]
			s.on(first)
			s.settle(first)
			s.accepted = s.look(s.dir)
			s.on(s.drives()[1-run.first])
			s.settle(s.drives()...)
			s.converged()
			for _, name := range slices.Sorted(maps.Keys(s.cases)) {
				t.Run(name, func(t *testing.T) { s.check(t, name, run.first) })
			}
		})
	}
}

// makeBase makes what the cases begin with, in A, and syncs it.
func (s *staged) makeBase() {
	s.t.Helper()
	var steady []string
	for name, c := range s.cases {
		h := hand{s.t, s.a.path(name)}
		must(s.t, os.MkdirAll(h.path(steadyDir), 0o755))
		h.write(steadyFile, "steady")
		h.write(steadyDir+"/file", "steady")
		if c.base != nil {
			c.base(h)
		}
		steady = append(steady, filepath.Join(name, steadyFile), filepath.Join(name, steadyDir, "file"))
	}
	s.settle(s.drives()...)
	s.before = map[string]map[string]map[string]uint64{}
	for _, r := range s.replicas() {
		s.before[r.name] = s.look(r.root)
	}
	s.watch.start(steady)
}

// look notes the inodes of every case in a replica.
func (s *staged) look(root string) map[string]map[string]uint64 {
	s.t.Helper()
	all := map[string]map[string]uint64{}
	for name := range s.cases {
		all[name] = inodes(s.t, filepath.Join(root, name))
	}
	return all
}

// act has all replicas change, with both drives cut off. With direct, what B would do is done in the directory.
func (s *staged) act(direct bool) {
	s.t.Helper()
	s.off(s.drives()...)
	for name, c := range s.cases {
		at := map[string]hand{}
		for _, r := range s.replicas() {
			at[r.name] = hand{s.t, filepath.Join(r.root, name)}
		}
		if direct {
			at["B"] = at["H"]
		}
		for who, does := range map[string]func(hand){"A": c.a, "B": c.b, "H": c.h} {
			if does != nil {
				does(at[who])
			}
		}
	}
}

// check asserts what a case promises, once all has come to rest.
func (s *staged) check(t *testing.T, name string, first int) {
	t.Helper()
	c := s.cases[name]
	s.same(t, name, c.unsent...)
	want := c.want
	if first == 1 && c.wantB != nil {
		want = c.wantB
	}
	// All replicas are equal: this is O2 to O5 for each.
	if got := shape(t, filepath.Join(s.dir, name)); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, r := range s.replicas() {
		dir := filepath.Join(r.root, name)
		c.checkObjects(t, r.name, s.before[r.name][name], inodes(t, dir))
		if c.also != nil {
			c.also(t, dir)
		}
	}
	now := inodes(t, filepath.Join(s.dir, name))
	for _, token := range c.once {
		if was := s.accepted[name][token]; was == 0 || now[token] != was {
			t.Errorf("%s was sent by the first as object %d, and again: it is %d", token, was, now[token])
		}
	}
}

// checkObjects asserts which objects of a replica are the same as before.
func (c scenario) checkObjects(t *testing.T, replica string, before, now map[string]uint64) {
	t.Helper()
	for _, token := range c.kept {
		if was := before[token]; was == 0 || now[token] != was {
			t.Errorf("in %s the file with %s was object %d and is %d", replica, token, was, now[token])
		}
	}
	for _, name := range c.followed {
		if was := before["/"+name]; replica == "B" && (was == 0 || now["/"+name] != was) {
			t.Errorf("in B %s was object %d and is %d", name, was, now["/"+name])
		}
	}
}
