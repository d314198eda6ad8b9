package service

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// script is a systemctl that notes how it was called and does what files beside it say.
const script = `#!/bin/sh
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

// stand is a made-up service manager.
type stand struct {
	t *testing.T
	*Manager
	dir string
}

// newStand makes one. The script is written by a child: while this process has a program open for writing, or one that it
// forks meanwhile, nobody can run it.
func newStand(t *testing.T) *stand {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "systemctl")
	cmd := exec.Command("sh", "-c", `cat >"$1" && chmod +x "$1"`, "sh", program)
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return &stand{t, &Manager{program, filepath.Join(dir, "units")}, dir}
}

// put writes a file beside the script.
func (s *stand) put(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// called fails the test unless systemctl was called exactly so since the last time.
func (s *stand) called(want ...string) {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "calls"))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(want) == 0 {
		want = []string{""}
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("systemctl was called\n%q\nwant\n%q", got, want)
	}
	s.put("calls", "")
}

// units are the files in the directory of the units.
func (s *stand) units() []string {
	s.t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.dir, "units"))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (s *stand) install(start bool) error {
	return s.Install(s.t.Context(), sample("/usr/bin/vdfs"), start)
}

func TestInstallAndRemoveCanBeRepeated(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	for range 2 {
		if err := s.install(true); err != nil {
			t.Fatal(err)
		}
		s.called("daemon-reload", "enable --quiet --now vdfs.service")
		if got := s.units(); !slices.Equal(got, []string{"vdfs.service"}) {
			t.Errorf("files %q", got)
		}
	}
	if err := s.Remove(t.Context(), "vdfs.service"); err != nil {
		t.Fatal(err)
	}
	s.called("disable --quiet --now vdfs.service", "daemon-reload")
	if got := s.units(); len(got) != 0 {
		t.Errorf("files %q", got)
	}
	if installed, err := s.Installed("vdfs.service"); err != nil || installed {
		t.Errorf("installed: %v, %v", installed, err)
	}
}

func TestAMountedDriveIsOnlyEnabled(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	if err := s.install(false); err != nil {
		t.Fatal(err)
	}
	s.called("daemon-reload", "enable --quiet vdfs.service")
}

func TestOfANewUnitThatDoesNotStartNothingStays(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	s.put("fails-enable", "Job for vdfs.service failed.\nSee more.\n")
	err := s.install(true)
	if err == nil || !strings.Contains(err.Error(), "Job for vdfs.service failed.") || !strings.Contains(err.Error(), "journalctl") {
		t.Errorf("error %v", err)
	}
	s.called("daemon-reload", "enable --quiet --now vdfs.service", "disable --quiet --now vdfs.service", "daemon-reload")
	if got := s.units(); len(got) != 0 {
		t.Errorf("files %q", got)
	}
}

func TestAUnitThatWasThereStaysWhenItsStartFails(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	if err := s.install(true); err != nil {
		t.Fatal(err)
	}
	s.called("daemon-reload", "enable --quiet --now vdfs.service")
	s.put("fails-enable", "")
	if err := s.install(true); err == nil {
		t.Error("no error")
	}
	s.called("daemon-reload", "enable --quiet --now vdfs.service")
	if got := s.units(); len(got) != 1 {
		t.Errorf("files %q", got)
	}
}

func TestAUnitThatCannotBeStoppedStays(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	if err := s.install(true); err != nil {
		t.Fatal(err)
	}
	s.put("fails-disable", "no\n")
	if err := s.Remove(t.Context(), "vdfs.service"); err == nil {
		t.Error("no error")
	}
	if got := s.units(); len(got) != 1 {
		t.Errorf("files %q", got)
	}
}

func TestAFileOfSomebodyElseIsLeftAlone(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	if err := os.Mkdir(filepath.Join(s.dir, "units"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.put("units/vdfs.service", "[Service]\n")
	if err := s.install(true); err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("error %v", err)
	}
	s.called()
	if text, err := os.ReadFile(filepath.Join(s.dir, "units", "vdfs.service")); err != nil || string(text) != "[Service]\n" {
		t.Errorf("it holds %q, %v", text, err)
	}
}

func TestTheProcessOfAUnitIsFound(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	for text, want := range map[string]int{"0\n": 0, "4711\n": 4711} {
		s.put("pid", text)
		if got, err := s.MainPID(t.Context(), "vdfs.service"); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	s.put("pid", "what?\n")
	if _, err := s.MainPID(t.Context(), "vdfs.service"); err == nil {
		t.Error("nonsense is a process")
	}
}
