package cache

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"vdfs/internal/fault"
)

// crashDir tells the child of TestKilledAtEveryFaultPoint where to work.
const crashDir = "VDFS_TEST_CRASH_DIR"

// TestKilledAtEveryFaultPoint runs a workload in a process that kills itself at one passing of one point after the other,
// until it gets through. What it had acknowledged must be there afterwards, and the index and the contents must be sound.
func TestKilledAtEveryFaultPoint(t *testing.T) {
	if dir := os.Getenv(crashDir); dir != "" {
		crashWork(t, dir)
		return
	}
	if testing.Short() {
		t.Skip("starts a process for each fault")
	}
	for _, point := range FaultPoints() {
		if point == faultRepeated || point == faultRepeatDone {
			continue // passed at a start: TestKilledWhileTransactionsAreRepeated
		}
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			kills := 0
			for n := 1; n <= 40; n++ {
				dir := t.TempDir()
				acked, killed := crashRun(t, dir, fmt.Sprintf("%s:%d", point, n))
				crashCheck(t, dir, acked)
				if !killed {
					break
				}
				kills++
			}
			if kills == 0 {
				t.Fatal("the workload never passes this point")
			}
		})
	}
}

// crashRun runs the workload and returns the lines it acknowledged.
func crashRun(t *testing.T, dir, plan string) (acked []string, killed bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledAtEveryFaultPoint$", "-test.v")
	cmd.Env = append(os.Environ(), crashDir+"="+dir, fault.Variable+"="+plan)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL) {
		t.Fatalf("%s: %v\n%s", plan, err, out)
	}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if line, ok := strings.CutPrefix(lines.Text(), "ack "); ok {
			acked = append(acked, line)
		}
	}
	return acked, err != nil
}

