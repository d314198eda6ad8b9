package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// ErrInvalid is the sentinel of every complaint about the content of a configuration file.
var ErrInvalid = errors.New("invalid configuration")

// Config is what the owner of a drive wants. The zero value is not valid: start from Default.
type Config struct {
	Device   Device   `toml:"device"`
	Sync     Sync     `toml:"sync"`
	Conflict Conflict `toml:"conflict"`
	Transfer Transfer `toml:"transfer"`
	Cache    Cache    `toml:"cache"`
	Hydrate  Hydrate  `toml:"hydrate"`
	Mount    Mount    `toml:"mount"`
	Offload  Offload  `toml:"offload"`
	Guard    Guard    `toml:"guard"`
	Trash    Trash    `toml:"trash"`
	Log      Log      `toml:"log"`
}

// Device is this machine as other machines see it.
type Device struct {
	Name string `toml:"name"` // in the names of conflict files; default: the host name
}

// Sync tunes the cycles of the syncer.
type Sync struct {
	Interval    Duration `toml:"interval"`    // fallback timer between looks at an endpoint; 1s to 24h, default 30s
	Concurrency int      `toml:"concurrency"` // files that a new conduit copies at once; 1 to 64, default 3
	Ignore      []string `toml:"ignore"`      // patterns as in .gitignore of what is never synced; default: none but BuiltIn
	// Adaptive has looks come up to six times as often while they find something, and up to ten times as rarely else; default true.
	Adaptive bool `toml:"adaptive"`
	// OpenFiles is how long a file that stays open for writing is waited for, before a copy of it is sent, and then how long to the
	// next copy; 1s to 24h, default 10m.
	OpenFiles Duration `toml:"open_files"`
	OnBattery string   `toml:"on_battery"` // run, slow (looks come as rarely as can be) or pause (only what is asked for); default slow
	OnMetered string   `toml:"on_metered"` // likewise on a network that costs by the byte; default slow
}

// Transfer bounds what is on its way, besides what readers wait for.
type Transfer struct {
	Concurrency int `toml:"concurrency"` // files, or groups of small ones, in each direction over all conduits; 1 to 64, default 8
}

// Cache says where local bytes live, and how many.
type Cache struct {
	Dir     string `toml:"dir"`      // absolute; index and content; default: the data directory
	MaxSize Size   `toml:"max_size"` // of what is here besides the pinned; above 0; default: see Budget
}

// Hydrate tunes fetching. The names are those of programs, and may have * and ? in them.
type Hydrate struct {
	Timeout Duration `toml:"timeout"` // a read or listing without progress fails after this; 1s to 1h, default 30s
	Deny    []string `toml:"deny"`    // programs that get only the head of what is not here, as thumbnailers do
	Allow   []string `toml:"allow"`   // programs that are never denied anything; before deny
}

// Mount is how the drive shows itself to programs.
type Mount struct {
	Subtype string `toml:"subtype"` // after "fuse." in the mount table; letters, digits, . _ -; default: sshfs
	// Markers are names at the root that programs find though nothing is there, such as ".trackerignore"; default: none.
	Markers []string `toml:"markers"`
}

// Guard holds deletions that look like an accident: both limits must be exceeded.
type Guard struct {
	MaxDeleteCount   int `toml:"max_delete_count"`   // files, 1 or more; default 50
	MaxDeletePercent int `toml:"max_delete_percent"` // of a leg's files, 1 to 100; default 25
	// Likewise for what was deleted in the drive; default 1000 and 50.
	MaxOwnDeleteCount   int `toml:"max_own_delete_count"`
	MaxOwnDeletePercent int `toml:"max_own_delete_percent"`
}

// Trash tunes what the drive and its storages keep of versions that were replaced or deleted, each by itself.
type Trash struct {
	Retention Duration `toml:"retention"` // for so long; 24h to 10 years, default 720h
	// What went within the last day is kept however much it is; above 0; default: a tenth of what is free, at most 20 GiB
	MaxSize Size `toml:"max_size"`
}

// Most is the size for what takes 0 for the default.
func (t Trash) Most() int64 {
	if t.MaxSize == ByDisk {
		return 0
	}
	return int64(t.MaxSize)
}

