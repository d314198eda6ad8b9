package config

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func load(t *testing.T, text string) (Config, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(file, "laptop")
}

func TestAMissingFileMeansTheDefaults(t *testing.T) {
	t.Parallel()
	c, err := Load(filepath.Join(t.TempDir(), "none.toml"), "laptop")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c, Default("laptop")) {
		t.Fatalf("got %+v", c)
	}
	if err := c.check(); err != nil {
		t.Fatalf("the defaults are refused: %v", err)
	}
}

func TestEveryKeyIsReadIntoItsOwnField(t *testing.T) {
	t.Parallel()
	c, err := load(t, `
[device]
name = "desk"
[sync]
interval = "5m"
open_files = "1m"
concurrency = 8
ignore = ["*.bak", "!a.bak"]
adaptive = false
on_battery = "pause"
on_metered = "run"
[conflict]
default = "newest"
rules = ["*.md=merge", "a=b=local"]
[cache]
dir = "/big/vdfs/"
max_size = "1.5GiB"
[offload]
enabled = false
free_low = 5_000
free_high = "6 KB"
idle = "720h"
keep_recent = "1h"
min_size = "64KiB"
include = ["*.iso"]
exclude = ["a*", "b*"]
min_copies = 2
[hydrate]
timeout = "7s"
deny = ["scanner", "virus*"]
allow = ["gthumb-thumbnailer"]
[mount]
subtype = "vdfs"
markers = [".nomedia"]
[guard]
max_delete_count = 3
max_delete_percent = 90
max_own_delete_count = 4
max_own_delete_percent = 91
[trash]
retention = "48h"
max_size = "5 GB"
[transfer]
concurrency = 3
[log]
level = "debug"
`)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Device:   Device{Name: "desk"},
		Sync:     Sync{Interval: Duration(5 * time.Minute), OpenFiles: Duration(time.Minute), Concurrency: 8, Ignore: []string{"*.bak", "!a.bak"}, OnBattery: SparePause, OnMetered: SpareNothing},
		Conflict: Conflict{Default: "newest", Rules: []string{"*.md=merge", "a=b=local"}},
		Transfer: Transfer{Concurrency: 3},
		Cache:    Cache{Dir: "/big/vdfs/", MaxSize: 3 << 29},
		Hydrate:  Hydrate{Timeout: Duration(7 * time.Second), Deny: []string{"scanner", "virus*"}, Allow: []string{"gthumb-thumbnailer"}},
		Mount:    Mount{Subtype: "vdfs", Markers: []string{".nomedia"}},
		Offload: Offload{
			FreeLow: 5000, FreeHigh: 6000, Idle: Duration(720 * time.Hour), KeepRecent: Duration(time.Hour), MinSize: 64 << 10,
			Include: []string{"*.iso"}, Exclude: []string{"a*", "b*"}, MinCopies: 2,
		},
		Guard: Guard{MaxDeleteCount: 3, MaxDeletePercent: 90, MaxOwnDeleteCount: 4, MaxOwnDeletePercent: 91},
		Trash: Trash{Retention: Duration(48 * time.Hour), MaxSize: 5e9},
		Log:   Log{Level: "debug"},
	}
	if !reflect.DeepEqual(c, want) {
		t.Fatalf("got %+v, want %+v", c, want)
	}
	if level, err := c.LogLevel(); err != nil || level != slog.LevelDebug {
		t.Fatalf("level %v, %v", level, err)
	}
	if dir := c.CacheDir(Paths{Data: "/d"}); dir != "/big/vdfs" {
		t.Fatalf("cache directory %s", dir)
	}
}

