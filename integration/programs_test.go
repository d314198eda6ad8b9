package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vdfs/integration/tree"
)

func TestUntarASourceTree(t *testing.T) {
	t.Parallel()
	need(t, "tar")
	source := goSource(t)
	archive := filepath.Join(t.TempDir(), "src.tar")
	sh(t, filepath.Dir(source), "tar", "-cf", archive, filepath.Base(source))
	f := mounted(t, "")

	sh(t, f.at, "tar", "-xpf", archive)

	sameTrees(t, source, f.path(filepath.Base(source)))
	f.settled()
	sameTrees(t, source, f.behind(filepath.Base(source)))
}

func TestGitCloneStatusGcFsck(t *testing.T) {
	t.Parallel()
	need(t, "git")
	origin := gitOrigin(t)
	f := mounted(t, "")
	repo := f.path("clone")

	sh(t, f.at, "git", "clone", "--quiet", "--no-hardlinks", "file://"+origin, repo)
	clean := func() {
		t.Helper()
		if out := sh(t, repo, "git", "status", "--porcelain"); out != "" {
			t.Fatalf("git status is not clean:\n%s", out)
		}
	}
	clean()
	write(t, filepath.Join(repo, "README"), "changed\n")
	if out := sh(t, repo, "git", "status", "--porcelain"); out != " M README\n" {
		t.Fatalf("git status after a change says %q", out)
	}
	sh(t, repo, "git", "checkout", "--quiet", "-b", "work")
	sh(t, repo, "git", "commit", "--quiet", "-am", "a change")
	sh(t, repo, "git", "gc", "--quiet", "--prune=now")
	sh(t, repo, "git", "fsck", "--full", "--strict")
	sh(t, repo, "git", "checkout", "--quiet", "-")
	clean()

	f.settled()
	sh(t, f.behind("clone"), "git", "fsck", "--full", "--strict")
	clean()
}

// gitOrigin makes a repository with a history, packs aside.
func gitOrigin(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "origin")
	must(t, os.Mkdir(dir, 0o755))
	sh(t, dir, "git", "init", "--quiet")
	write(t, filepath.Join(dir, "README"), "a repository\n")
	from, err := tree.GoSource()
	must(t, err)
	for i, part := range []string{"strings", "bytes", "sort", "bufio", "archive"} {
		must(t, tree.Copy(filepath.Join(from, part), filepath.Join(dir, part)))
		sh(t, dir, "git", "add", ".")
		sh(t, dir, "git", "commit", "--quiet", "-m", fmt.Sprintf("commit %d", i))
	}
	must(t, os.Symlink("README", filepath.Join(dir, "link")))
	sh(t, dir, "git", "add", ".")
	sh(t, dir, "git", "commit", "--quiet", "-m", "a link")
	return dir
}

func TestGoBuildAndTestInTheMount(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	module := f.path("module")
	goModule(t, module)
	goCommand := func(args ...string) string {
		t.Helper()
		cmd := command(module, "go", args...)
		cmd.Env = append(cmd.Env, "GOFLAGS=-mod=mod", "GOWORK=off", "GOCACHE="+f.path("gocache"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, firstLines(out))
		}
		return string(out)
	}

	goCommand("build", "./...")
	goCommand("build", "-o", "hello", "./cmd/hello")
	if out := sh(t, module, "./hello"); out != "hello 42\n" {
		t.Fatalf("the program built in the mount says %q", out)
	}
	if out := goCommand("test", "./..."); !strings.Contains(out, "ok") {
		t.Fatalf("go test says %s", out)
	}
	if out := goCommand("test", "./..."); !strings.Contains(out, "(cached)") {
		t.Fatalf("nothing changed, but go test ran again: %s", out)
	}

	f.settled()
	if out := sh(t, f.behind("module"), "./hello"); out != "hello 42\n" {
		t.Fatalf("the program in the directory says %q", out)
	}
}

// goModule writes a small module of several packages without dependencies.
func goModule(t *testing.T, dir string) {
	t.Helper()
	files := map[string]string{
		"go.mod":                "module example.org/hello\n\ngo 1.21\n",
		"cmd/hello/main.go":     "package main\n\nimport (\n\t\"fmt\"\n\n\t\"example.org/hello/answer\"\n)\n\nfunc main() { fmt.Println(\"hello\", answer.Give()) }\n",
		"answer/answer.go":      "package answer\n\nimport \"example.org/hello/answer/half\"\n\n// Give gives the answer.\nfunc Give() int { return 2 * half.Of() }\n",
		"answer/half/h.go":      "package half\n\n// Of is half of it.\nfunc Of() int { return 21 }\n",
		"answer/a_test.go":      "package answer\n\nimport \"testing\"\n\nfunc TestGive(t *testing.T) {\n\tif Give() != 42 {\n\t\tt.Fatal(Give())\n\t}\n}\n",
		"answer/half/h_test.go": "package half\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nfunc TestOf(t *testing.T) {\n\tif err := os.WriteFile(t.TempDir()+\"/x\", []byte{byte(Of())}, 0o600); err != nil {\n\t\tt.Fatal(err)\n\t}\n}\n",
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		write(t, path, text)
	}
}

