package daemon

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vdfs/cmd/config"
	"vdfs/cmd/control"
	"vdfs/internal/procs"
)

// made is a fresh directory without symbolic links in its path, with directories in it.
func made(t *testing.T, dirs ...string) string {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func refused(t *testing.T, err error, code control.Code, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("not refused")
	}
	if got := control.AsError(err).Code; got != code {
		t.Errorf("code %s, want %s (%v)", got, code, err)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than one line: %q", err)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q does not name %q", err, p)
		}
	}
}

func TestMountpointsThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	root := made(t, "full/x", "empty")
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(root, "none"): "does not exist", file: "is not a directory", filepath.Join(root, "full"): "is not empty", "": "is empty",
	} {
		_, err := checkMountpoint(path)
		refused(t, err, control.Usage, path, want)
	}
	_, err := checkMountpoint("/proc")
	refused(t, err, control.Usage, "/proc", "already a mountpoint", "type proc")
	if got, err := checkMountpoint(filepath.Join(root, "empty")); err != nil || got != filepath.Join(root, "empty") {
		t.Errorf("%s, %v", got, err)
	}
}

func TestEndpointsAreReadAsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	root := made(t, "real")
	if err := os.Symlink("real", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		root + "/real": root + "/real", "dir:" + root + "/link": root + "/real", root + "/link/sub/..": root + "/real", root + "/none/x": root + "/none/x",
	} {
		if got, err := endpointDir(in); err != nil || got != want {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
	for _, in := range []string{"onedrive:/x", "s3://b/p", "webdav+https://u:secret@h/p", "rclone:r:p"} {
		_, err := endpointDir(in)
		refused(t, err, control.Usage, "not supported by this version")
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("a secret is shown: %v", err)
		}
	}
	_, err := endpointDir("dir:")
	refused(t, err, control.Usage)
}

func TestEndpointsThatCannotServeAreRefused(t *testing.T) {
	t.Parallel()
	root := made(t, "good")
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, usableEndpoint(filepath.Join(root, "none")), control.Unreachable, "does not exist")
	refused(t, usableEndpoint(file), control.Failed, "is not a directory")
	if err := usableEndpoint(filepath.Join(root, "good")); err != nil {
		t.Error(err)
	}
	if os.Geteuid() == 0 {
		return // root reads everything
	}
	if err := os.Chmod(filepath.Join(root, "good"), 0); err != nil {
		t.Fatal(err)
	}
	refused(t, usableEndpoint(filepath.Join(root, "good")), control.Unreachable, "permission denied")
}

func TestPlacesThatContainOneAnotherAreRefused(t *testing.T) {
	t.Parallel()
	root := made(t, "home/Drive", "home/state/home", "files", "home/statement")
	at := func(p string) string { return filepath.Join(root, p) }
	state := []string{at("home/state")}
	embedded := at("home/state/home")
	for name, tc := range map[string]struct {
		mountpoint, endpoint string
		want                 []string
	}{
		"endpoint beside them":             {at("home/Drive"), at("files"), nil},
		"the embedded endpoint":            {at("home/Drive"), embedded, nil},
		"no endpoint":                      {at("home/Drive"), "", nil},
		"a name that only begins alike":    {at("home/Drive"), at("home/statement"), nil},
		"endpoint with both inside":        {at("home/Drive"), at("home"), []string{at("home/Drive"), at("home/state"), " and "}},
		"endpoint is the mountpoint":       {at("home/Drive"), at("home/Drive"), []string{"contains the mountpoint"}},
		"endpoint inside the mountpoint":   {at("home/Drive"), at("home/Drive/x"), []string{"is inside the mountpoint"}},
		"endpoint inside the state":        {at("home/Drive"), at("home/state/x"), []string{"is inside the state directory"}},
		"mountpoint inside the state":      {at("home/state/x"), at("files"), []string{"is inside the state directory"}},
		"state inside the mountpoint":      {at("home"), at("files"), []string{"is inside the mountpoint"}},
		"everything":                       {at("home/Drive"), "/", []string{at("home/Drive"), at("home/state")}},
		"mountpoint is the state":          {at("home/state"), at("files"), []string{"is inside the state directory"}},
		"endpoint contains the mountpoint": {at("files/m"), at("files"), []string{"contains the mountpoint"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := separate(tc.mountpoint, tc.endpoint, embedded, state)
			if tc.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			refused(t, err, control.Usage, tc.want...)
		})
	}
}

