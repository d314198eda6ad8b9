package integration

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vdfs/integration/drive"
)

// systemctl is a made-up one: it notes how it was called and does what files beside it say.
const systemctl = `#!/bin/sh
dir=$(dirname "$0")
shift 2 # --user --no-ask-password
echo "$*" >>"$dir/calls"
if [ -e "$dir/fails-$1" ]; then
	cat "$dir/fails-$1" >&2
	exit 1
fi
case "$*" in
*MainPID*) cat "$dir/pid" ;;
esac
`

// managed is a drive whose owner has a made-up service manager.
type managed struct {
	*fixture
	dir string // of systemctl
}

func newManaged(t *testing.T) *managed {
	t.Helper()
	m := &managed{newFixture(t, ""), t.TempDir()}
	// A child writes it: a program that this process, or what it forks meanwhile, has open for writing cannot be run.
	write := command("/", "sh", "-c", `cat >"$1" && chmod +x "$1"`, "sh", filepath.Join(m.dir, "systemctl"))
	write.Stdin = strings.NewReader(systemctl)
	must(t, write.Run())
	m.put("pid", "0\n")
	m.Env = append(m.Env, "PATH="+m.dir+":"+os.Getenv("PATH"))
	return m
}

// put writes a file beside systemctl.
func (m *managed) put(name, text string) {
	m.t.Helper()
	write(m.t, filepath.Join(m.dir, name), text)
}

// called fails the test unless systemctl was called exactly so since the last time. NAME stands for the unit's.
func (m *managed) called(want ...string) {
	m.t.Helper()
	units := m.units()
	if len(units) == 1 {
		m.put("name", units[0])
	}
	name := read(m.t, filepath.Join(m.dir, "name"))
	got := strings.Split(strings.TrimSpace(strings.ReplaceAll(read(m.t, filepath.Join(m.dir, "calls")), name, "NAME")), "\n")
	if !slices.Equal(got, want) {
		m.t.Errorf("systemctl was called\n%q\nwant\n%q", got, want)
	}
	m.put("calls", "")
}