func TestVimSavesInEveryWayItHas(t *testing.T) {
	t.Parallel()
	need(t, "vim")
	f := mounted(t, "")
	for name, options := range map[string]string{
		"auto":      "set backupcopy=auto",
		"in-place":  "set backupcopy=yes",
		"renamed":   "set nobackup writebackup backupcopy=no",
		"no-backup": "set nobackup nowritebackup",
		"kept":      "set backup backupdir=. backupcopy=no",
	} {
		write(t, f.path(name), "one\ntwo\nthree\n")
		f.sync()
		// An editor in script mode reports failure by its exit code alone.
		sh(t, f.at, "vim", "-N", "-u", "NONE", "-i", "NONE", "-es",
			"-c", "set swapfile directory=. fsync backupskip=", "-c", options,
			"-c", "%s/two/2/", "-c", "write", "-c", "%s/three/3/", "-c", "xit", name)
		wants(t, f.path(name), "one\n2\n3\n")
	}
	wants(t, f.path("kept~"), "one\n2\nthree\n")
	f.sync()
	for _, name := range []string{"auto", "in-place", "renamed", "no-backup", "kept"} {
		wants(t, f.behind(name), "one\n2\n3\n")
	}
	if extra := f.conflictFiles(f.at, "auto", "in-place", "renamed", "no-backup", "kept", "kept~"); len(extra) > 0 {
		t.Errorf("editing left behind: %q", extra)
	}
	if queued := f.status().Conduits[0].Conflicts; queued != 0 {
		t.Errorf("editing made %d conflicts", queued)
	}
}

func TestSedInPlace(t *testing.T) {
	t.Parallel()
	f := mounted(t, goSource(t, "strings"))
	files, err := tree.Files(f.dir)
	must(t, err)
	sh(t, f.at, "sed", append([]string{"-i", "s/package strings/package threads/"}, files...)...)
	if got := read(t, f.path("strings/builder.go")); !strings.Contains(got, "package threads") {
		t.Fatal("sed -i changed nothing")
	}
	f.settled()
	if got := read(t, f.behind("strings/builder.go")); !strings.Contains(got, "package threads") {
		t.Fatal("the change did not reach the directory")
	}
	if names, err := tree.Files(f.at); err != nil || strings.Join(names, "\n") != strings.Join(files, "\n") {
		t.Fatalf("sed -i left other names: %q, %v", names, err)
	}
}

func TestCpArchive(t *testing.T) {
	t.Parallel()
	source := goSource(t, "net", "os", "strings")
	must(t, tree.Oddities(source))
	f := mounted(t, "")
	sh(t, "/", "cp", "-a", source, f.path("copy"))
	sameTrees(t, source, f.path("copy"))
	sh(t, "/", "cp", "-a", f.path("copy"), f.path("second"))
	sameTrees(t, source, f.path("second"))
	f.settled()
	sameTrees(t, source, f.behind("copy"))
}

func TestRsyncArchive(t *testing.T) {
	t.Parallel()
	need(t, "rsync")
	source := goSource(t, "net", "os")
	must(t, tree.Oddities(source))
	f := mounted(t, "")
	sh(t, "/", "rsync", "-a", source+"/", f.path("copy")+"/")
	unchanged := func() {
		t.Helper()
		if out := sh(t, "/", "rsync", "-ani", "--checksum", "--delete", source+"/", f.path("copy")+"/"); out != "" {
			t.Fatalf("rsync finds differences:\n%s", firstLines([]byte(out)))
		}
	}
	unchanged()
	f.settled()
	unchanged()
	write(t, filepath.Join(source, "os/added.go"), "package os\n")
	must(t, os.Remove(filepath.Join(source, "os/file.go")))
	must(t, os.RemoveAll(filepath.Join(source, "net/http")))
	sh(t, "/", "rsync", "-a", "--delete", source+"/", f.path("copy")+"/")
	unchanged()
	f.settled()
	sameTrees(t, source, f.behind("copy"))
}

func TestSqliteInWalMode(t *testing.T) {
	t.Parallel()
	need(t, "sqlite3")
	f := mounted(t, "")
	db := f.path("data.db")
	ask := func(path, query string) string {
		t.Helper()
		return strings.TrimSpace(sh(t, "/", "sqlite3", "-cmd", ".timeout 30000", path, query))
	}
	if mode := ask(db, "PRAGMA journal_mode=WAL"); mode != "wal" {
		t.Fatalf("journal mode is %q, want wal", mode)
	}
	ask(db, "CREATE TABLE rows (id INTEGER PRIMARY KEY, body BLOB)")
	// Two connections at a time need the shared memory file to be really shared.
	const writers, rows = 3, 200
	insert := "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < %d) " +
		"INSERT INTO rows (body) SELECT randomblob(500) FROM n;"
	var running []*exec.Cmd
	for range writers {
		script := strings.Repeat(fmt.Sprintf(insert, rows/10), 10)
		cmd := command("/", "sqlite3", "-cmd", ".timeout 30000", db, script)
		must(t, cmd.Start())
		running = append(running, cmd)
	}
	for _, cmd := range running {
		if err := cmd.Wait(); err != nil {
			t.Errorf("a writer failed: %v", err)
		}
	}
	want := fmt.Sprint(writers * rows)
	if got := ask(db, "SELECT count(*) FROM rows"); got != want {
		t.Fatalf("the database holds %s rows, want %s", got, want)
	}
	if got := ask(db, "PRAGMA integrity_check"); got != "ok" {
		t.Fatalf("integrity check: %s", got)
	}
	f.settled()
	// Ask a copy: opening the directory's own database would change it.
	other := filepath.Join(t.TempDir(), "copy.db")
	must(t, tree.Copy(f.behind("data.db"), other))
	if got := ask(other, "PRAGMA integrity_check; SELECT count(*) FROM rows"); got != "ok\n"+want {
		t.Fatalf("the directory's copy: %s", got)
	}
}
