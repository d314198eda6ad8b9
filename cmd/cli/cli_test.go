package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"vdfs/cmd/control"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// try runs a command line without any drive.
func try(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	home := t.TempDir()
	var stdout, stderr bytes.Buffer
	code = Main(t.Context(), args, Streams{
		In: strings.NewReader(""), Out: &stdout, Err: &stderr, Now: func() time.Time { return now },
		Getenv: func(name string) string { return map[string]string{"VDFS_HOME": home, "HOME": home}[name] },
	})
	return code, stdout.String(), stderr.String()
}

func TestEveryErrorClassHasItsExitCode(t *testing.T) {
	t.Parallel()
	for code, want := range map[control.Code]int{
		control.Failed: 1, control.Usage: 2, control.Partly: 3, control.Conflict: 4,
		control.Unreachable: 5, control.NoDrive: 6, control.Refused: 7, control.NotFound: 1, "of the future": 1,
	} {
		if got := exitCode(fmt.Errorf("around: %w", &control.Error{Code: code})); got != want {
			t.Errorf("%s: %d, want %d", code, got, want)
		}
	}
	if exitCode(nil) != 0 || exitCode(errors.New("plain")) != 1 {
		t.Error("success or a plain error has the wrong code")
	}
}

func TestCommandLinesThatMakeNoSenseAreUsageErrors(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"nonsense", "mount", "mount a b", "mount --nonsense a", "unmount", "info", "pin", "online", "exclude", "pins x", "du --all", "status --json --state", "events x", "events --limit -1", "events --follow --limit 3", "metrics x", "pause soon", "pause -- -3s",
		"queue x", "conduit create x", "conflicts resolve x", "conflicts resolve x --keep all", "conflicts resolve x --keep merged",
		"conflicts resolve x y --keep local", "sync --timeout soon", "conduit show", "service x", "service install a b", "service remove x", "mount x --from onedrive:/a", "adopt", "adopt a b c", "mount x --adopt d", "mount x --from a --adopt d --foreground", "mount x --from dir:",
		"restore", "restore a b", "restore x --version 0", "restore x --version 1 --at 2h", "restore x --at soon", "restore x --list --version 2", "restore x --list --to y",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			code, out, errs := try(t, strings.Fields(line)...)
			if code != exitUsage {
				t.Errorf("exit %d: %s", code, errs)
			}
			if out != "" || strings.Count(errs, "\n") != 1 || !strings.HasPrefix(errs, "vdfs: ") {
				t.Errorf("stdout %q, stderr %q: want one line on stderr", out, errs)
			}
		})
	}
}

func TestVerbsWithoutADaemonSaySo(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"status", "status --json", "ls", "sync", "queue", "errors", "history", "conflicts", "conduit list", "pause", "resume", "events", "events --follow", "metrics", "metrics --json", "status --watch",
		"adopt /nowhere", "adopt /nowhere /elsewhere", "pins", "du", "redundancy --json", "du /nowhere", "redundancy /nowhere", "online /nowhere", "exclude /nowhere", "info /nowhere", "pin /nowhere", "offload /nowhere", "status /nowhere", "unmount /nowhere", "doctor", "conflicts show /nowhere", "restore /nowhere", "restore /nowhere --list", "history --releases", "verify", "verify /nowhere --repair",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			code, _, errs := try(t, strings.Fields(line)...)
			if code != exitNoDrive || strings.Count(errs, "\n") != 1 {
				t.Errorf("exit %d, stderr %q", code, errs)
			}
		})
	}
}

