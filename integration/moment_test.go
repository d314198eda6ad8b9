package integration

import (
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestADirectoryIsRestoredAsItWasAtATime has programs create, overwrite, append to, rename and delete files and directories, round
// after round, kills the daemon now and then, and takes a snapshot after each round. In the end each snapshot is what restore --at
// gives for its time: whole in a new directory, and in place but for what was made since.
func TestADirectoryIsRestoredAsItWasAtATime(t *testing.T) {
	t.Parallel()
	const rounds, steps = 7, 14
	seed := testSeed(t)
	f := mounted(t, "")
	b := &busy{t: t, root: f.path("dir"), rnd: rand.New(rand.NewPCG(seed, 0))}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d, done was:\n%s", seed, strings.Join(b.told, "\n"))
		}
	})
	must(t, os.Mkdir(b.root, 0o755))
	var taken []snapshot
	for round := range rounds {
		for range steps {
			b.step()
		}
		f.sync()
		s := takeSnapshot(t, b.root)
		taken = append(taken, s)
		b.tell("-- snapshot %d, of %d files", round, len(s.files))
		if b.rnd.IntN(3) == 0 {
			must(t, f.Kill())
			f.do("mount", f.at)
		}
		passed(t, f.path("clock"), s.at)
	}
	for i, s := range taken {
		to := f.path(fmt.Sprintf("then-%d", i))
		if len(s.files) > 0 {
			f.do("restore", b.root, "--at", s.at.Format(time.RFC3339Nano), "--to", to)
		}
		s.is(t, fmt.Sprintf("put beside, snapshot %d", i), filesIn(t, to))
	}
	for range 3 {
		i := b.rnd.IntN(rounds)
		before, then := filesIn(t, b.root), taken[i]
		r := f.run("restore", b.root, "--at", then.at.Format(time.RFC3339Nano))
		if r.Code != 0 && !(r.Code == 1 && strings.Contains(r.Stderr, "it has what it had then")) {
			t.Errorf("restore in place: %s", r)
		}
		want := snapshot{files: maps.Clone(before)}
		maps.Copy(want.files, then.files)
		want.is(t, fmt.Sprintf("in place, snapshot %d", i), filesIn(t, b.root))
		b.tell("-- restored to snapshot %d", i)
		f.sync()
		passed(t, f.path("clock"), time.Now())
	}
	f.settled()
}

// snapshot is what there was at a time: the files by their paths.
type snapshot struct {
	at    time.Time
	files map[string]string
}

func takeSnapshot(t *testing.T, root string) snapshot {
	t.Helper()
	files := filesIn(t, root)
	return snapshot{time.Now(), files}
}

// filesIn reads all files below a directory, with what restoring promises of them: bytes, permissions and time.
func filesIn(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if os.IsNotExist(err) && path == root {
			return nil
		}
		if err != nil || e.IsDir() {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, root+"/")] = fmt.Sprintf("%q %v %v", data, fi.Mode(), fi.ModTime().UnixNano())
		return err
	}))
	return out
}

// is compares files with a snapshot.
func (s snapshot) is(t *testing.T, what string, got map[string]string) {
	t.Helper()
	names := slices.Sorted(maps.Keys(s.files))
	for name := range got {
		if _, ok := s.files[name]; !ok {
			names = append(names, name)
		}
	}
	for _, name := range names {
		if got[name] != s.files[name] {
			t.Errorf("%s: %s is %.120s, want %.120s", what, name, got[name], s.files[name])
		}
	}
}

// passed returns when what programs write has a later time: the clock of files goes in ticks.
func passed(t *testing.T, probe string, at time.Time) {
	t.Helper()
	eventually(t, "a file has a later time", func() bool {
		write(t, probe, "x")
		fi, err := os.Stat(probe)
		must(t, err)
		return fi.ModTime().After(at)
	})
}

// busy is a program that works in a directory. Files and directories have different names, so that none is ever where the other was.
type busy struct {
	t    *testing.T
	root string
	rnd  *rand.Rand
	told []string
	made int
}

func (b *busy) tell(format string, args ...any) {
	b.told = append(b.told, fmt.Sprintf(format, args...))
}

// some picks one of the files, or of the directories but the uppermost; "": there is none.
func (b *busy) some(dir bool) string {
	var all []string
	must(b.t, filepath.WalkDir(b.root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() == dir && path != b.root {
			all = append(all, path)
		}
		return err
	}))
	if len(all) == 0 {
		return ""
	}
	return all[b.rnd.IntN(len(all))]
}

// name is one of few names in some directory, taken or not.
func (b *busy) name(dir bool) string {
	at := b.root
	if b.rnd.IntN(3) > 0 {
		if d := b.some(true); d != "" {
			at = d
		}
	}
	if dir {
		return filepath.Join(at, fmt.Sprintf("d%d", b.rnd.IntN(4)))
	}
	return filepath.Join(at, fmt.Sprintf("f%d", b.rnd.IntN(6)))
}

func (b *busy) text() string {
	b.made++
	return fmt.Sprintf("text %d %s", b.made, strings.Repeat("x", b.rnd.IntN(300)))
}

// step does one thing; what cannot be done is not.
func (b *busy) step() {
	t := b.t
	from, to := "", ""
	switch n := b.rnd.IntN(20); {
	case n < 6:
		from = b.name(false)
		write(t, from, b.text())
		b.tell("write %s", from)
	case n < 9:
		from = b.name(false)
		saves(t, from, b.text())
		b.tell("save %s", from)
	case n < 11:
		if from = b.some(false); from == "" {
			return
		}
		h, err := os.OpenFile(from, os.O_WRONLY|os.O_APPEND, 0)
		must(t, err)
		_, err = h.WriteString(b.text())
		must(t, err)
		must(t, h.Close())
		b.tell("append to %s", from)
	case n < 13:
		if from = b.some(false); from == "" {
			return
		}
		must(t, os.Remove(from))
		b.tell("remove %s", from)
	case n < 16:
		if from, to = b.some(false), b.name(false); from == "" {
			return
		}
		must(t, os.Rename(from, to))
		b.tell("rename %s to %s", from, to)
	case n < 18:
		from = b.name(true)
		b.tell("mkdir %s: %v", from, os.Mkdir(from, 0o755))
	case n < 19:
		if from, to = b.some(true), b.name(true); from == "" {
			return
		}
		b.tell("rename %s to %s: %v", from, to, os.Rename(from, to)) // perhaps into itself, or to a name that is taken
	default:
		if from = b.some(true); from == "" {
			return
		}
		must(t, os.RemoveAll(from))
		b.tell("remove all of %s", from)
	}
}
