package caller

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// proc is a process file system that a test makes.
type proc struct {
	*testing.T
	dir string
}

// made describes a process of a proc.
type made struct {
	pid, parent int
	exe         string
	args        string // separated by blanks
	terminal    bool
	cgroup      string // "": a session of a desktop
	start       int
}

func newProc(t *testing.T) proc { return proc{t, t.TempDir()} }

func (p proc) add(m made) {
	p.Helper()
	dir := filepath.Join(p.dir, fmt.Sprint(m.pid))
	tty := 0
	if m.terminal {
		tty = 34816
	}
	if m.cgroup == "" {
		m.cgroup = "/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-files-77.scope"
	}
	stat := fmt.Sprintf("%d (a ) name) S %d 1 1 %d -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 %d 1 1\n", m.pid, m.parent, tty, m.start)
	must(p.T, os.RemoveAll(dir))
	must(p.T, os.Mkdir(dir, 0o755))
	for name, text := range map[string]string{
		"stat": stat, "cmdline": strings.ReplaceAll(m.args, " ", "\x00") + "\x00", "cgroup": "0::" + m.cgroup + "\n",
	} {
		must(p.T, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	if m.exe != "" {
		must(p.T, os.Symlink(m.exe, filepath.Join(dir, "exe")))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestProgramsAreKnownByWhatRuns(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		exe, args string
		want      Class
		program   string
	}{
		"a viewer":                      {"/usr/bin/eog", "eog x.jpg", Person, "eog"},
		"ffmpegthumbnailer":             {"/usr/bin/ffmpegthumbnailer", "ffmpegthumbnailer -i x", Thumbnailer, "ffmpegthumbnailer"},
		"gdk-pixbuf":                    {"/usr/bin/gdk-pixbuf-thumbnailer", "gdk-pixbuf-thumbnailer -s 256 x y", Thumbnailer, "gdk-pixbuf-thumbnailer"},
		"totem":                         {"/usr/bin/totem-video-thumbnailer", "", Thumbnailer, "totem-video-thumbnailer"},
		"a font":                        {"/usr/bin/gnome-thumbnail-font", "", Thumbnailer, "gnome-thumbnail-font"},
		"tumbler":                       {"/usr/lib/x86_64-linux-gnu/tumbler-1/tumblerd", "tumblerd", Thumbnailer, "tumblerd"},
		"KDE makes a thumbnail":         {"/usr/libexec/kf6/kioworker", "kioworker /usr/lib/qt6/plugins/kf6/kio/thumbnail.so thumbnail x", Thumbnailer, "kioworker"},
		"KDE of old":                    {"/usr/bin/kdeinit5", "=thumbnail.so [kdeinit5] thumbnail local:/run/user/1000/x", Thumbnailer, "kdeinit5"},
		"KDE copies a file":             {"/usr/libexec/kf6/kioworker", "kioworker /usr/lib/qt6/plugins/kf6/kio/kio_file.so file x", Person, "kioworker"},
		"tracker's miner":               {"/usr/libexec/tracker-miner-fs-3", "", Indexer, "tracker-miner-fs-3"},
		"tracker's extractor":           {"/usr/libexec/tracker-extract-3", "", Indexer, "tracker-extract-3"},
		"localsearch":                   {"/usr/libexec/localsearch-3", "", Indexer, "localsearch-3"},
		"baloo":                         {"/usr/libexec/kf6/baloo_file_extractor", "", Indexer, "baloo_file_extractor"},
		"updatedb":                      {"/usr/sbin/updatedb.plocate", "", Indexer, "updatedb.plocate"},
		"restic":                        {"/usr/bin/restic", "restic backup /", Backup, "restic"},
		"a script's interpreter":        {"/usr/bin/python3.13", "/usr/bin/python3 -u /usr/bin/duplicity full", Backup, "duplicity"},
		"a module of Python":            {"/usr/bin/python3.13", "python3 -m borgmatic", Backup, "borgmatic"},
		"Perl":                          {"/usr/bin/perl", "/usr/bin/perl -w /usr/bin/rsnapshot daily", Backup, "rsnapshot"},
		"an interpreter alone":          {"/usr/bin/python3.13", "python3", Person, "python3.13"},
		"a text for a shell":            {"/usr/bin/dash", "sh -c restic", Person, "dash"},
		"many programs in one":          {"/bin/busybox", "updatedb", Indexer, "updatedb"},
		"replaced while it runs":        {"/usr/bin/restic (deleted)", "x", Backup, "restic"},
		"another user's":                {"", "/usr/bin/updatedb -l", Indexer, "updatedb"},
		"calls itself a thumbnailer":    {"/usr/bin/cat", "ffmpegthumbnailer", Person, "cat"},
		"of which nothing can be told":  {"", "", Unknown, ""},
		"only begins like a known name": {"/usr/bin/resticfoo", "", Person, "resticfoo"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProc(t)
			p.add(made{pid: 7, parent: 1, exe: tc.exe, args: tc.args})
			if joined, ok := strings.CutPrefix(tc.args, "="); ok {
				must(t, os.WriteFile(filepath.Join(p.dir, "7", "cmdline"), []byte(joined), 0o644))
			}
			if tc.args == "" {
				must(t, os.WriteFile(filepath.Join(p.dir, "7", "cmdline"), nil, 0o644))
			}
			c := New(Options{Proc: p.dir}).Of(7)
			if c.Class != tc.want || c.Program != tc.program {
				t.Fatalf("got %s %q, want %s %q", c.Class, c.Program, tc.want, tc.program)
			}
		})
	}
}

func TestAProcessThatCannotBeSeenIsUnknownAndNotLimited(t *testing.T) {
	t.Parallel()
	table := New(Options{Proc: newProc(t).dir})
	for _, pid := range []uint32{0, 99} {
		if c := table.Of(pid); c.Class != Unknown || c.Limited() || !c.Uses() || c.Background() {
			t.Errorf("process %d: %+v", pid, c)
		}
	}
}

func TestWorkersAreWhatStartedThem(t *testing.T) {
	t.Parallel()
	p := newProc(t)
	p.add(made{pid: 10, parent: 1, exe: "/usr/bin/recollindex"})
	p.add(made{pid: 11, parent: 10, exe: "/usr/bin/python3", args: "python3 /usr/share/recoll/filters/rclpdf.py"})
	p.add(made{pid: 12, parent: 11, exe: "/usr/bin/pdftotext"})
	p.add(made{pid: 20, parent: 1, exe: "/usr/bin/nautilus"})
	p.add(made{pid: 21, parent: 20, exe: "/usr/bin/bwrap", args: "bwrap gdk-pixbuf-thumbnailer"})
	p.add(made{pid: 22, parent: 21, exe: "/usr/bin/gdk-pixbuf-thumbnailer"})
	p.add(made{pid: 23, parent: 20, exe: "/usr/bin/gedit"})
	table := New(Options{Proc: p.dir})
	for pid, want := range map[uint32]Class{11: Indexer, 12: Indexer, 20: Person, 22: Thumbnailer, 23: Person} {
		if c := table.Of(pid); c.Class != want {
			t.Errorf("process %d is %s %q, want %s", pid, c.Class, c.Program, want)
		}
	}
}

func TestWhatAPersonTypesIsNeverLimited(t *testing.T) {
	t.Parallel()
	p := newProc(t)
	p.add(made{pid: 30, parent: 1, exe: "/usr/bin/bash", args: "-bash", terminal: true})
	p.add(made{pid: 31, parent: 30, exe: "/usr/bin/ffmpegthumbnailer", terminal: true})
	p.add(made{pid: 32, parent: 30, exe: "/usr/bin/grep", args: "grep -r x .", terminal: true})
	p.add(made{pid: 33, parent: 30, exe: "/usr/bin/bash", args: "bash -c make", terminal: true})
	p.add(made{pid: 34, parent: 33, exe: "/usr/bin/ffmpegthumbnailer", terminal: true})
	p.add(made{pid: 35, parent: 30, exe: "/usr/bin/bash", args: "bash -ic ffmpegthumbnailer", terminal: true})
	p.add(made{pid: 36, parent: 35, exe: "/usr/bin/ffmpegthumbnailer", terminal: true})
	table := New(Options{Proc: p.dir})
	for pid, limited := range map[uint32]bool{31: false, 32: false, 34: true, 36: true} {
		if c := table.Of(pid); c.Limited() != limited {
			t.Errorf("process %d: %+v", pid, c)
		}
	}
}

func TestThePersonsListsComeFirst(t *testing.T) {
	t.Parallel()
	p := newProc(t)
	p.add(made{pid: 40, parent: 1, exe: "/usr/bin/ffmpegthumbnailer"})
	p.add(made{pid: 41, parent: 1, exe: "/opt/scan/scanner"})
	p.add(made{pid: 42, parent: 41, exe: "/opt/scan/helper"})
	p.add(made{pid: 43, parent: 41, exe: "/opt/scan/shown"})
	table := New(Options{Proc: p.dir, Allow: []string{"ffmpegthumbnailer", "shown"}, Deny: []string{"scan*"}})
	for pid, limited := range map[uint32]bool{40: false, 41: true, 42: true, 43: false} {
		if c := table.Of(pid); c.Limited() != limited || c.Uses() == limited {
			t.Errorf("process %d: %+v", pid, c)
		}
	}
}

func TestServicesWorkInTheBackground(t *testing.T) {
	t.Parallel()
	const user = "/user.slice/user-1000.slice/user@1000.service"
	for cgroup, want := range map[string]bool{
		"/system.slice/clamav-daemon.service":                    true,
		user + "/app.slice/syncthing.service":                    true,
		user + "/background.slice/tracker-miner-fs-3.service":    true,
		user + "/app.slice/app-org.gnome.Nautilus@4d2.service":   false,
		user + "/app.slice/gnome-terminal-server.service":        false,
		user + "/app.slice/dbus-:1.2-org.gnome.Nautilus.service": false,
		user + "/session.slice/org.gnome.Shell@wayland.service":  false,
		"/user.slice/user-1000.slice/session-2.scope":            false,
		"/system.slice/docker-0123.scope":                        false,
		"/":                                                      false,
	} {
		p := newProc(t)
		p.add(made{pid: 50, parent: 1, exe: "/usr/bin/program", cgroup: cgroup})
		p.add(made{pid: 51, parent: 1, exe: "/usr/bin/program", cgroup: cgroup, terminal: true})
		table := New(Options{Proc: p.dir})
		if c := table.Of(50); c.Background() != want || c.Limited() {
			t.Errorf("%s: %+v", cgroup, c)
		}
		if table.Of(51).Background() {
			t.Errorf("%s with a terminal is taken for a service", cgroup)
		}
	}
}

func TestAProcessIsRememberedUntilItIsAnother(t *testing.T) {
	t.Parallel()
	p := newProc(t)
	p.add(made{pid: 60, parent: 1, exe: "/usr/bin/restic", start: 5})
	table := New(Options{Proc: p.dir})
	want := func(class Class) {
		t.Helper()
		if c := table.Of(60); c.Class != class {
			t.Fatalf("got %+v, want %s", c, class)
		}
	}
	want(Backup)
	must(t, os.Remove(filepath.Join(p.dir, "60", "cmdline")))
	want(Backup)                                                   // or the missing file would have made it unknown
	p.add(made{pid: 60, parent: 1, exe: "/usr/bin/cat", start: 5}) // exec
	want(Person)
	p.add(made{pid: 60, parent: 1, exe: "/usr/bin/updatedb", start: 9}) // the number was given again
	want(Indexer)
	p.add(made{pid: 60, parent: 1, exe: "/usr/bin/python3", args: "python3 duplicity", start: 11})
	want(Backup)
	p.add(made{pid: 60, parent: 1, exe: "/usr/bin/python3", args: "python3 recollindex", start: 12})
	want(Indexer)
	must(t, os.RemoveAll(filepath.Join(p.dir, "60")))
	want(Unknown)
	if c := table.Was(60); c.Class != Indexer {
		t.Fatalf("the one that is gone was %+v", c)
	}
}

func TestAProcessWhoseMemoryIsLockedIsUnknown(t *testing.T) {
	t.Parallel()
	p := newProc(t)
	p.add(made{pid: 70, parent: 1, exe: "/usr/bin/updatedb"})
	args := filepath.Join(p.dir, "70", "cmdline")
	must(t, os.Remove(args))
	must(t, unix.Mkfifo(args, 0o600)) // who reads it waits for a writer
	if c := New(Options{Proc: p.dir}).Of(70); c.Class != Unknown || c.Limited() {
		t.Fatalf("got %+v", c)
	}
	w, err := os.OpenFile(args, os.O_WRONLY, 0)
	must(t, err)
	must(t, w.Close())
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	p := newProc(t)
	table := New(Options{Proc: p.dir})
	for pid := 1; pid <= knownMax+10; pid++ {
		p.add(made{pid: pid, parent: 1, exe: "/usr/bin/cat"})
		table.Of(uint32(pid))
	}
	if n := len(table.known); n > knownMax {
		t.Fatalf("%d processes are remembered", n)
	}
}

func TestARealProcess(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "ffmpegthumbnailer")
	data, err := os.ReadFile("/bin/sleep")
	must(t, err)
	must(t, os.WriteFile(name, data, 0o755))
	cmd := exec.Command(name, "60")
	must(t, cmd.Start())
	defer func() {
		must(t, cmd.Process.Kill())
		_ = cmd.Wait() // it was killed
	}()
	table := New(Options{})
	if c := table.Of(uint32(cmd.Process.Pid)); c.Class != Thumbnailer || !c.Limited() {
		t.Fatalf("got %+v", c)
	}
	if c := table.Of(uint32(os.Getpid())); c.Class != Person || c.Program != "caller.test" {
		t.Fatalf("this process is %+v", c)
	}
}
