package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vdfs/integration/drive"
	"vdfs/integration/tree"
)

// stuck is what `vdfs errors --json` tells of the one item that is.
func (f *fixture) stuck() (i drive.Item) {
	f.t.Helper()
	var all []drive.Item
	must(f.t, f.JSON(&all, "errors", "--json"))
	if len(all) != 1 {
		f.t.Fatalf("%d items are stuck, want one: %+v", len(all), all)
	}
	return all[0]
}

// overImage is a drive over a directory on a disk of its own.
func overImage(t *testing.T, megabytes int64) (*fixture, *image) {
	t.Helper()
	disk := newImage(t, megabytes)
	dir := filepath.Join(disk.at, "storage")
	must(t, os.Mkdir(dir, 0o755))
	f := newFixture(t, dir)
	f.mount()
	return f, disk
}

// immutable has the file system refuse every change of a directory's names, to root too.
func immutable(t *testing.T, dir string, on bool) {
	t.Helper()
	d, err := os.Open(dir)
	must(t, err)
	const immutableFlag = 0x10 // FS_IMMUTABLE_FL
	flags, err := unix.IoctlGetInt(int(d.Fd()), unix.FS_IOC_GETFLAGS)
	must(t, err)
	if flags &^= immutableFlag; on {
		flags |= immutableFlag
	}
	must(t, unix.IoctlSetPointerInt(int(d.Fd()), unix.FS_IOC_SETFLAGS, flags))
	must(t, d.Close())
}

// A storage that refuses one file has that file wait, which says why and what can be done, and the others go on.
func TestAFileThatIsNotPermittedSaysSoAndTheOthersGoOn(t *testing.T) {
	t.Parallel()
	f, _ := overImage(t, 32)
	must(t, os.Mkdir(f.path("shut"), 0o755))
	f.sync()
	immutable(t, f.behind("shut"), true)
	defer immutable(t, f.behind("shut"), false)
	write(t, f.path("shut", "a"), "not permitted")
	write(t, f.path("b"), "permitted")
	if r := f.run("sync", "--wait", "--timeout", "60s"); r.Code != 3 || !strings.Contains(r.Stderr, "/shut/a") {
		t.Errorf("want exit 3 and the file: %s", r)
	}
	wants(t, f.behind("b"), "permitted")
	i := f.stuck()
	if i.Path != "/shut/a" || i.Status != "error" || i.Category != "filesystem" || i.Condition != "PermissionDenied" || i.Retryable || i.Attempts < 1 {
		t.Errorf("it is %+v", i)
	}
	if text := f.do("errors"); !strings.Contains(text, "permission denied: ") || !strings.Contains(text, "/shut/a") {
		t.Errorf("a person is told\n%s", text)
	}
	if i := f.info("shut/a")[0]; i.Sync != "error" || i.Error == "" {
		t.Errorf("the file is %+v", i)
	}
	immutable(t, f.behind("shut"), false)
	f.sync()
	wants(t, f.behind("shut", "a"), "not permitted")
	var none []drive.Item
	if must(t, f.JSON(&none, "queue", "--json")); len(none) > 0 {
		t.Errorf("%+v is left", none)
	}
}

// A storage that is full has what it cannot take wait, which goes on by itself when there is room.
func TestAFullStorageSaysSoAndGoesOnByItself(t *testing.T) {
	t.Parallel()
	f, disk := overImage(t, 32)
	write(t, f.path("old"), "old")
	f.sync()
	filler := fillUp(t, disk.at)
	must(t, os.WriteFile(f.path("big"), random(4<<20), 0o644))
	if r := f.run("sync", "--wait", "--timeout", "60s"); r.Code != 3 || !strings.Contains(r.Stderr, "/big") {
		t.Errorf("want exit 3 and the file: %s", r)
	}
	i := f.stuck()
	if i.Path != "/big" || i.Category != "filesystem" || i.Condition != "DiskFull" || i.Retryable {
		t.Errorf("it is %+v", i)
	}
	if text := f.do("errors"); !strings.Contains(text, "disk full: ") || !strings.Contains(text, "make room there") {
		t.Errorf("a person is told\n%s", text)
	}
	if extra := f.conflictFiles(f.at, "old", "big"); len(extra) > 0 {
		t.Errorf("a full disk made the conflict files %q", extra)
	}
	must(t, os.Remove(filler))
	f.settledBesideTrash()
}

