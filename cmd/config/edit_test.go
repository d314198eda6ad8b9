package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const commented = `# mine
[sync]   # how often
interval = "1m" # not too often

[cache]
# a large disk
max_size = "200GiB"
[hydrate]
deny = [
  "scanner", # slow
  "other",
]
`

func key(t testing.TB, name string) Key {
	t.Helper()
	k, err := FindKey(name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAnEditChangesOneLine(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		old, key string
		values   []string // nil: take it out
		want     string
	}{
		"a value": {
			commented, "sync.interval",
			[]string{"90s"},
			strings.Replace(commented, `"1m"`, `"90s"`, 1),
		},
		"a list": {
			commented, "offload.exclude",
			[]string{"a", `b"\\c`},
			commented + "\n[offload]\n" + `exclude = ["a", "b\"\\\\c"]` + "\n",
		},
		"a list of several lines": {
			commented, "hydrate.deny",
			[]string{"one", "two"},
			commented[:strings.Index(commented, "deny")] + `deny = ["one", "two"]` + "\n",
		},
		"an empty list":                  {"[hydrate]\ndeny = [\"a\"]\n", "hydrate.deny", []string{}, "[hydrate]\ndeny = []\n"},
		"a key of a table":               {commented, "sync.concurrency", []string{"5"}, strings.Replace(commented, "often\n\n", "often\nconcurrency = 5\n\n", 1)},
		"a key of a table that is empty": {"[log]\n[sync]\ninterval = \"1m\"", "log.level", []string{"warn"}, "[log]\nlevel = \"warn\"\n[sync]\ninterval = \"1m\""},
		"a key of the last table":        {"[log]", "log.level", []string{"warn"}, "[log]\nlevel = \"warn\"\n"},
		"a table":                        {commented, "log.level", []string{"debug"}, commented + "\n[log]\nlevel = \"debug\"\n"},
		"a table after no newline":       {"[sync]", "log.level", []string{"debug"}, "[sync]\n\n[log]\nlevel = \"debug\"\n"},
		"a file":                         {"", "offload.enabled", []string{"false"}, "[offload]\nenabled = false\n"},
		"a dotted key":                   {"sync.interval='1m'#x\n", "sync.interval", []string{"2m"}, "sync.interval=\"2m\"#x\n"},
		"a key beside a dotted one":      {"sync.interval='1m'#x\n[log]\n", "sync.concurrency", []string{"2"}, "sync.interval='1m'#x\nsync.concurrency = 2\n[log]\n"},
		"a key of an inline table":       {"guard = { max_delete_count = 3, max_delete_percent = 4 }\n", "guard.max_delete_percent", []string{"5"}, "guard = { max_delete_count = 3, max_delete_percent = 5 }\n"},
		"what is bad is mended":          {"[sync]\ninterval = \"soon\"\n", "sync.interval", []string{"1m"}, "[sync]\ninterval = \"1m\"\n"},
		"no value":                       {commented, "cache.max_size", nil, strings.Replace(commented, "max_size = \"200GiB\"\n", "", 1)},
		"no value, with its comment":     {commented, "sync.interval", nil, strings.Replace(commented, "interval = \"1m\" # not too often\n", "", 1)},
		"no list":                        {commented, "hydrate.deny", nil, commented[:strings.Index(commented, "deny")]},
		"no value where none is":         {commented, "log.level", nil, commented},
		"no value where no file is":      {"", "log.level", nil, ""},
		"the value it has":               {commented, "cache.max_size", []string{"200GiB"}, commented},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "sub", "config.toml")
			if tc.old != "" {
				if err := errors.Join(os.Mkdir(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(tc.old), 0o640)); err != nil {
					t.Fatal(err)
				}
			}
			changed, err := Edit(file, "laptop", key(t, tc.key), tc.values)
			if err != nil || changed != (tc.old != tc.want) {
				t.Fatalf("changed %v, %v", changed, err)
			}
			got, err := os.ReadFile(file)
			if string(got) != tc.want || err != nil && tc.want != "" {
				t.Errorf("got %v\n%s\nwant\n%s", err, got, tc.want)
			}
			if info, err := os.Stat(file); err == nil && tc.old != "" && info.Mode().Perm() != 0o640 {
				t.Errorf("the mode is %v now", info.Mode())
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".config-*")); len(left) > 0 {
				t.Errorf("%v are left", left)
			}
		})
	}
}