// Log tunes the daemon's log.
type Log struct {
	Level string `toml:"level"` // debug, info, warn or error; default info
}

// Duration is a time.Duration written as in "30s" or "5m".
type Duration time.Duration

// UnmarshalText reads the form of time.ParseDuration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 30s or 5m", text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText is the inverse of UnmarshalText: "5m", not "5m0s".
func (d Duration) MarshalText() ([]byte, error) {
	text := time.Duration(d).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return []byte(text), nil
}

// Default is the configuration of a drive whose owner wrote none.
func Default(hostname string) Config {
	return Config{
		Device:   Device{Name: hostname},
		Sync:     Sync{Interval: Duration(30 * time.Second), Concurrency: 3, Adaptive: true, OpenFiles: Duration(10 * time.Minute), OnBattery: SpareSlow, OnMetered: SpareSlow},
		Conflict: Conflict{Default: "conflict-file"},
		Transfer: Transfer{Concurrency: 8},
		Cache:    Cache{MaxSize: ByDisk},
		Hydrate:  Hydrate{Timeout: Duration(30 * time.Second)},
		Mount:    Mount{Subtype: "sshfs"},
		Offload:  Offload{Enabled: true, FreeLow: ByDisk, FreeHigh: ByDisk, MinCopies: 1},
		Guard:    Guard{MaxDeleteCount: 50, MaxDeletePercent: 25, MaxOwnDeleteCount: 1000, MaxOwnDeletePercent: 50},
		Trash:    Trash{Retention: Duration(30 * 24 * time.Hour), MaxSize: ByDisk},
		Log:      Log{Level: "info"},
	}
}

// Load reads the file over the defaults. A missing file is no error; anything
// vdfs does not understand in it is one that wraps ErrInvalid and names the key.
func Load(file, hostname string) (Config, error) {
	c := Default(hostname)
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	if err := parse(data, &c); err != nil {
		return Config{}, fmt.Errorf("%w %s: %w", ErrInvalid, file, err)
	}
	return c, nil
}

// parse decodes and checks data into c, which holds the defaults.
func parse(data []byte, c *Config) error {
	err := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(c)
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) && len(unknown.Errors) > 0 {
		return keyError(&unknown.Errors[0], "unknown key")
	}
	var bad *toml.DecodeError
	if errors.As(err, &bad) {
		return keyError(bad, strings.TrimPrefix(bad.Error(), "toml: "))
	}
	if err != nil {
		return blame(data, err)
	}
	return c.check()
}

// blame names the key whose value gave an error that names none, as a value does that is neither text nor a number.
func blame(data []byte, err error) error {
	for _, k := range Keys() {
		f := find(data, k)
		if f.to == 0 {
			continue
		}
		var c Config
		alone := fmt.Sprintf("[%s]\n%s = %s\n", f.table, f.name, data[f.value:f.to])
		if alone := toml.Unmarshal([]byte(alone), &c); alone != nil && alone.Error() == err.Error() {
			return &lineError{1 + bytes.Count(data[:f.from], []byte("\n")), k.Name, err.Error()}
		}
	}
	return err
}

// lineError says what is wrong with which key on which line, in one line.
type lineError struct {
	row  int
	key  string // "": it is none
	what string
}

func (e *lineError) Error() string {
	if e.key != "" {
		return fmt.Sprintf("line %d: %s: %s", e.row, e.key, e.what)
	}
	return fmt.Sprintf("line %d: %s", e.row, e.what)
}

func keyError(e *toml.DecodeError, what string) error {
	row, _ := e.Position()
	return &lineError{row, strings.Join(e.Key(), "."), what}
}

