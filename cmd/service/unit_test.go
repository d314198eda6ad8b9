package service

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"vdfs/cmd/control"
)

// sample is a unit in which everything needs quoting that can.
func sample(program string) Unit {
	return Unit{
		Name: "vdfs.service", Mountpoint: `/home/ü/My "Drive" %h $HOME\`, Program: program,
		Args:  []string{"mount", "--foreground", "--", `/home/ü/My "Drive" %h $HOME\`},
		Set:   []string{`VDFS_HOME=/a b/${HOME}/100%/c\d"e'f;#`},
		Unset: []string{"XDG_CONFIG_HOME", "XDG_DATA_HOME"},
	}
}

func TestAUnitSaysExactlyThis(t *testing.T) {
	t.Parallel()
	text, err := sample("/opt/my $x/100%/vdfs").text()
	if err != nil {
		t.Fatal(err)
	}
	const want = "# Written by `vdfs service install`. Changes belong in a drop-in: systemctl --user edit vdfs.service" + `
[Unit]
Description=vdfs drive "/home/ü/My "Drive" %%h $HOME\"
StartLimitIntervalSec=60
StartLimitBurst=5

[Service]
Type=notify
ExecStart="/opt/my $x/100%%/vdfs" "mount" "--foreground" "--" "/home/ü/My \"Drive\" %%h $$HOME\\"
Environment="VDFS_HOME=/a b/${HOME}/100%%/c\\d\"e'f;#"
UnsetEnvironment=XDG_CONFIG_HOME XDG_DATA_HOME
WorkingDirectory=/
Restart=on-failure
RestartSec=1
TimeoutStartSec=infinity
TimeoutStopSec=20
KillMode=process

[Install]
WantedBy=default.target
`
	if text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

// TestQuotedWordsAreReadAsTheyWere reads words back by the rules of systemd.service(5) and systemd.syntax(7).
func TestQuotedWordsAreReadAsTheyWere(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringOf(rapid.SampledFrom([]rune(`ab ü/%$\"';#{}-@~`))), 1, 4).Draw(t, "words")
		var quoted []string
		for _, word := range words {
			quoted = append(quoted, quote(word, "%", "%%", "$", "$$"))
		}
		if got := reread(t, strings.Join(quoted, " ")); !slices.Equal(got, words) {
			t.Fatalf("%q are read as %q", words, got)
		}
	})
}

// reread splits a line into its words, each in double quotes.
func reread(t *rapid.T, line string) []string {
	var words []string
	for line != "" {
		rest, ok := strings.CutPrefix(line, `"`)
		if !ok {
			t.Fatalf("%s begins with no quote", line)
		}
		var word strings.Builder
		for rest[0] != '"' {
			if strings.IndexByte(`%$`, rest[0]) >= 0 && rest[1] != rest[0] || rest[0] == '\\' && strings.IndexByte(`\"`, rest[1]) < 0 {
				t.Fatalf("%s has a meaning", rest[:2])
			}
			if strings.IndexByte(`%$\`, rest[0]) >= 0 {
				rest = rest[1:]
			}
			word.WriteByte(rest[0])
			rest = rest[1:]
		}
		words = append(words, word.String())
		line = strings.TrimPrefix(rest[1:], " ")
	}
	return words
}

// TestSystemdTakesTheUnit asks systemd itself, where it is.
func TestSystemdTakesTheUnit(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("NOT TESTED: there is no systemd-analyze here")
	}
	if complaint := verify(t, analyze, "[Service]\nExecStart=/bin/sh\n"); complaint != "" {
		t.Skipf("NOT TESTED: systemd-analyze does not work here: %s", complaint)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "my $x 100%", "vdfs")
	if err := os.Mkdir(filepath.Dir(program), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	text, err := sample(program).text()
	if err != nil {
		t.Fatal(err)
	}
	if complaint := verify(t, analyze, text); complaint != "" {
		t.Errorf("systemd complains: %s", complaint)
	}
	if verify(t, analyze, strings.Replace(text, "my $x", "your $x", 1)) == "" {
		t.Error("systemd took a program that is not there: this test proves nothing")
	}
}

// verify is what systemd has against a unit.
func verify(t *testing.T, analyze, text string) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "vdfs.service")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(analyze, "--user", "verify", file)
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_RUNTIME_DIR="+dir, "XDG_CONFIG_HOME=", "SYSTEMD_LOG_LEVEL=warning")
	out, err := cmd.CombinedOutput()
	if err != nil && len(out) == 0 {
		t.Fatal(err)
	}
	return string(out)
}

func TestNamesThatSystemdCannotTakeAreRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Unit){
		"a newline in the mountpoint":  func(u *Unit) { u.Mountpoint = "/a\nExecStartPre=/bin/false" },
		"a newline in an argument":     func(u *Unit) { u.Args = []string{"a\nb"} },
		"bytes that are no UTF-8":      func(u *Unit) { u.Args = []string{"/a\xff"} },
		"a newline in the environment": func(u *Unit) { u.Set = []string{"VDFS_HOME=/a\nb"} },
		"a quote in the program":       func(u *Unit) { u.Program = `/opt/"x"/vdfs` },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := sample("/usr/bin/vdfs")
			change(&u)
			_, err := u.text()
			var e *control.Error
			if !errors.As(err, &e) || e.Code != control.Usage || strings.Contains(e.Message, "\n") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestEachDriveHasItsOwnUnitWithAPlainName(t *testing.T) {
	t.Parallel()
	if got := Name(""); got != "vdfs.service" {
		t.Errorf("the default drive: %s", got)
	}
	seen := map[string]string{}
	for home, start := range map[string]string{
		"/home/me/work": "vdfs-work-", "/home/you/work": "vdfs-work-", `/a/My "Drive" %h`: "vdfs-My--Drive---h-", "/": "vdfs--",
		"/ü": "vdfs--", "/" + strings.Repeat("x", 200): "vdfs-" + strings.Repeat("x", 40) + "-", "/a/-x@.service": "vdfs-x--service-",
	} {
		name := Name(home)
		if !strings.HasPrefix(name, start) || !strings.HasSuffix(name, ".service") || len(name) != len(start)+len("12345678.service") {
			t.Errorf("%s: %s", home, name)
		}
		if other, ok := seen[name]; ok {
			t.Errorf("%s and %s share %s", home, other, name)
		}
		seen[name] = home
	}
}