func TestRefusalsNameTheKey(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ text, want string }{
		"a path for a program":         {"[hydrate]\ndeny = [\"/usr/bin/x\"]\n", "hydrate.deny: \"/usr/bin/x\" is not the name of a program"},
		"a pattern that is none":       {"[hydrate]\nallow = [\"[\"]\n", "hydrate.allow: \"[\" is not the name of a program"},
		"a marker below the root":      {"[mount]\nmarkers = [\"a/b\"]\n", "mount.markers: \"a/b\" is not the name of a file"},
		"a subtype of two words":       {"[mount]\nsubtype = \"a,b\"\n", "mount.subtype: \"a,b\" is not a word of letters, digits, . _ and -"},
		"no copies at once":            {"[sync]\nconcurrency = 0\n", "sync.concurrency: must be between"},
		"no fetches at once":           {"[transfer]\nconcurrency = 0\n", "transfer.concurrency: must be between"},
		"a strategy that is none":      {"[conflict]\ndefault = \"mine\"\n", "conflict.default: \"mine\" is no strategy"},
		"a rule without a strategy":    {"[conflict]\nrules = [\"*.md\"]\n", "conflict.rules: \"*.md\" is not PATTERN=STRATEGY"},
		"a rule by no pattern":         {"[conflict]\nrules = [\"[=local\"]\n", "conflict.rules: \"[=local\" is not PATTERN=STRATEGY"},
		"a rule that is none":          {"[conflict]\nrules = [\"*=mine\"]\n", "conflict.rules: \"*=mine\": choose"},
		"a minimum by the disk":        {"[offload]\nmin_size = \"auto\"\n", "offload.min_size: auto is not a size"},
		"a comment for a pattern":      {"[sync]\nignore = [\"a\", \"#b\"]\n", "sync.ignore: \"#b\" is not a pattern"},
		"two lines for a pattern":      {"[sync]\nignore = [\"a\\nb\"]\n", "sync.ignore"},
		"an unknown key":               {"[sync]\nintervall = \"3s\"\n", "sync.intervall: unknown key"},
		"an unknown table":             {"[synch]\ninterval = \"3s\"\n", "synch"},
		"an unknown key at the top":    {"nam = 1\n", "nam: unknown key"},
		"a number for a duration":      {"[sync]\ninterval = 30\n", "sync.interval"},
		"a truth for a duration":       {"[sync]\ninterval = true\n", "line 2: sync.interval: \"true\" is not a duration"},
		"a truth for a size":           {"cache = { max_size = false }\n", "line 1: cache.max_size: \"false\" is not a size"},
		"a date for a size":            {"[cache]\nmax_size = 2026-01-01\n", "cache.max_size"},
		"a list for a size":            {"[cache]\nmax_size = [1]\n", "cache.max_size"},
		"a table for a list":           {"[hydrate.deny]\na = 1\n", "hydrate.deny"},
		"a word for a table":           {"hydrate = 1\n", "hydrate"},
		"a word for a duration":        {"[sync]\ninterval = \"soon\"\n", "sync.interval"},
		"a word for a switch":          {"[sync]\nadaptive = \"often\"\n", "sync.adaptive"},
		"a battery that is spared so":  {"[sync]\non_battery = \"stop\"\n", "sync.on_battery: \"stop\" is not run, slow or pause"},
		"a network that is spared so":  {"[sync]\non_metered = \"\"\n", "sync.on_metered"},
		"open files at once":           {"[sync]\nopen_files = \"0s\"\n", "sync.open_files: 0s is not between"},
		"too short an interval":        {"[sync]\ninterval = \"1ms\"\n", "sync.interval: 1ms is not between"},
		"too long a timeout":           {"[hydrate]\ntimeout = \"2h\"\n", "hydrate.timeout"},
		"a relative cache directory":   {"[cache]\ndir = \"x\"\n", "cache.dir"},
		"a cache of nothing":           {"[cache]\nmax_size = 0\n", "cache.max_size: 0 would keep nothing"},
		"a negative size":              {"[cache]\nmax_size = -1\n", "cache.max_size"},
		"a size of no unit":            {"[cache]\nmax_size = \"50 potatoes\"\n", "cache.max_size"},
		"a size without a number":      {"[offload]\nmin_size = \"GiB\"\n", "offload.min_size"},
		"a size beyond all disks":      {"[cache]\nmax_size = \"9999999999TiB\"\n", "cache.max_size"},
		"a part of a byte":             {"[cache]\nmax_size = \"1.5\"\n", "cache.max_size"},
		"a negative minimum":           {"[offload]\nmin_size = -5\n", "offload.min_size: -5 is not a size"},
		"watermarks that cross":        {"[offload]\nfree_low = 10\nfree_high = 9\n", "offload.free_high: 9 bytes are less than offload.free_low"},
		"idle in no time":              {"[offload]\nidle = \"1s\"\n", "offload.idle: 1s is not between"},
		"a negative time":              {"[offload]\nkeep_recent = \"-1s\"\n", "offload.keep_recent"},
		"no copies":                    {"[offload]\nmin_copies = 0\n", "offload.min_copies"},
		"names by no pattern":          {"[offload]\nexclude = [\"a\", \"[\"]\n", "offload.exclude: \"[\" is not a pattern"},
		"an empty pattern":             {"[offload]\ninclude = [\"\"]\n", "offload.include"},
		"a percentage above a hundred": {"[guard]\nmax_delete_percent = 101\n", "guard.max_delete_percent"},
		"too short a retention":        {"[trash]\nretention = \"1h\"\n", "trash.retention: 1h0m0s is not between"},
		"a trash of nothing":           {"[trash]\nmax_size = 0\n", "trash.max_size: 0 would keep nothing"},
		"a negative trash":             {"[trash]\nmax_size = -1\n", "trash.max_size"},
		"no transfers":                 {"[transfer]\nconcurrency = 0\n", "transfer.concurrency"},
		"too many transfers":           {"[transfer]\nconcurrency = 65\n", "transfer.concurrency"},
		"no own deletions":             {"[guard]\nmax_own_delete_count = 0\n", "guard.max_own_delete_count"},
		"no percentage of them":        {"[guard]\nmax_own_delete_percent = 0\n", "guard.max_own_delete_percent"},
		"a negative count":             {"[guard]\nmax_delete_count = -1\n", "guard.max_delete_count"},
		"a log level that is none":     {"[log]\nlevel = \"loud\"\n", "log.level"},
		"a device with a slash":        {"[device]\nname = \"a/b\"\n", "device.name"},
		"an empty device":              {"[device]\nname = \"\"\n", "device.name"},
		"text that is not TOML":        {"[sync\n", "line 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, tc.text)
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("error %v, want ErrInvalid", err)
			}
			if !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("error %q does not say %q in one line", err, tc.want)
			}
		})
	}
}

