package integration

import (
	"bufio"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// killDuring starts a program that says on a line of its own what is done for good, and kills the daemon a moment after
// some of these lines, and then the program: git for one reads a directory of a dead mount for ever. It returns all lines,
// those included that came while the daemon died.
func (f *fixture) killDuring(cmd *exec.Cmd, lines int, moment time.Duration) (said []string) {
	f.t.Helper()
	out, err := cmd.StdoutPipe()
	must(f.t, err)
	complaints, err := os.Create(filepath.Join(f.t.TempDir(), "stderr")) // a pipe would wait for what the program leaves running
	must(f.t, err)
	defer complaints.Close()
	cmd.Stderr = complaints
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	must(f.t, cmd.Start())
	for scan := bufio.NewScanner(out); scan.Scan(); {
		said = append(said, scan.Text())
		if len(said) == lines {
			spin(moment)
			must(f.t, f.Kill())
			must(f.t, unix.Kill(-cmd.Process.Pid, unix.SIGKILL))
		}
	}
	if err := cmd.Wait(); err == nil || len(said) < lines {
		f.t.Fatalf("%v ended by itself after %d lines: %v\n%s", cmd.Args, len(said), err, read(f.t, complaints.Name()))
	}
	return said
}

// A database in the drive outlives the daemon in each of its ways to write: what it called committed is there, and it is
// whole. With synchronous off it asks for nothing to be durable; the order of its writes has to be kept all the same.
func TestSqliteOutlivesTheDaemon(t *testing.T) {
	t.Parallel()
	need(t, "sqlite3", "stdbuf")
	seed := testSeed(t)
	rnd := rand.New(rand.NewPCG(seed, 0))
	f := mounted(t, "")
	for _, mode := range []string{"delete", "truncate", "wal"} {
		db := f.path(mode + ".db")
		ask := func(query string) string {
			t.Helper()
			return strings.TrimSpace(sh(t, "/", "sqlite3", db, query))
		}
		if got := ask("PRAGMA journal_mode=" + mode); got != mode {
			t.Fatalf("journal mode is %q, want %q", got, mode)
		}
		ask("CREATE TABLE rows (id INTEGER PRIMARY KEY, body BLOB); CREATE INDEX bodies ON rows (body)")
		committed := 0
		for round := range 4 * soak(t) {
			said := f.killDuring(sqliteWriter(db, committed, round%2 == 0), 1+rnd.IntN(25), time.Duration(rnd.Int64N(3000))*time.Microsecond)
			f.mount()
			last, err := strconv.Atoi(said[len(said)-1])
			must(t, err)
			if got := ask("PRAGMA integrity_check"); got != "ok" {
				t.Fatalf("%s, round %d: integrity check: %s", mode, round, got)
			}
			if got := ask(fmt.Sprintf("SELECT count(*) FROM rows WHERE id <= %d", last)); got != strconv.Itoa(last) {
				t.Fatalf("%s, round %d: %s rows are there of %d committed", mode, round, got, last)
			}
			committed, err = strconv.Atoi(ask("SELECT max(id) FROM rows"))
			must(t, err)
		}
	}
	f.settled()
}

// sqliteWriter commits row after row and says the number of each.
func sqliteWriter(db string, after int, durable bool) *exec.Cmd {
	var script strings.Builder
	fmt.Fprintf(&script, "PRAGMA cache_size=10;\n")
	if !durable {
		fmt.Fprintf(&script, "PRAGMA synchronous=OFF;\n")
	}
	for i := 1; i < 5000; i++ {
		fmt.Fprintf(&script, "INSERT INTO rows VALUES (%d, randomblob(%d));\nSELECT %d;\n", after+i, 100+i%7*3000, after+i)
	}
	cmd := command("/", "stdbuf", "-oL", "sqlite3", "-bail", "-cmd", ".timeout 30000", db)
	cmd.Stdin = strings.NewReader(script.String())
	return cmd
}

// A repository in the drive outlives the daemon: every commit that git called made is there, and fsck finds nothing.
func TestGitOutlivesTheDaemon(t *testing.T) {
	t.Parallel()
	need(t, "git")
	seed := testSeed(t)
	rnd := rand.New(rand.NewPCG(seed, 0))
	f := mounted(t, "")
	repo := f.path("repo")
	must(t, os.Mkdir(repo, 0o755))
	sh(t, repo, "git", "init", "--quiet")
	var made []string
	for round := range 4 * soak(t) {
		script := fmt.Sprintf(`i=0
while i=$((i+1)); do
	mkdir -p d$((i%%5)) && echo %d $i > d$((i%%5))/f$i && cp d$((i%%5))/f$i same && git add . || exit
	git commit --quiet -m "%d $i" && git rev-parse HEAD || exit
	[ $((i%%4)) -ne 0 ] || git gc --quiet || exit
done`, round, round)
		cmd := command(repo, "sh", "-c", script)
		made = append(made, f.killDuring(cmd, 1+rnd.IntN(8), time.Duration(rnd.Int64N(40_000))*time.Microsecond)...)
		f.mount()
		removeLocks(t, repo)
		sh(t, repo, "git", "fsck", "--full", "--strict")
		for _, commit := range made {
			sh(t, repo, "git", "merge-base", "--is-ancestor", commit, "HEAD")
		}
		sh(t, repo, "git", "reset", "--quiet", "--hard")
		sh(t, repo, "git", "clean", "--quiet", "-fdx")
	}
	f.settled()
	sh(t, f.behind("repo"), "git", "fsck", "--full", "--strict")
}

// removeLocks does what git asks for after a crash: on any disk it leaves behind what it holds while it works, and takes it
// for somebody else's.
func removeLocks(t *testing.T, repo string) {
	t.Helper()
	must(t, filepath.WalkDir(filepath.Join(repo, ".git"), func(path string, _ fs.DirEntry, err error) error {
		name := filepath.Base(path)
		if err == nil && (strings.HasSuffix(name, ".lock") || name == "gc.pid" || name == "packed-refs.new") {
			err = os.Remove(path)
		}
		return err
	}))
}