// check refuses values out of range, naming the key.
func (c *Config) check() error {
	switch {
	case strings.TrimSpace(c.Device.Name) == "" || strings.ContainsAny(c.Device.Name, "/\x00\n"):
		return fmt.Errorf("device.name: %q cannot be part of a file name", c.Device.Name)
	case len(c.Device.Name) > 64:
		return errors.New("device.name: longer than 64 bytes")
	case c.Cache.Dir != "" && !filepath.IsAbs(c.Cache.Dir):
		return fmt.Errorf("cache.dir: %q is not an absolute path", c.Cache.Dir)
	case c.Cache.MaxSize == 0:
		return errors.New("cache.max_size: 0 would keep nothing; leave the key out for the default, or turn offload.enabled off for no limit")
	case c.Sync.Concurrency < 1 || c.Sync.Concurrency > 64:
		return errors.New("sync.concurrency: must be between 1 and 64")
	case c.Transfer.Concurrency < 1 || c.Transfer.Concurrency > 64:
		return errors.New("transfer.concurrency: must be between 1 and 64")
	case c.Trash.MaxSize == 0:
		return errors.New("trash.max_size: 0 would keep nothing beyond a day; leave the key out for the default")
	case c.Guard.MaxDeleteCount < 1:
		return errors.New("guard.max_delete_count: must be 1 or more")
	case c.Guard.MaxDeletePercent < 1 || c.Guard.MaxDeletePercent > 100:
		return errors.New("guard.max_delete_percent: must be between 1 and 100")
	case c.Guard.MaxOwnDeleteCount < 1:
		return errors.New("guard.max_own_delete_count: must be 1 or more")
	case c.Guard.MaxOwnDeletePercent < 1 || c.Guard.MaxOwnDeletePercent > 100:
		return errors.New("guard.max_own_delete_percent: must be between 1 and 100")
	}
	if _, err := c.LogLevel(); err != nil {
		return err
	}
	if err := c.checkNames(); err != nil {
		return err
	}
	if err := c.checkIgnore(); err != nil {
		return err
	}
	if err := c.Conflict.check(); err != nil {
		return err
	}
	if !subtype.MatchString(c.Mount.Subtype) {
		return fmt.Errorf("mount.subtype: %q is not a word of letters, digits, . _ and -", c.Mount.Subtype)
	}
	if err := within("sync.interval", c.Sync.Interval, time.Second, 24*time.Hour); err != nil {
		return err
	}
	if err := within("sync.open_files", c.Sync.OpenFiles, time.Second, 24*time.Hour); err != nil {
		return err
	}
	if err := c.Sync.check(); err != nil {
		return err
	}
	if err := positive("cache.max_size", c.Cache.MaxSize); err != nil {
		return err
	}
	if err := within("hydrate.timeout", c.Hydrate.Timeout, time.Second, time.Hour); err != nil {
		return err
	}
	if err := positive("trash.max_size", c.Trash.MaxSize); err != nil {
		return err
	}
	if err := within("trash.retention", c.Trash.Retention, 24*time.Hour, years); err != nil {
		return err
	}
	return c.Offload.check()
}

// subtype is what the mount table can hold; "" is the default.
var subtype = regexp.MustCompile(`^[A-Za-z0-9._-]{0,64}$`)

// checkNames refuses what can be the name of no program, or of no file.
func (c *Config) checkNames() error {
	for key, names := range map[string][]string{"hydrate.deny": c.Hydrate.Deny, "hydrate.allow": c.Hydrate.Allow} {
		for _, name := range names {
			if _, err := path.Match(name, ""); err != nil || name == "" || strings.Contains(name, "/") {
				return fmt.Errorf("%s: %q is not the name of a program", key, name)
			}
		}
	}
	for _, name := range c.Mount.Markers {
		if name == "" || name == "." || name == ".." || len(name) > 255 || strings.ContainsAny(name, "/\x00") {
			return fmt.Errorf("mount.markers: %q is not the name of a file", name)
		}
	}
	return nil
}

func within(key string, d Duration, least, most time.Duration) error {
	if v := time.Duration(d); v < least || v > most {
		return fmt.Errorf("%s: %s is not between %s and %s", key, v, least, most)
	}
	return nil
}

// levels are the values of log.level.
var levels = []string{"debug", "info", "warn", "error"}

// LogLevel is log.level as slog has it.
func (c *Config) LogLevel() (slog.Level, error) {
	switch c.Log.Level {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("log.level: %q is not debug, info, warn or error", c.Log.Level)
}

// CacheDir is where the index and the content of the drive are.
func (c *Config) CacheDir(p Paths) string {
	if c.Cache.Dir != "" {
		return filepath.Clean(c.Cache.Dir)
	}
	return p.Data
}