func TestHelpListsExactlyTheVerbsThatWork(t *testing.T) {
	t.Parallel()
	code, out, _ := try(t, "--help")
	if code != 0 {
		t.Fatalf("exit %d", code)
	}
	_, list, _ := strings.Cut(out, "Available Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	var verbs []string
	for line := range strings.Lines(list) {
		verbs = append(verbs, strings.Fields(line)[0])
	}
	want := []string{
		"adopt", "completion", "conduit", "config", "conflicts", "doctor", "du", "errors", "events", "exclude", "fetch", "help", "history", "info", "ls", "metrics", "mount",
		"offload", "online", "pause", "pin", "pins", "queue", "redundancy", "restore", "resume", "service", "status", "sync", "unmount", "unpin", "verify", "version", "why",
	}
	if !slices.Equal(verbs, want) {
		t.Errorf("got  %v\nwant %v", verbs, want)
	}
	if strings.Contains(out, "ready-fd") {
		t.Error("the daemon's own flag is shown")
	}
}

func TestVersionIsOneLineOnStdout(t *testing.T) {
	t.Parallel()
	code, out, errs := try(t, "version")
	if code != 0 || !strings.HasPrefix(out, "vdfs "+release) || strings.Count(out, "\n") != 1 || errs != "" {
		t.Fatalf("%d %q %q", code, out, errs)
	}
}

func TestCompletionScriptsAreWritten(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if code, out, _ := try(t, "completion", shell); code != 0 || !strings.Contains(out, "vdfs") {
			t.Errorf("%s: exit %d", shell, code)
		}
	}
}

// keys are the names of a value's JSON fields.
func keys(t *testing.T, v any) []string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func TestJSONHasTheFieldsOfTheContract(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		v    any
		want string
	}{
		"status": {control.Status{}, "version drive mountpoint state conduits cache queue memory_bytes nodes"},
		"conduit": {
			control.ConduitStatus{},
			"name policy source target at state generation verification last_sync next_sync pending_local pending_remote conflicts errors",
		},
		"cache": {control.CacheStatus{}, "bytes budget_bytes pinned_bytes dirty_bytes free_bytes index_bytes"},
		"queue": {control.QueueCounts{}, "new validated processing conflicted error"},
		"info": {
			control.Info{},
			"path kind ino size mtime residency local_bytes sync pin pin_from pin_path hash version conduits copies open_handles error",
		},
		"pin":        {control.PinInfo{}, "path kind pin files local_bytes missing_bytes"},
		"du":         {control.DiskUse{}, "path files pinned_bytes cached_bytes partial_bytes dirty_bytes trash_bytes other_bytes total_bytes storage_trash_bytes"},
		"redundancy": {control.FileCopies{}, "path size copies proved local"},
		"copy":       {control.Copy{}, "endpoint verified_at"},
		"queue item": {control.QueueItem{}, "id conduit path origin operation status attempts next_attempt error category condition retryable created"},
		"conflict":   {control.ConflictInfo{}, "id path conflict_path type condition reason strategy local remote state"},
		"version":    {control.Version{}, "version path kind files size mtime when since why conduit from hash"},
		"release":    {control.Release{}, "at conduit path kind size hash source destination"},
		"history": {
			control.Generation{},
			"conduit generation started completed copied deleted conflicts bytes errors verification",
		},
	} {
		have := keys(t, tc.v)
		for _, field := range strings.Fields(tc.want) {
			if !slices.Contains(have, field) {
				t.Errorf("%s: no field %q in %v", name, field, have)
			}
		}
	}
}

