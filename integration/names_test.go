package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestBadInputNamesOfAnyBytesUpTo255(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	must(t, os.Mkdir(f.behind("theirs"), 0o755))
	for name, text := range oddNames() {
		write(t, f.behind("theirs", name), text)
	}
	f.mount()
	for name, text := range oddNames() {
		wants(t, f.path("theirs", name), text)
	}
	must(t, os.Mkdir(f.path("mine"), 0o755))
	for name, text := range oddNames() {
		write(t, f.path("mine", name), text)
	}
	f.settled()
	for name, text := range oddNames() {
		wants(t, f.behind("mine", name), text)
	}
	for name := range oddNames() {
		must(t, os.Rename(f.path("theirs", name), f.path("mine", "moved"+name[:min(len(name), 250)])))
	}
	f.settled()

	tooLong := strings.Repeat("x", 256)
	for what, err := range map[string]error{
		"create": os.WriteFile(f.path(tooLong), nil, 0o644),
		"mkdir":  os.Mkdir(f.path(tooLong), 0o755),
		"link":   os.Symlink("x", f.path(tooLong)),
		"rename": os.Rename(f.path("mine"), f.path(tooLong)),
	} {
		if !errors.Is(err, syscall.ENAMETOOLONG) {
			t.Errorf("%s with a name of 256 bytes: %v, want ENAMETOOLONG", what, err)
		}
	}
	f.settled()
}

func TestOddNamesAsArguments(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	for _, name := range []string{"-rf", "line\nbreak", " ", "not utf-8 \xff", "'\"`$(x)", "%s%n"} {
		write(t, f.path(name), name)
		if infos := f.info(name); infos[0].Size != int64(len(name)) {
			t.Errorf("info of %q: %+v", name, infos)
		}
		f.sync()
		f.do("offload", "--", f.path(name))
		if infos := f.info(name); infos[0].Residency != "none" {
			t.Errorf("after offload %q is %s", name, infos[0].Residency)
		}
		wants(t, f.path(name), name)
		// Relative to the directory one is in, as people type.
		cmd := f.Command(t.Context(), "info", "--json", "--", name)
		cmd.Dir = f.at
		if out, err := cmd.Output(); err != nil {
			t.Errorf("info of the relative %q: %v\n%s", name, err, out)
		}
	}
	f.settled()
}

// oddNames are names that hold every byte there is but slash and NUL, singly and
// together, and names of the greatest length.
func oddNames() map[string]string {
	names := map[string]string{
		strings.Repeat("n", 255):       "255 plain bytes",
		strings.Repeat("é", 127) + "e": "255 bytes of accents",
		"\xff\xfe\x80":                 "no text in any encoding",
		"...":                          "three dots",
	}
	var all strings.Builder
	for b := 1; b < 256; b++ {
		if b == '/' {
			continue
		}
		all.WriteByte(byte(b))
		// Between two letters, as a tilde at the end would make it an editor's backup.
		name := "b" + string([]byte{byte(b)}) + "e"
		names[name] = fmt.Sprintf("byte %d", b)
	}
	whole := all.String()
	names[whole[:254]] = "all bytes"
	// Nobody may have confused a name with a path.
	for name := range names {
		if filepath.Base(name) != name {
			panic("a name of this table is a path: " + name)
		}
	}
	return names
}

func TestWhatIsNeverSentSaysWhy(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	must(t, syscall.Mkfifo(f.path("fifo"), 0o600))
	write(t, f.path("draft.swp"), "an editor's")
	write(t, f.path("sent"), "a file")
	f.sync()
	for name, want := range map[string]string{"fifo": "fifos", "draft.swp": "by its name", "sent": "synced"} {
		if out := f.do("info", f.path(name)); !strings.Contains(out, want) {
			t.Errorf("info of %s does not say %q:\n%s", name, want, out)
		}
	}
	for _, name := range []string{"fifo", "draft.swp"} {
		absent(t, f.behind(name))
	}
}