func TestAnEditThatIsRefusedLeavesTheFile(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		old, key string
		values   []string
		want     string
	}{
		"out of range":          {commented, "sync.interval", []string{"1ms"}, "sync.interval: 1ms is not between"},
		"no duration":           {commented, "sync.interval", []string{"soon"}, `configuration: sync.interval: "soon" is not a duration`},
		"no number":             {commented, "sync.concurrency", []string{"many"}, `sync.concurrency: "many" is not a number`},
		"no truth":              {commented, "offload.enabled", []string{"yes"}, `offload.enabled: "yes" is not true or false`},
		"no size":               {commented, "cache.max_size", []string{"big"}, `cache.max_size: "big" is not a size`},
		"two values":            {commented, "log.level", []string{"info", "warn"}, "log.level: it has one value"},
		"no value":              {commented, "log.level", []string{}, "log.level: it has one value"},
		"beside a mistake":      {"[sync]\nintervall = 3\n", "log.level", []string{"warn"}, "line 2: sync.intervall: unknown key"},
		"beside no TOML":        {"[sync\n", "log.level", []string{"warn"}, "line 1"},
		"into one line":         {"guard = { max_delete_count = 3 }\n", "guard.max_delete_percent", []string{"5"}, "guard"},
		"out of one line":       {"guard = { max_delete_count = 3, max_delete_percent = 4 }\n", "guard.max_delete_count", nil, "by hand"},
		"into watermarks":       {"[offload]\nfree_low = 10\n", "offload.free_high", []string{"9"}, "offload.free_high: 9 bytes are less"},
		"what another leans on": {"[offload]\nfree_low = 10\nfree_high = 11\n", "offload.free_low", []string{"12"}, "offload.free_high: 11 bytes are less"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "config.toml")
			if err := os.WriteFile(file, []byte(tc.old), 0o600); err != nil {
				t.Fatal(err)
			}
			changed, err := Edit(file, "laptop", key(t, tc.key), tc.values)
			if changed || !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("changed %v, %v, want %q", changed, err, tc.want)
			}
			if got, err := os.ReadFile(file); err != nil || string(got) != tc.old {
				t.Errorf("the file is %v\n%s", err, got)
			}
		})
	}
	if _, err := FindKey("sync.intervall"); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "sync.intervall: unknown key") {
		t.Errorf("an unknown key: %v", err)
	}
}

func TestALinkToTheFileStaysOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	real, link := filepath.Join(dir, "dotfiles.toml"), filepath.Join(dir, "config.toml")
	if err := errors.Join(os.WriteFile(real, []byte(commented), 0o600), os.Symlink(real, link)); err != nil {
		t.Fatal(err)
	}
	if _, err := Edit(link, "laptop", key(t, "log.level"), []string{"warn"}); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to != real {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	if c, err := Load(link, "laptop"); err != nil || c.Log.Level != "warn" || c.Sync.Interval != Duration(time.Minute) {
		t.Errorf("got %+v, %v", c, err)
	}
}

// Any sequence of edits leaves a file that says what was set, whatever it began with.
func TestEditsAddUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	begins := []string{"", commented, "sync.interval = \"2m\"\nguard.max_delete_count = 3\n[log]\nlevel = \"warn\" # x", "[offload] # nothing yet\n\n# the end"}
	values := map[string][][]string{
		"device.name": {{"desk"}, {`a "b" \c`}, {"ü\t1"}}, "sync.interval": {{"1m"}, {"1h30m"}}, "sync.concurrency": {{"1"}, {"64"}},
		"cache.max_size": {{"5"}, {"50GiB"}, {"auto"}}, "offload.enabled": {{"true"}, {"false"}}, "log.level": {{"error"}},
		"hydrate.deny": {{}, {"a"}, {"a", "b*"}}, "guard.max_delete_percent": {{"7"}}, "conflict.rules": {{"*.a=merge", "b=c=local"}},
	}
	rapid.Check(t, func(t *rapid.T) {
		file, err := os.CreateTemp(dir, "*.toml")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteString(rapid.SampledFrom(begins).Draw(t, "begin")); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		want, err := Load(file.Name(), "laptop")
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 8).Draw(t, "edits") {
			name := rapid.SampledFrom([]string{
				"device.name", "sync.interval", "sync.concurrency", "cache.max_size", "offload.enabled", "log.level", "hydrate.deny",
				"guard.max_delete_percent", "conflict.rules",
			}).Draw(t, "key")
			k, err := FindKey(name)
			if err != nil {
				t.Fatal(err)
			}
			to := reflect.ValueOf(&want).Elem().FieldByIndex(k.field)
			if rapid.Bool().Draw(t, "unset") {
				if _, err := Edit(file.Name(), "laptop", k, nil); err != nil {
					t.Fatal(err)
				}
				to.Set(reflect.ValueOf(Default("laptop")).FieldByIndex(k.field))
			} else {
				text := rapid.SampledFrom(values[name]).Draw(t, "value")
				if _, err := Edit(file.Name(), "laptop", k, text); err != nil {
					t.Fatal(err)
				}
				got, err := Load(file.Name(), "laptop")
				if err != nil {
					t.Fatal(err)
				}
				if said := k.Text(got); !reflect.DeepEqual(said, text) && len(said)+len(text) > 0 {
					t.Fatalf("%s is %q, not %q", name, said, text)
				}
				to.Set(reflect.ValueOf(got).FieldByIndex(k.field))
			}
			if got, err := Load(file.Name(), "laptop"); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("got %+v, %v\nwant %+v", got, err, want)
			}
		}
	})
}
