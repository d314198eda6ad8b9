package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// numbers stand for whatever a README cannot know: sizes, times, dates, versions.
var (
	numbers = regexp.MustCompile(`[0-9]+([.:,-][0-9]+)*`)
	hashes  = regexp.MustCompile(`[0-9a-f]{16,}`)
	ages    = regexp.MustCompile(`just now|N (s|min) ago`)
	devices = regexp.MustCompile(`conflict \S+ N`)
	builds  = regexp.MustCompile(`version N\+\S+`)
	spaces  = regexp.MustCompile(`[ \t]+`)
)

func TestReadmeTourPrintsWhatItShows(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../README.md")
	must(t, err)
	steps := consoleSteps(string(text))
	if len(steps) < 5 {
		t.Fatalf("the tour has %d commands only", len(steps))
	}
	f := newFixture(t, "")
	home := filepath.Dir(f.at)
	env := append(os.Environ(), f.Env...)
	env = append(env, "VDFS_HOME="+f.Home, "PATH="+filepath.Dir(built)+":"+os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TZ=UTC")
	// The tour makes its own mountpoint.
	must(t, os.Remove(f.at))
	for _, step := range steps {
		cmd := exec.Command("sh", "-c", step.command)
		cmd.Dir, cmd.Env = home, env
		out, err := cmd.CombinedOutput()
		if err != nil && !step.fails() {
			t.Fatalf("$ %s\n%v\n%s", step.command, err, out)
		}
		if got, want := normal(string(out), home), normal(step.output, home); got != want {
			t.Errorf("$ %s\nprints\n%s\nand the README shows\n%s", step.command, out, step.output)
		}
	}
}

// step is one command of the README with what it prints.
type step struct{ command, output string }

// fails reports whether the README shows that the command is refused.
func (s step) fails() bool { return strings.HasPrefix(s.output, "vdfs:") }

// consoleSteps finds the commands and outputs in the console blocks of a page.
func consoleSteps(page string) []step {
	var steps []step
	in := false
	for line := range strings.Lines(page) {
		switch command, isCommand := strings.CutPrefix(line, "$ "); {
		case strings.HasPrefix(line, "```"):
			in = strings.TrimSpace(line) == "```console"
		case in && isCommand:
			steps = append(steps, step{command: strings.TrimSpace(command)})
		case in && len(steps) > 0:
			steps[len(steps)-1].output += line
		}
	}
	return steps
}

// normal takes out of an output what differs from run to run and machine to machine.
func normal(out, home string) string {
	out = strings.ReplaceAll(out, home, "/home/you")
	out = hashes.ReplaceAllString(out, "HASH")
	out = numbers.ReplaceAllString(out, "N")
	out = builds.ReplaceAllString(out, "version N")
	out = ages.ReplaceAllString(out, "AGE")
	out = devices.ReplaceAllString(out, "conflict DEVICE N")
	var lines []string
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(spaces.ReplaceAllString(line, " ")); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}