// A storage that is away is a condition of the drive, not an error of its files: they wait, and go on when it is back.
func TestAStorageThatIsAwayIsNoErrorOfItsFiles(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	write(t, f.path("a"), "first")
	f.sync()
	must(t, os.Rename(f.dir, f.dir+"-away"))
	write(t, f.path("a"), "second")
	write(t, f.path("b"), "new")
	if r := f.run("sync", "--wait", "--timeout", "60s"); r.Code != 5 {
		t.Errorf("want exit 5: %s", r)
	}
	if s := f.status(); s.State != "offline" {
		t.Errorf("the drive is %s", s.State)
	}
	var all []drive.Item
	must(t, f.JSON(&all, "errors", "--json"))
	if len(all) > 0 {
		t.Errorf("these are stuck: %+v", all)
	}
	must(t, f.JSON(&all, "queue", "--json"))
	if len(all) != 2 || !all[0].Retryable || !all[1].Retryable {
		t.Errorf("these wait: %+v", all)
	}
	if log := f.Log(); !strings.Contains(log, "category=network") || !strings.Contains(log, "retryable=true") {
		t.Error("the log does not tell what kind of error it was")
	}
	must(t, os.Rename(f.dir+"-away", f.dir))
	f.settled()
}

// Two versions of a file are a conflict that is told in words.
func TestAConflictSaysWhatHappened(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	write(t, f.path("a"), "first")
	f.sync()
	f.do("pause")
	write(t, f.path("a"), "mine")
	write(t, f.behind("a"), "what is theirs")
	write(t, f.path("b"), "mine")
	write(t, f.behind("b"), "theirs, new")
	f.do("resume")
	f.do("sync", "--rescan", "--wait", "--timeout", "60s")
	var all []drive.Conflict
	must(t, f.JSON(&all, "conflicts", "--json"))
	told := map[string]string{}
	for _, c := range all {
		told[c.Path] = c.Condition + ": " + c.Reason
	}
	if len(all) != 2 || told["/a"] != "DataMismatch: both sides changed the file" || told["/b"] != "FileExists: both sides made a file of this name" {
		t.Errorf("told %q", told)
	}
	if text := f.do("conflicts", "show", f.path("a")); !strings.Contains(text, "both sides changed the file") {
		t.Errorf("a person is told\n%s", text)
	}
}

// An index that is gone is made anew from the storage. Nothing is deleted there, and what was not sent is in lost+found.
func TestALostIndexIsMadeAnewFromTheStorage(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(t *testing.T, data string){
		"the index": func(t *testing.T, data string) {
			found, err := filepath.Glob(filepath.Join(data, "index.db*"))
			must(t, err)
			for _, path := range found {
				must(t, os.Remove(path))
			}
		},
		"the index and its backups": func(t *testing.T, data string) {
			found, err := filepath.Glob(filepath.Join(data, "index*"))
			must(t, err)
			for _, path := range append(found, filepath.Join(data, "backups")) {
				must(t, os.RemoveAll(path))
			}
		},
		"all but the bytes": func(t *testing.T, data string) {
			entries, err := os.ReadDir(data)
			must(t, err)
			for _, e := range entries {
				if e.Name() != "content" {
					must(t, os.RemoveAll(filepath.Join(data, e.Name())))
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := mounted(t, "")
			must(t, os.MkdirAll(f.path("d", "e"), 0o755))
			for _, name := range []string{"one", "d/two", "d/e/three"} {
				write(t, f.path(name), "synced "+name)
			}
			f.sync()
			f.do("pause")
			write(t, f.path("unsent"), "only the drive has this")
			f.do("unmount", f.at)
			before, err := tree.Files(f.dir)
			must(t, err)
			lose(t, filepath.Join(f.Home, "data"))

			f.mount()
			f.settled()
			after, err := tree.Files(f.dir)
			must(t, err)
			for _, name := range before {
				wants(t, f.behind(name), "synced "+name)
			}
			if len(after) != len(before) {
				t.Errorf("the storage has %q, it had %q", after, before)
			}
			if !f.hasLost("only the drive has this") {
				t.Error("what was not sent is not in lost+found")
			}
			f.do("doctor")
		})
	}
}

// A pin that the local disk has no room for waits, and goes on by itself when there is some.
func TestAPinWaitsForRoomOnTheLocalDisk(t *testing.T) {
	t.Parallel()
	f := newFullDrive(t)
	data := someBytes(f.rnd, 6<<20)
	must(t, os.WriteFile(f.behind("a"), data, 0o644))
	f.sync()
	must(t, os.Rename(f.dir, f.dir+"-away")) // so that it does not come before the disk is full
	f.run("sync", "--wait", "--timeout", "60s")
	f.do("pin", f.path("a"))
	f.fill()
	must(t, os.Rename(f.dir+"-away", f.dir))
	eventually(t, "it says that there is no room", func() bool { return strings.Contains(f.info("a")[0].Error, "no space left on the local disk") })
	f.clear()
	eventually(t, "what is pinned is here", func() bool { return f.info("a")[0].Residency == "full" })
	wants(t, f.path("a"), string(data))
	f.do("doctor")
}