// crashWork writes, overwrites, fills and drops, and acknowledges each step as "name=content" ("name~content" where the bytes
// may be absent, because an endpoint has them), or "name-" of a name that is gone. "name?" says that something begins of
// which nobody knows how far it comes, "name/content/content" that one version takes the place of another.
func crashWork(t *testing.T, dir string) {
	c, err := Open(context.Background(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Lookup(RootIno, "f0"); err == nil {
		return // it was to be started only
	}
	for i := range 3 {
		name := fmt.Sprintf("f%d", i)
		ino, o := create(t, c, name)
		write(t, o, "first", 0)
		fmt.Printf("ack %s=first\n", name)
		closeIt(t, o)
		w, err := c.OpenFile(ino, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Truncate(0); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("ack %s=\n", name)
		write(t, w, "second!", 0)
		fmt.Printf("ack %s=second!\n", name)
		closeIt(t, w)

		p := makePlaceholder(t, c, "p"+name, 4)
		fmt.Printf("ack p%s~data\n", name)
		f, err := c.Fill(p.Ino, p.Version)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("data"), 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Commit(Range{Off: 0, Len: 4}); err != nil {
			t.Fatal(err)
		}
		if err := f.Complete(Hash{1}); err != nil {
			t.Fatal(err)
		}
		closeIt(t, f)
		if i != 1 {
			if _, err := c.Drop(p.Ino, p.Version); err != nil {
				t.Fatal(err)
			}
		}
		crashDraft(t, c, dir, i)
		crashStage(t, c, i)
		crashRestore(t, c, i)
		crashCut(t, c, i)
		crashNames(t, c, i)
		if _, err := c.removeDropped(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Backup(); err != nil {
		t.Fatal(err)
	}
}

// crashDraft has a copy take the place of a part. Its source is in dir, as nobody cleans up behind who is killed.
func crashDraft(t *testing.T, c *Cache, dir string, i int) {
	name := fmt.Sprintf("r%d", i)
	p := makePlaceholder(t, c, name, 4)
	fmt.Printf("ack %s~data\n", name)
	f, err := c.Fill(p.Ino, p.Version)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("da"), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(Range{Off: 0, Len: 2}); err != nil {
		t.Fatal(err)
	}
	closeIt(t, f) // tells the index what is here
	d := draft(t, c, p, sourceIn(t, dir, "data"))
	if err := d.Complete(Reader{}); err != nil {
		t.Fatal(err)
	}
	closeIt(t, d)
}

// crashStage has a version that was brought here beside another take its place.
func crashStage(t *testing.T, c *Cache, i int) {
	name := fmt.Sprintf("s%d", i)
	n := makeFile(t, c, name, "the old version")
	fmt.Printf("ack %s/the old version/the new one\n", name)
	s := staged(t, c, "the new one")
	if err := c.Update(0, func(tx *Tx) error { return tx.swap(n.Ino, s) }); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("ack %s=the new one\n", name)
	closeIt(t, s)
}

// crashRestore gives a file a version of the trash, and one that was brought here: what it had is in the trash then.
func crashRestore(t *testing.T, c *Cache, i int) {
	name := fmt.Sprintf("t%d", i)
	makeFile(t, c, name, "deleted")
	row := discard(t, c, name)
	makeFile(t, c, name, "present")
	fmt.Printf("ack %s/present/deleted\n", name)
	getBack(t, c, Restored{Path: "/" + name, Trash: row.ID, Replace: true})
	fmt.Printf("ack %s=deleted\n", name)
	fmt.Printf("ack %s/deleted/brought\n", name)
	s := staged(t, c, "brought")
	getBack(t, c, Restored{Path: "/" + name, Kind: File, Stage: s, Replace: true})
	fmt.Printf("ack %s=brought\n", name)
	closeIt(t, s)
}

// crashCut cuts a file of which only a part is here. Until that is acknowledged it may be the whole file, as before.
func crashCut(t *testing.T, c *Cache, i int) {
	name := fmt.Sprintf("c%d", i)
	p := partOf(t, c, name, "data and more", 6)
	fmt.Printf("ack %s~data\n", name)
	if i == 1 {
		if err := c.SyncContents(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	size := int64(4)
	if _, err := c.SetAttr(p.Ino, Attrs{Size: &size}); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("ack %s=data\n", name)
}

// crashNames makes, links, moves and removes names, changes attributes, and takes another version from an endpoint.
func crashNames(t *testing.T, c *Cache, i int) {
	by := Caller{}
	step := func(before string, do func() error, after string) {
		t.Helper()
		fmt.Printf("ack %s\n", before)
		if err := do(); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("ack %s\n", after)
	}
	name := func(kind string) string { return fmt.Sprintf("%s%d", kind, i) }
	ino, o := create(t, c, name("n"))
	write(t, o, "named", 0)
	closeIt(t, o)
	fmt.Printf("ack %s=named\n", name("n"))
	step(name("l")+"?", func() error { _, err := c.Link(ino, RootIno, name("l")); return err }, name("l")+"=named")
	step(name("n")+"?", func() error { return c.Rename(RootIno, name("n"), RootIno, name("m"), 0) }, name("m")+"=named")
	fmt.Printf("ack %s-\n", name("n"))
	step(name("l")+"?", func() error { return c.Unlink(RootIno, name("l")) }, name("l")+"-")
	mode := uint32(0o600)
	step(name("m")+"=named", func() error { _, err := c.SetAttr(ino, Attrs{Mode: &mode}); return err }, name("m")+"=named")
	step(name("d")+"?", func() error { _, err := c.Mkdir(RootIno, name("d"), 0o755, by); return err }, name("d")+"?")

	p := makePlaceholder(t, c, name("q"), 4)
	f, err := c.Fill(p.Ino, p.Version)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("part"), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(Range{Off: 0, Len: 2}); err != nil {
		t.Fatal(err)
	}
	closeIt(t, f) // tells the index what is here
	if err := c.Update(0, func(tx *Tx) error { return tx.ReplaceContent(p.Ino, 5, 1, Hash{2}) }); err != nil {
		t.Fatal(err)
	}
}

// crashCheck opens what the workload left. The step that was under way may or may not have happened.
func crashCheck(t *testing.T, dir string, acked []string) {
	t.Helper()
	c := openContents(t, dir)
	if err := c.sweep(context.Background()); err != nil {
		t.Fatal(err)
	}
	problems, err := c.Check(context.Background())
	if err != nil || len(problems) != 0 {
		t.Fatalf("after %v: %v, %v", acked, problems, err)
	}
	last := map[string]string{}
	for _, line := range acked {
		if name, text, ok := strings.Cut(line, "="); ok {
			last[name] = text
		} else if name, ok := strings.CutSuffix(line, "?"); ok {
			delete(last, name)
		} else if name, ok := strings.CutSuffix(line, "-"); ok {
			delete(last, name)
			if _, err := c.Lookup(RootIno, name); !errors.Is(err, ErrNotFound) {
				t.Fatalf("removed %s: %v", name, err)
			}
		} else if name, _, ok := strings.Cut(line, "~"); ok {
			last[name] = "~"
		} else if name, either, ok := strings.Cut(line, "/"); ok {
			last[name] = "/" + either
		}
	}
	for name, text := range last {
		e, err := c.Lookup(RootIno, name)
		if err != nil {
			t.Fatalf("acknowledged %s: %v", name, err)
		}
		if e.Node.Writing {
			t.Fatalf("%s is not settled", name)
		}
		if text == "~" && e.Node.Residency != Full {
			continue
		}
		got := content(t, c, e.Ino)
		before, after, either := strings.Cut(strings.TrimPrefix(text, "/"), "/")
		ok := got == text || either && (got == before || got == after) || text == "~" && got == "data" ||
			text == "first" && got == "" || text == "" && got == "second!" // the next step was under way
		if !ok {
			t.Fatalf("%s has %q, acknowledged was %q", name, got, text)
		}
		if name[0] == 't' {
			crashTrash(t, c, name, got)
		}
	}
	closeIt(t, c)
}

// crashTrash checks that the versions that a file does not have are in the trash, each once.
func crashTrash(t *testing.T, c *Cache, name, has string) {
	t.Helper()
	beside := map[string]string{"present": "deleted", "deleted": "present", "brought": "present deleted"}[has]
	got := ""
	for _, row := range trash(t, c, "/"+name) {
		b, err := c.store.open(row.Content)
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, row.Size)
		if _, err := b.file.ReadAt(p, 0); err != nil {
			t.Fatal(err)
		}
		closeIt(t, b.file)
		got = strings.TrimSpace(got + " " + string(p))
	}
	if got != beside {
		t.Fatalf("%s has %q, and the trash %q instead of %q", name, has, got, beside)
	}
}

func TestDoctorFindsAndMendsBrokenContents(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	ctx := context.Background()
	stray, err := c.store.create()
	if err != nil {
		t.Fatal(err)
	}
	closeIt(t, stray.file)
	whole := makeFile(t, c, "whole", "fine")
	lost := makeFile(t, c, "lost", "its file goes")
	odd := makeFile(t, c, "odd", "its row lies")
	closeIt(t, c)
	c = openContents(t, dir)
	if problems, err := c.checkContents(ctx); err != nil || len(problems) != 0 {
		t.Fatalf("before the sweep: %v, %v", problems, err)
	}
	if err := c.sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.store.path(stray.id), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if problems, err := c.checkContents(ctx); err != nil || len(problems) != 1 || problems[0].What != wrongStray {
		t.Fatalf("before: %v, %v", problems, err)
	}
	if err := os.Remove(c.store.path(lost.Content)); err != nil {
		t.Fatal(err)
	}
	err = c.update(0, true, func(tx *Tx) error {
		if err := tx.exec(`UPDATE nodes SET residency=1 WHERE ino=?`, odd.Ino); err != nil {
			return err
		}
		return tx.exec(`INSERT INTO contents(id, ino, size, present) VALUES(1000, 99, 5, 5)`)
	})
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	problems, err := c.checkContents(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		count[p.What]++
	}
	if len(problems) != 4 || count[wrongMissing] != 1 || count[wrongOwner] != 1 || count[wrongUnowned] != 1 || count[wrongStray] != 1 {
		t.Fatalf("found %v", problems)
	}
	if _, err := c.repairContents(ctx); err != nil {
		t.Fatal(err)
	}
	if problems, err = c.checkContents(ctx); err != nil || len(problems) != 1 || problems[0].What != wrongStray {
		t.Fatalf("after: %v, %v", problems, err)
	}
	want(t, "whole", content(t, c, whole.Ino), "fine")
	want(t, "odd", content(t, c, odd.Ino), "its row lies")
	want(t, "lost", rowOf(t, c, lost.Ino).Residency, None)
	want(t, "bytes", c.store.bytes.Load(), int64(len("fine")+len("its row lies"))-5) // the made-up row was never counted in
}

func TestDoctorTakesAnEmptyFileOfAnEndpointForWhole(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	defer closeIt(t, c)
	var inos [2]Ino
	err := c.update(0, true, func(tx *Tx) error {
		for i, name := range []string{"empty", "lies"} {
			ino, err := tx.InsertNode(Node{Kind: File, Mode: 0o644, Size: int64(i), Residency: Full})
			if err != nil {
				return err
			}
			if _, err = tx.InsertDentry(RootIno, name, ino); err != nil {
				return err
			}
			inos[i] = ino
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	problems, err := c.checkContents(t.Context())
	if err != nil || len(problems) != 1 || problems[0].What != wrongOwner || problems[0].Subject != fmt.Sprintf("node %d", inos[1]) {
		t.Errorf("found %v, %v", problems, err)
	}
	if _, err := c.repairContents(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, "empty", rowOf(t, c, inos[0]).Residency, Full)
	want(t, "not empty", rowOf(t, c, inos[1]).Residency, None)
}

// TestDoctorTakesNoWorkUnderWayForDamage looks between the commit of a deletion and the removal of the file, and when the
// row of a content goes after it was read.
func TestDoctorTakesNoWorkUnderWayForDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	gone := makeFile(t, c, "gone", "bytes")
	kept := makeFile(t, c, "kept", "bytes")
	closeIt(t, c)
	c = openContents(t, dir)
	if err := c.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	sound := func(when string) {
		t.Helper()
		if problems, err := c.checkContents(t.Context()); err != nil || len(problems) != 0 {
			t.Errorf("%s: %v, %v", when, problems, err)
		}
	}
	if err := c.update(0, true, func(tx *Tx) error {
		tx.onCommit(func() { sound("row gone, file there") }) // before the file's own turn
		e, err := tx.mustEntry(RootIno, "gone")
		if err != nil {
			return err
		}
		return tx.unlink(e)
	}); err != nil {
		t.Fatal(err)
	}
	sound("committed")
	if _, err := c.removeDropped(t.Context()); err != nil {
		t.Fatal(err)
	}
	sound("afterwards")
	if _, err := os.Lstat(c.store.path(gone.Content)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file of the deleted name: %v", err)
	}
	err := c.eachContent(t.Context(), func(h held) error {
		if h.id != kept.Content {
			return nil
		}
		h.ino = 0 // its lease is ours already
		if err := c.update(0, true, func(tx *Tx) error { return tx.removeContent(h.id) }); err != nil {
			return err
		}
		return c.look(h, func(held) error {
			t.Error("a content was judged by a row that is gone")
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnIndexMadeAnewSavesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	makeFile(t, c, "unsent", "precious")
	closeIt(t, c)
	for _, name := range []string{"index.db", "index.db-wal", "index.db-shm"} {
		if err := removeIfThere(dir + "/" + name); err != nil {
			t.Fatal(err)
		}
	}
	c = openContents(t, dir)
	makeFile(t, c, "new", "new")
	if err := c.sweep(context.Background()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(dir + "/lost+found/1 unsent")
	if err != nil || string(b) != "precious" {
		t.Fatalf("saved %q, %v", b, err)
	}
}

func TestWhatTimeDidNotAllowToRemoveTheNextStartRemoves(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	for i := range 20 {
		name := fmt.Sprint(i)
		makeFile(t, c, name, "text")
		if err := c.Unlink(RootIno, name); err != nil {
			t.Fatal(err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.removeDropped(ended); err != nil {
		t.Fatal(err)
	}
	want(t, "backing files at the end", backingFiles(t, dir), 20)
	closeIt(t, c)
	c = openContents(t, dir)
	if err := c.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, "backing files after a start", backingFiles(t, dir), 0)
}
