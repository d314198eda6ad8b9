package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// setting is one element of `vdfs config list --json`.
type setting struct {
	Key     string `json:"key"`
	Value   any    `json:"value"`
	Default any    `json:"default"`
	Set     bool   `json:"set"`
}

func TestSettingsAreShownAndChanged(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	file := filepath.Join(f.Home, "config.toml")
	write(t, file, "# mine\n[sync]\ninterval = \"1m\" # not too often\n")
	if got := f.do("config", "get", "sync.interval"); got != "1m\n" {
		t.Errorf("get says %q", got)
	}
	r := f.run("config", "set", "sync.interval", "90s")
	if r.Code != 0 || r.Stdout != "" || !strings.Contains(r.Stderr, "changed sync.interval") || strings.Contains(r.Stderr, "mounted anew") {
		t.Errorf("want one line that says so: %s", r)
	}
	wants(t, file, "# mine\n[sync]\ninterval = \"90s\" # not too often\n")
	f.do("config", "set", "hydrate.deny", "scanner", "virus*")
	if got := f.do("config", "get", "hydrate.deny"); got != "scanner\nvirus*\n" {
		t.Errorf("get says %q", got)
	}
	f.do("config", "unset", "hydrate.deny")
	var all []setting
	must(t, f.JSON(&all, "config", "list", "--json"))
	for _, s := range all {
		if s.Set != (s.Key == "sync.interval") {
			t.Errorf("%+v", s)
		}
		if s.Key == "sync.interval" && (s.Value != "1m30s" || s.Default != "30s") {
			t.Errorf("%+v", s)
		}
	}
	if text := f.do("config", "list"); !strings.Contains(text, "sync.interval") || !strings.Contains(text, "1m30s") {
		t.Errorf("list says\n%s", text)
	}

	before := read(t, file)
	for _, args := range [][]string{
		{"get", "sync.intervall"},
		{"set", "sync.intervall", "1m"},
		{"unset", "sync.intervall"},
		{"set", "sync.interval", "soon"},
		{"set", "sync.interval"},
		{"set", "sync.interval", "1ms"},
		{"set", "guard.max_delete_percent", "101"},
	} {
		r := f.run(append([]string{"config"}, args...)...)
		if r.Code != 2 || r.Stdout != "" || strings.Count(strings.TrimSpace(r.Stderr), "\n") > 0 || !strings.Contains(r.Stderr, args[1]) {
			t.Errorf("want exit 2 and one line that names the key: %s", r)
		}
	}
	wants(t, file, before)

	f.mount()
	if r := f.run("config", "set", "log.level", "debug"); r.Code != 0 || !strings.Contains(r.Stderr, f.at) || !strings.Contains(r.Stderr, "mounted anew") {
		t.Errorf("want a word about the drive that is mounted: %s", r)
	}
	if r := f.run("config", "set", "log.level", "debug"); r.Code != 0 || !strings.Contains(r.Stderr, "stays as it is") {
		t.Errorf("want that nothing changed: %s", r)
	}
	out := f.do("__complete", "config", "set", "log.")
	if !strings.Contains(out, "log.level\n") || !strings.Contains(f.do("__complete", "config", "set", "log.level", ""), "debug\n") {
		t.Errorf("the shell is offered %q", out)
	}
}

// configured is a drive over a fresh directory with some text for its configuration, not mounted.
func configured(t *testing.T, text string) *fixture {
	t.Helper()
	f := newFixture(t, "")
	write(t, filepath.Join(f.Home, "config.toml"), text)
	return f
}

// home is what the drive says of the conduit that its first mount made.
func (f *fixture) home() (c struct {
	Strategy string     `json:"strategy"`
	Parallel int        `json:"parallel_transfers"`
	NextSync *time.Time `json:"next_sync"`
	Rules    []struct{ Pattern, Strategy string }
},
) {
	f.t.Helper()
	must(f.t, f.JSON(&c, "conduit", "show", "home", "--json"))
	return c
}

// deletes makes ten files, deletes five of them on a side once they are in sync, and reports whether that is held.
func (f *fixture) deletes(there bool) (held bool) {
	f.t.Helper()
	at := f.path
	if there {
		at = f.behind
	}
	for i := range 10 {
		write(f.t, f.path(fmt.Sprint("f", i)), "text")
	}
	f.sync()
	f.do("pause")
	for i := range 5 {
		must(f.t, os.Remove(at(fmt.Sprint("f", i))))
	}
	f.do("resume")
	r := f.run("sync", "--rescan", "--wait", "--timeout", "60s")
	if r.Code != 0 && r.Code != 7 {
		f.t.Fatalf("neither done nor held: %s", r)
	}
	return r.Code == 7
}