func TestPathsFollowTheEnvironment(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		env  map[string]string
		want Paths
	}{
		"VDFS_HOME holds everything of one drive": {
			map[string]string{"VDFS_HOME": "/h", "HOME": "/u"},
			Paths{"/h/config.toml", "/h/data", "/h/run", "/u/.local/share/vdfs/run/drives", true},
		},
		"VDFS_HOME alone is enough": {
			map[string]string{"VDFS_HOME": "/h"},
			Paths{"/h/config.toml", "/h/data", "/h/run", "", true},
		},
		"HOME gives the XDG defaults, with the socket beside the data": {
			map[string]string{"HOME": "/u"},
			Paths{"/u/.config/vdfs/config.toml", "/u/.local/share/vdfs", "/u/.local/share/vdfs/run", "/u/.local/share/vdfs/run/drives", false},
		},
		"XDG variables win, relative ones are ignored": {
			map[string]string{"HOME": "/u", "XDG_DATA_HOME": "/d", "XDG_CONFIG_HOME": "c", "XDG_RUNTIME_DIR": "/run/user/7"},
			Paths{"/u/.config/vdfs/config.toml", "/d/vdfs", "/run/user/7/vdfs", "/run/user/7/vdfs/drives", false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := FindPaths(func(k string) string { return tc.env[k] })
			if err != nil || got != tc.want {
				t.Fatalf("got %+v, %v", got, err)
			}
		})
	}
	if _, err := FindPaths(func(string) string { return "" }); !errors.Is(err, ErrNoHome) {
		t.Fatalf("without any home: %v", err)
	}
}

func TestUnitsLieWhereTheServiceManagerLooks(t *testing.T) {
	t.Parallel()
	for want, env := range map[string]map[string]string{
		"/u/.config/systemd/user": {"HOME": "/u", "VDFS_HOME": "/h", "XDG_CONFIG_HOME": "c"},
		"/c/systemd/user":         {"HOME": "/u", "XDG_CONFIG_HOME": "/c"},
	} {
		if got, err := Units(func(k string) string { return env[k] }); err != nil || got != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
	if _, err := Units(func(string) string { return "" }); !errors.Is(err, ErrNoHome) {
		t.Errorf("without any home: %v", err)
	}
}

func TestCreatedDirectoriesAreTheOwnersOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := Paths{Data: filepath.Join(dir, "a", "data"), Runtime: filepath.Join(dir, "run")}
	if err := os.Mkdir(p.Runtime, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := p.Create(); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{p.Data, p.Runtime} {
		if fi, err := os.Stat(d); err != nil || fi.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", d, fi.Mode(), err)
		}
	}
}

func TestTemporaryNamesStayLocal(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		".a.txt.swp": true, "4913": true, ".~lock.x.odt#": true, "x~": true, ".fuse_hidden0001": true, "~$doc.docx": true,
		".Trash-1000": true, "film.mkv.part": true, "a.txt": false, "party": false, ".git": false, "49130": false, "\xff~": true, "[": false,
	} {
		if got := LocalOnly(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}