// units are the files of units that lie there.
func (m *managed) units() []string {
	m.t.Helper()
	entries, err := os.ReadDir(filepath.Join(filepath.Dir(m.at), ".config", "systemd", "user"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		m.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// unit is the text of the one unit.
func (m *managed) unit() string {
	m.t.Helper()
	units := m.units()
	if len(units) != 1 {
		m.t.Fatalf("the units are %q, want one", units)
	}
	return read(m.t, filepath.Join(filepath.Dir(m.at), ".config", "systemd", "user", units[0]))
}

// refused runs a command that has to fail with this code and one line, in which all these words are.
func (m *managed) refused(code int, words []string, args ...string) {
	m.t.Helper()
	r := m.run(args...)
	if r.Code != code || strings.Count(r.Stderr, "\n") != 1 {
		m.t.Errorf("want exit %d and one line: %s", code, r)
	}
	for _, word := range words {
		if !strings.Contains(r.Stderr, word) {
			m.t.Errorf("want %q in: %s", word, r)
		}
	}
}

func TestServiceIsInstalledAndRemoved(t *testing.T) {
	t.Parallel()
	m := newManaged(t)
	at := filepath.Join(filepath.Dir(m.at), `My "Drive" 100% $HOME`)
	must(t, os.Mkdir(at, 0o755))
	var before string
	for round := range 2 {
		m.do("service", "install", at, "--read-only")
		m.called("show --property=Version", "daemon-reload", "enable --quiet --now NAME")
		text := m.unit()
		quoted := strings.NewReplacer(`"`, `\"`, "%", "%%", "$", "$$").Replace(at)
		for _, line := range []string{
			fmt.Sprintf(`ExecStart="%s" "mount" "--foreground" "--read-only" "--" "%s"`, built, quoted),
			fmt.Sprintf(`Environment="VDFS_HOME=%s"`, m.Home), "Type=notify", "Restart=on-failure", "WantedBy=default.target",
		} {
			if !strings.Contains(text, line+"\n") {
				t.Errorf("no line %s in\n%s", line, text)
			}
		}
		if round > 0 && text != before {
			t.Errorf("installed twice it is another:\n%s\n%s", before, text)
		}
		before = text
	}
	m.do("service", "remove")
	m.called("show --property=Version", "disable --quiet --now NAME", "daemon-reload")
	if left := m.units(); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
	m.do("service", "remove")
	m.called("show --property=Version")
}

func TestServiceOfAMountedDriveInterruptsNobody(t *testing.T) {
	t.Parallel()
	m := newManaged(t)
	m.mount()
	daemons, err := m.Daemons()
	must(t, err)
	if len(daemons) != 1 {
		t.Fatalf("the daemons are %v, want one", daemons)
	}
	write(t, m.path("file"), "text")
	other := filepath.Join(filepath.Dir(m.at), "Other")
	must(t, os.Mkdir(other, 0o755))
	m.refused(2, []string{"mounted at " + m.at}, "service", "install", other)
	m.put("calls", "")

	if r := m.run("service", "install"); r.Code != 0 || !strings.Contains(r.Stderr, "takes over at the next login") {
		t.Errorf("want that it takes over later: %s", r)
	}
	m.called("show --property=Version", "daemon-reload", "enable --quiet NAME", "show --property=MainPID --value NAME")
	m.do("service", "remove") // of a drive that was mounted by hand
	m.called("show --property=Version", "show --property=MainPID --value NAME", "disable --quiet --now NAME", "daemon-reload")
	wants(t, m.path("file"), "text")

	m.put("pid", fmt.Sprintln(daemons[0])) // from now on the service has mounted it
	if r := m.run("service", "install", m.at); r.Code != 0 || !strings.Contains(r.Stderr, "it runs already") {
		t.Errorf("want that it runs: %s", r)
	}
	holder := command(m.at, "cat")
	stdin, err := holder.StdinPipe()
	must(t, err)
	must(t, holder.Start())
	m.refused(1, []string{"in use by cat", fmt.Sprint(holder.Process.Pid)}, "service", "remove")
	m.unit()
	wants(t, m.path("file"), "text")
	must(t, stdin.Close())
	must(t, holder.Wait())
	m.do("service", "remove")
	if left := m.units(); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
	m.ends()
	m.mount()
	wants(t, m.path("file"), "text")
}

func TestServiceSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	m := newManaged(t)
	m.refused(6, []string{"MOUNTPOINT"}, "service", "install")
	m.refused(2, []string{"does not exist"}, "service", "install", m.at+"/none")
	m.put("fails-show", "Failed to connect to bus: No medium found\n")
	for _, args := range [][]string{{"service", "install", m.at}, {"service", "remove"}} {
		m.refused(1, []string{"Failed to connect to bus", "enable-linger"}, args...)
	}
	must(t, os.Remove(filepath.Join(m.dir, "fails-show")))
	m.put("fails-enable", "Job for it failed.\nSee more.\n")
	m.refused(1, []string{"Job for it failed.", "journalctl --user"}, "service", "install", m.at)
	m.Env = append(m.Env, "PATH="+t.TempDir())
	m.refused(1, []string{"systemd", "systemctl"}, "service", "install", m.at)
	if left := m.units(); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
}

// managerSocket is where a service manager listens, and its name.
func managerSocket(t *testing.T) (*net.UnixConn, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "sd") // the name of a socket is short
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	name := filepath.Join(dir, "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c, name
}

// hears fails the test unless this is the next thing that the manager is told.
func hears(t *testing.T, c *net.UnixConn, want string) {
	t.Helper()
	must(t, c.SetReadDeadline(time.Now().Add(patience)))
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	must(t, err)
	if got := string(buf[:n]); got != want {
		t.Fatalf("the manager was told %q, want %q", got, want)
	}
}

func TestAForegroundDaemonTellsItsServiceManager(t *testing.T) {
	t.Parallel()
	c, name := managerSocket(t)
	f := newFixture(t, "")
	write(t, f.behind("file"), "text")
	for _, end := range []func(){
		func() { f.signal(unix.SIGTERM) },
		func() { f.do("unmount", f.at) },
	} {
		cmd := f.Command(t.Context(), "mount", f.at, "--from", f.dir, "--foreground")
		cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+name)
		must(t, cmd.Start())
		hears(t, c, "READY=1")
		wants(t, f.path("file"), "text") // at once
		end()
		hears(t, c, "STOPPING=1")
		if err := cmd.Wait(); err != nil {
			t.Errorf("the daemon ended with %v", err)
		}
		if still, err := drive.Mounted(f.at); err != nil || still {
			t.Errorf("the mount stayed: %v, %v", still, err)
		}
	}
}

func TestABackgroundDaemonSpeaksForNoService(t *testing.T) {
	t.Parallel()
	c, name := managerSocket(t)
	f := newFixture(t, "")
	f.Env = append(f.Env, "NOTIFY_SOCKET="+name)
	f.mount()
	f.do("unmount", f.at)
	sender, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	must(t, err)
	defer sender.Close()
	_, err = sender.Write([]byte("the end"))
	must(t, err)
	hears(t, c, "the end")
}