func TestMountTableLinesAreRead(t *testing.T) {
	t.Parallel()
	table := `24 1 8:1 / / rw,relatime shared:1 master:2 - ext4 /dev/sda1 rw
60 24 0:51 / /mnt/my\040drive rw,nosuid - fuse.sshfs vdfs rw,user_id=0
61 24 0:52 / /mnt/other rw - fuse.sshfs host:/x rw
short line
62 24 0:53 / /mnt/other rw - fuse.sshfs vdfs rw
`
	find := func(dir string) *mount {
		m, err := findMount(strings.NewReader(table), dir)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if m := find("/mnt/my drive"); m == nil || !m.ours() || m.major != 0 || m.minor != 51 {
		t.Errorf("escaped name: %+v", m)
	}
	if m := find("/mnt/other"); m == nil || m.minor != 53 {
		t.Errorf("of two mounts the upper one: %+v", m)
	}
	if m := find("/"); m == nil || m.ours() || m.kind != "ext4" {
		t.Errorf("root: %+v", m)
	}
	if m := find("/mnt"); m != nil {
		t.Errorf("no mount: %+v", m)
	}
}

func TestProcessesThatUseADeviceAreNamed(t *testing.T) {
	t.Parallel()
	dir := made(t)
	cmd := exec.Command("sleep", "60")
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // killed
	})
	dev, err := procs.DeviceOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, h := range holders(dev) {
		if h.PID == os.Getpid() {
			t.Error("the daemon itself is named")
		}
		if h.PID == cmd.Process.Pid {
			found = h.How == "cwd" && h.Command == "sleep" && string(h.Path) == dir
		}
	}
	if !found {
		t.Error("the process is not named")
	}
	if list := holders(procs.Device{Major: 4095, Minor: 1048575}); len(list) != 0 {
		t.Errorf("an unused device is used by %v", list)
	}
}

func TestManyHoldersAreShownInOneLine(t *testing.T) {
	t.Parallel()
	var list []control.Holder
	for i := range 10 {
		list = append(list, control.Holder{PID: i + 1, Command: "sh", How: "cwd", Path: "/m"})
	}
	text := describe(list)
	if !strings.HasPrefix(text, "sh (pid 1, cwd /m), ") || !strings.HasSuffix(text, "and 2 more") || strings.Contains(text, "\n") {
		t.Error(text)
	}
}

func TestRunningDrivesAreRecordedAndForgotten(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(made(t), "odd [name]", "drives")
	one, two := Running{"/m/one\xff", "/s1", 1}, Running{"/m/two", "/s2", 2}
	for _, r := range []Running{one, two, one} {
		if err := record(dir, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "broken.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := RunningDrives(dir); len(got) != 2 {
		t.Errorf("recorded: %v", got)
	}
	if err := errors.Join(forget(dir, one), forget(dir, one)); err != nil {
		t.Fatal(err)
	}
	if got := RunningDrives(dir); len(got) != 1 || got[0] != two {
		t.Errorf("after forgetting one: %v", got)
	}
	if err := errors.Join(record("", one), forget("", one)); err != nil || RunningDrives("") != nil {
		t.Errorf("without a place for it: %v", err)
	}
}

func TestTheLogFileStaysSmall(t *testing.T) {
	t.Parallel()
	path := filepath.Join(made(t), "daemon.log")
	l, err := openLog(path, 100)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		if _, err := fmt.Fprintf(l, "line %02d\n", i); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	now, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(path + ".1")
	if err != nil {
		t.Fatal(err)
	}
	if len(now) > 100 || len(old) > 100 || !strings.HasSuffix(string(now), "line 29\n") || !strings.HasPrefix(string(now), "line ") {
		t.Errorf("now %q, before %q", now, old)
	}
	if joined := string(old) + string(now); !strings.Contains(joined, "line 20\nline 21\n") {
		t.Errorf("records are missing: %q", joined)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
}

func TestTheStateOfTheDriveIsTheWorstOfItsConduits(t *testing.T) {
	t.Parallel()
	of := func(states ...string) (out []control.ConduitStatus) {
		for _, s := range states {
			out = append(out, control.ConduitStatus{State: s})
		}
		return out
	}
	for want, tc := range map[string]struct {
		states []string
		paused bool
	}{
		"idle": {[]string{"idle", "paused"}, false}, "syncing": {[]string{"idle", "syncing"}, false}, "offline": {[]string{"syncing", "offline", "attention"}, false},
		"error": {[]string{"offline", "error"}, false}, "attention": {[]string{"attention", "syncing"}, false}, "paused": {[]string{"error"}, true},
	} {
		if got := driveState(of(tc.states...), tc.paused); got != want {
			t.Errorf("%v: %s, want %s", tc.states, got, want)
		}
	}
	if driveState(nil, false) != "idle" {
		t.Error("a drive without conduits is not idle")
	}
}

func TestARefusedFirstMountLeavesNoTrace(t *testing.T) {
	t.Parallel()
	root := made(t, "Drive", "other")
	paths, err := config.FindPaths(func(k string) string {
		return map[string]string{"VDFS_HOME": filepath.Join(root, "home"), "HOME": root}[k]
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]Options{
		"missing endpoint":   {Mountpoint: filepath.Join(root, "Drive"), From: filepath.Join(root, "none")},
		"missing mountpoint": {Mountpoint: filepath.Join(root, "none")},
		"recursion":          {Mountpoint: filepath.Join(root, "Drive"), From: root},
		"adopts itself":      {Mountpoint: filepath.Join(root, "Drive"), From: filepath.Join(root, "other"), Adopt: filepath.Join(root, "other")},
		"adopts nothing":     {Mountpoint: filepath.Join(root, "Drive"), From: filepath.Join(root, "other"), Adopt: filepath.Join(root, "none")},
		"unknown storage":    {Mountpoint: filepath.Join(root, "Drive"), From: "s3://b"},
	} {
		o.Paths = paths
		if err := Run(t.Context(), o); err == nil {
			t.Fatalf("%s: mounted", name)
		}
		left, err := os.ReadDir(root)
		if err != nil || len(left) != 2 {
			t.Errorf("%s: left behind: %v, %v", name, left, err)
		}
	}
}