// drops makes two files, one with a longer name that is smaller, and waits until the first is dropped by itself and the other is not.
func (f *fixture) drops(gone, stays string) {
	f.t.Helper()
	f.mount()
	for _, name := range []string{stays, gone} { // what was opened first would be the first to go
		must(f.t, os.WriteFile(f.path(name), random(100/len(name)), 0o644))
	}
	f.sync()
	eventually(f.t, gone+" is dropped", func() bool { return f.info(gone)[0].Residency == "none" })
	if i := f.info(stays)[0]; i.Residency != "full" {
		f.t.Errorf("%s is dropped, too", stays)
	}
}

// TestEverySettingChangesWhatADriveDoes has a case for every key that the program says it has.
func TestEverySettingChangesWhatADriveDoes(t *testing.T) {
	t.Parallel()
	const full = "[offload]\nfree_low = \"7000TiB\"\n" // no disk has so much: what may go goes
	elsewhere := map[string]string{
		"hydrate.deny": "TestThePersonsOwnListsOfPrograms", "hydrate.allow": "TestThePersonsOwnListsOfPrograms",
		"mount.subtype": "TestThePersonsOwnListsOfPrograms", "mount.markers": "TestThePersonsOwnListsOfPrograms",
		"transfer.concurrency": "package offload counts fetches at once", "offload.free_high": "package offload has a disk of a known size",
		"offload.idle": "package offload lets time pass", "offload.keep_recent": "package offload lets time pass",
		"sync.open_files": "TestAFileThatIsNeverClosedIsSentAsItWasInOneMoment", "trash.retention": "package cache lets days pass", "trash.max_size": "package cache lets days pass", "sync.ignore": "TestSyncIgnore",
		"sync.adaptive": "package syncer lets time pass", "sync.on_battery": "package power has a bus of its own", "sync.on_metered": "package power has a bus of its own",
	}
	cases := map[string]func(t *testing.T){
		"device.name": func(t *testing.T) {
			f := configured(t, "[device]\nname = \"desk of mine\"\n[offload]\nfree_low = 0\n")
			f.mount()
			write(t, f.path("a"), "first")
			f.sync()
			f.do("pause")
			write(t, f.path("a"), "mine")
			write(t, f.behind("a"), "what is theirs")
			f.do("resume")
			f.do("sync", "--rescan", "--wait", "--timeout", "60s")
			if extra := f.conflictFiles(f.at, "a"); len(extra) != 1 || !strings.HasPrefix(extra[0], "a (conflict desk of mine ") {
				t.Errorf("the conflict file is %q", extra)
			}
		},
		"sync.interval": func(t *testing.T) {
			f := configured(t, "[sync]\ninterval = \"10h\"\n")
			f.mount()
			f.sync()
			if next := f.home().NextSync; next == nil || time.Until(*next) < 9*time.Hour {
				t.Errorf("the next look is at %v", next)
			}
		},
		"sync.concurrency": func(t *testing.T) {
			f := configured(t, "[sync]\nconcurrency = 9\n")
			f.mount()
			if c := f.home(); c.Parallel != 9 {
				t.Errorf("%d files are copied at once", c.Parallel)
			}
		},
		"conflict.default": func(t *testing.T) {
			f := configured(t, "[conflict]\ndefault = \"local\"\n[offload]\nfree_low = 0\n")
			f.mount()
			write(t, f.path("a"), "first")
			f.sync()
			f.do("pause")
			write(t, f.path("a"), "mine")
			write(t, f.behind("a"), "what is theirs")
			f.do("resume")
			f.do("sync", "--rescan", "--wait", "--timeout", "60s")
			wants(t, f.behind("a"), "mine")
			if c := f.home(); c.Strategy != "local" {
				t.Errorf("the strategy is %s", c.Strategy)
			}
		},
		"conflict.rules": func(t *testing.T) {
			f := configured(t, "[conflict]\nrules = [\"*.md=merge\", \"a=b=local\"]\n")
			f.mount()
			if got := fmt.Sprint(f.home().Rules); got != "[{*.md merge} {a=b local}]" {
				t.Errorf("the rules are %s", got)
			}
			f.do("conduit", "create", "other", "--source", "drive:/Other", "--target", t.TempDir(), "--policy", "synchronize", "--rule", "*.txt=newest")
			if text := f.do("conduit", "show", "other"); !strings.Contains(text, "*.txt=newest") || strings.Contains(text, "*.md=merge") {
				t.Errorf("a conduit with rules of its own has others, too:\n%s", text)
			}
		},
		"cache.dir": func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "elsewhere")
			f := configured(t, fmt.Sprintf("[cache]\ndir = %q\n", dir))
			f.mount()
			for _, name := range []string{"index.db", "content"} {
				if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
					t.Error(err)
				}
			}
		},
		"cache.max_size": func(t *testing.T) {
			f := configured(t, "[cache]\nmax_size = \"7MiB\"\n")
			f.mount()
			if got := f.status().Cache.BudgetBytes; got != 7<<20 {
				t.Errorf("the budget is %d", got)
			}
		},
		"hydrate.timeout": func(t *testing.T) {
			base := t.TempDir()
			behind, at := filepath.Join(base, "disk"), filepath.Join(base, "network")
			must(t, os.Mkdir(behind, 0o755))
			must(t, os.Mkdir(at, 0o755))
			f, disk := overFreezer(t, behind, at)
			write(t, filepath.Join(f.Home, "config.toml"), "[hydrate]\ntimeout = \"2s\"\n")
			must(t, os.WriteFile(filepath.Join(behind, "a"), random(100), 0o644))
			f.mount()
			f.sync()
			disk.FreezeReads()
			began := time.Now()
			if _, err := os.ReadFile(f.path("a")); err == nil {
				t.Error("a disk that hangs was read")
			}
			if took := time.Since(began); took < 2*time.Second || took > 25*time.Second {
				t.Errorf("the read failed after %v", took)
			}
			disk.Thaw()
		},
		"offload.enabled": func(t *testing.T) {
			f := configured(t, "[cache]\nmax_size = \"7MiB\"\n[offload]\nenabled = false\n")
			f.mount()
			if got := f.status().Cache.BudgetBytes; got != 0 {
				t.Errorf("the budget is %d", got)
			}
		},
		"offload.free_low": func(t *testing.T) {
			f := configured(t, full)
			f.mount()
			must(t, os.WriteFile(f.path("a"), random(100), 0o644))
			f.sync()
			eventually(t, "it is dropped", func() bool { return f.info("a")[0].Residency == "none" })
		},
		"offload.min_size": func(t *testing.T) { configured(t, full+"min_size = 100\n").drops("a", "smaller") },
		"offload.include":  func(t *testing.T) { configured(t, full+"include = [\"*.iso\"]\n").drops("a.iso", "b.txt") },
		"offload.exclude":  func(t *testing.T) { configured(t, full+"exclude = [\"*.txt\"]\n").drops("a.iso", "b.txt") },
		"offload.min_copies": func(t *testing.T) {
			f := configured(t, "[offload]\nfree_low = 0\nmin_copies = 2\n")
			f.mount()
			write(t, f.path("a"), "text")
			f.sync()
			if r := f.run("offload", f.path("a")); r.Code == 0 || f.info("a")[0].Residency != "full" {
				t.Errorf("what one storage proves was dropped: %s", r)
			}
		},
		"guard.max_delete_count":   func(t *testing.T) { heldByGuard(t, "max_delete_count = 2\n", true, true) },
		"guard.max_delete_percent": func(t *testing.T) { heldByGuard(t, "max_delete_count = 2\nmax_delete_percent = 90\n", true, false) },
		"guard.max_own_delete_count": func(t *testing.T) {
			heldByGuard(t, "max_own_delete_count = 2\nmax_own_delete_percent = 25\n", false, true)
		},
		"guard.max_own_delete_percent": func(t *testing.T) {
			heldByGuard(t, "max_own_delete_count = 2\nmax_own_delete_percent = 90\n", false, false)
		},
		"log.level": func(t *testing.T) {
			f := configured(t, "[log]\nlevel = \"error\"\n")
			f.mount()
			if strings.Contains(f.Log(), "level=INFO") {
				t.Error("the log tells what it is not to")
			}
		},
	}
	var all []setting
	must(t, newFixture(t, "").JSON(&all, "config", "list", "--json"))
	for _, s := range all {
		try, ok := cases[s.Key]
		if _, seen := elsewhere[s.Key]; ok == seen {
			t.Errorf("%s: want a case here, or to be told where there is one", s.Key)
		}
		if ok {
			t.Run(s.Key, func(t *testing.T) {
				t.Parallel()
				try(t)
			})
		}
	}
}

// heldByGuard demands that five deletions of ten, at the storage or in the drive, are held or not.
func heldByGuard(t *testing.T, text string, there, held bool) {
	t.Helper()
	f := configured(t, "[guard]\n"+text+"[offload]\nfree_low = 0\n")
	f.mount()
	if got := f.deletes(there); got != held {
		t.Errorf("held: %v, want %v", got, held)
	}
}