func TestSizesAndTimesAreForPeople(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 10240: "10 KiB", 1<<20 - 1: "1.0 MiB", 5 << 30: "5.0 GiB", 1 << 62: "4.0 EiB", -2048: "-2.0 KiB",
	} {
		if got := size(n); got != want {
			t.Errorf("size %d: %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "just now", 5 * time.Second: "5 s ago", 90 * time.Minute: "1 h ago", 72 * time.Hour: "3 days ago", -2 * time.Minute: "in 2 min",
	} {
		if got := ago(now, now.Add(-d)); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
	if since(now, nil) != "never" {
		t.Error("a missing time is not never")
	}
}

func TestAListIsPrintedInPiecesAsItWouldBeWhole(t *testing.T) {
	t.Parallel()
	for n := range 3 {
		var pieces, whole bytes.Buffer
		list := jsonList{app: &app{Streams: Streams{Out: &pieces}}}
		all := []control.FileCopies{}
		for i := range n {
			all = append(all, control.FileCopies{Path: control.Path(fmt.Sprint("/\xff", i)), Copies: i})
			if err := list.add(all[i]); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(list.end(), (&app{Streams: Streams{Out: &whole}}).printJSON(all)); err != nil {
			t.Fatal(err)
		}
		if pieces.String() != whole.String() {
			t.Errorf("%d: got\n%s\nwant\n%s", n, pieces.String(), whole.String())
		}
	}
}

func TestModesLookLikeThoseOfLs(t *testing.T) {
	t.Parallel()
	for want, tc := range map[string]struct {
		kind string
		mode uint32
	}{
		"-rw-r--r--": {"file", 0o644}, "drwxr-xr-x": {"dir", 0o755}, "lrwxrwxrwx": {"symlink", 0o777}, "drwxrwxrwt": {"dir", 0o1777},
		"-rwsr-x---": {"file", 0o4750}, "-rwSr--r--": {"file", 0o4644}, "drwxrwsr-x": {"dir", 0o2775}, "p---------": {"fifo", 0}, "?---------": {"new", 0},
	} {
		if got := modeText(tc.kind, tc.mode); got != want {
			t.Errorf("%s %o: %s, want %s", tc.kind, tc.mode, got, want)
		}
	}
}

func TestTablesAlignByCharacters(t *testing.T) {
	t.Parallel()
	tab := table{colour: func(row, column int, text string) string {
		if row == 1 && column == 0 {
			return "\x1b[31m" + text + "\x1b[0m"
		}
		return text
	}}
	tab.add("A", "B")
	tab.add("ünö", "x")
	tab.add("long one", "y")
	want := "A         B\n\x1b[31münö\x1b[0m       x\nlong one  y\n"
	if got := tab.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestControlCharactersDoNotReachAScreen(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"a b.txt": "a b.txt", "ü": "ü", "a\x1b[2J": `"a\x1b[2J"`, "\xff": `"\xff"`, "a\nb": `"a\nb"`} {
		if got := safe(name); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}

func TestPathsBelongToTheInnermostDrive(t *testing.T) {
	t.Parallel()
	all := []drive{{"/m", "one", false}, {"/m/in", "two", false}, {"/m/inner", "three", false}, {"/m/in/crashed", "four", true}, {"/crashed", "five", true}}
	for path, want := range map[string]string{"/m/in/crashed/x": "two", "/crashed/x": "five", "/m": "one", "/m/x": "one", "/m/in": "two", "/m/in/x": "two", "/m/innermost": "one", "/mm": "", "/": ""} {
		got := ""
		if d := enclosing(all, path); d != nil {
			got = d.socket
		}
		if got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	for path, want := range map[string]control.Path{"/m": "/", "/m/a/b": "/a/b"} {
		if got, ok := inside("/m", path); !ok || got != want {
			t.Errorf("%s: %q", path, got)
		}
	}
}

func TestAPathIsResolvedButNotTheLinkItNames(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "real"), 0o700), os.Symlink("real", filepath.Join(dir, "way")), os.Symlink("gone", filepath.Join(dir, "real", "link"))); err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{"way/link": "real/link", "way": "way", "way/none": "real/none", "none/x/y": "none/x/y"} {
		if got, err := absolute(filepath.Join(dir, in)); err != nil || got != filepath.Join(dir, want) {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
	if got, err := absolute("/"); err != nil || got != "/" {
		t.Errorf("/: %s, %v", got, err)
	}
}

func TestOutcomesOfSeveralDrivesAreJoined(t *testing.T) {
	t.Parallel()
	no, away := &control.Error{Code: control.NoDrive}, &control.Error{Code: control.Unreachable}
	for name, tc := range map[string]struct {
		err  error
		want int
	}{
		"all well":                    {worse(nil, nil), 0},
		"one of two":                  {worse(nil, no), 6},
		"the same twice":              {worse(no, no), 6},
		"two kinds":                   {worse(no, away), 3},
		"refused, but some were done": {partly(no, true), 3},
		"refused, nothing was done":   {partly(no, false), 6},
		"done":                        {partly(nil, true), 0},
	} {
		if got := exitCode(tc.err); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}

func TestTheEndOfASyncHasItsExitCode(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]int{
		"done": 0, "started": 0, "parked": 3, "conflicts": 4, "unreachable": 5, "held": 7, "new word": 1,
	} {
		var errs bytes.Buffer
		a := &app{Streams: Streams{Out: &bytes.Buffer{}, Err: &errs}}
		err := a.tellSync(control.SyncResult{State: state, Blocked: []control.Refusal{
			{Path: "/doc.txt", Conduit: "home", Reason: "is open"}, {Conduit: "home", Reason: "is away"},
		}})
		if got := exitCode(err); got != want {
			t.Errorf("%s: exit %d, want %d", state, got, want)
		}
		if want := "vdfs: /doc.txt (home): is open\nvdfs: conduit home: is away\n"; !strings.HasPrefix(errs.String(), want) {
			t.Errorf("%s: the blocked file is not named: %q", state, errs.String())
		}
	}
}

func TestTheDaemonsCommandLineDependsOnNoDirectory(t *testing.T) {
	t.Parallel()
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	got, err := childArgs("m", mountFlags{from: "dir:.", adopt: "copy", allowOther: true, readOnly: true, noPass: true})
	if err != nil {
		t.Fatal(err)
	}
	real, err := filepath.EvalSymlinks(wd)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"mount", "--foreground", "--ready-fd", "3", "--from", real, "--adopt", filepath.Join(wd, "copy"), "--allow-other", "--read-only", "--no-passthrough", "--", filepath.Join(wd, "m")}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEndpointArgumentsAreMadeAbsolute(t *testing.T) {
	t.Parallel()
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"drive:/x": "drive:/x", "dir:/x": "/x", "/x/../y": "/y", "x": filepath.Join(wd, "x"), "./a:b": filepath.Join(wd, "a:b"), "s3://b/p": "s3://b/p",
	} {
		if got, err := endpointArg(in); err != nil || got != want {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
	if _, err := endpointArg(""); exitCode(err) != exitUsage {
		t.Errorf("empty: %v", err)
	}
}

func TestAdoptionsAreTold(t *testing.T) {
	t.Parallel()
	if got := adoptText(control.AdoptResult{Files: 1, Bytes: 2048, Differ: 3, Absent: 4}); got != "adopted 1 file (2.0 KiB), 3 differ, 4 not there" {
		t.Error(got)
	}
	// A daemon that is gone is told once, with what can be done; that the files were named already is not told again.
	var errs bytes.Buffer
	a := &app{Streams: Streams{Out: &bytes.Buffer{}, Err: &errs}}
	err := a.thenAdopt(t.Context(), control.NewClient(filepath.Join(t.TempDir(), "none")), "/copy", "/")
	if exitCode(err) != exitNoDrive || !strings.Contains(err.Error(), "vdfs adopt") || errs.Len() != 0 {
		t.Errorf("%v, %q", err, errs.String())
	}
}

func TestWhyIsTold(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	a := &app{Streams: Streams{Out: &bytes.Buffer{}, Now: func() time.Time { return now }, Getenv: func(string) string { return "" }}}
	fetched := &control.Fetched{Program: "ev\x1bil", Kind: "person", At: now.Add(-time.Hour)}
	for name, tc := range map[string]struct {
		why  control.Why
		want []string
	}{
		"fetched and free to go": {
			control.Why{Kind: "file", LocalBytes: 5, Fetched: fetched, Copies: []control.Copy{{Endpoint: "/srv"}}},
			[]string{"(person)", "may go    as /srv stores this version"},
		},
		"not proved yet": {control.Why{Kind: "file", LocalBytes: 5}, []string{"never: it was written here", "if an endpoint proves first"}},
		"pinned": {
			control.Why{Kind: "file", LocalBytes: 5, PinnedBy: "/dir", Kept: []string{"is pinned"}},
			[]string{"pinned    by /dir", "kept      is pinned"},
		},
		"stuck": {
			control.Why{Kind: "file", LocalBytes: 5, Kept: []string{"has changes"}, Waits: []control.QueueItem{
				{Operation: "update", Conduit: "home", Origin: "local", Status: "error", Attempts: 3, Error: "no room"},
				{Operation: "move", Conduit: "home", Origin: "remote", Status: "new"},
			}},
			[]string{"waits     update to home: error after 3 attempts: no room", "move from home: new"},
		},
		"by nobody that can be told": {control.Why{Kind: "file", Fetched: &control.Fetched{At: now}}, []string{"for a program that cannot be told (unknown)"}},
	} {
		text := a.whyText(tc.why)
		for _, want := range tc.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q lacks %q", name, text, want)
			}
		}
		if strings.Contains(text, "\x1b") || tc.why.LocalBytes == 0 && strings.Contains(text, "may go") {
			t.Errorf("%s: %q", name, text)
		}
	}
}
