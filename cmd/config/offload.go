package config

import (
	"errors"
	"fmt"
	"path"
	"time"
)

// Offload tunes what of the local bytes is dropped by itself. Nothing is dropped that is pinned, open, or not proved to be
// at an endpoint, whatever stands here.
type Offload struct {
	Enabled    bool     `toml:"enabled"`     // default true; false: bytes go only when a person says so
	FreeLow    Size     `toml:"free_low"`    // free space of the disk below which bytes go; 0: never; default: see Watermarks
	FreeHigh   Size     `toml:"free_high"`   // until so much is free; not below free_low; default: see Watermarks
	Idle       Duration `toml:"idle"`        // what was not opened for so long goes; 1m to 10 years; default 0s: off
	KeepRecent Duration `toml:"keep_recent"` // what was opened or written since stays; up to 10 years; default 0s: off
	MinSize    Size     `toml:"min_size"`    // smaller files stay; default 0
	Include    []string `toml:"include"`     // patterns as in *.iso; if any, only files of such names go
	Exclude    []string `toml:"exclude"`     // patterns; files of such names stay
	MinCopies  int      `toml:"min_copies"`  // endpoints that have to prove that they have the version; 1 to 16; default 1
}

const years = 10 * 365 * 24 * time.Hour

func (o *Offload) check() error {
	switch {
	case o.FreeHigh != ByDisk && o.FreeLow != ByDisk && o.FreeHigh < o.FreeLow:
		return fmt.Errorf("offload.free_high: %d bytes are less than offload.free_low", o.FreeHigh)
	case o.MinSize == ByDisk:
		return errors.New("offload.min_size: auto is not a size such as 5000000 or 50GiB")
	case o.MinCopies < 1 || o.MinCopies > 16:
		return errors.New("offload.min_copies: must be between 1 and 16")
	}
	for key, s := range map[string]Size{"free_low": o.FreeLow, "free_high": o.FreeHigh, "min_size": o.MinSize} {
		if err := positive("offload."+key, s); err != nil {
			return err
		}
	}
	if err := patterns("offload.include", o.Include); err != nil {
		return err
	}
	if err := patterns("offload.exclude", o.Exclude); err != nil {
		return err
	}
	if o.Idle != 0 {
		if err := within("offload.idle", o.Idle, time.Minute, years); err != nil {
			return err
		}
	}
	return within("offload.keep_recent", o.KeepRecent, 0, years)
}

func patterns(key string, all []string) error {
	for _, p := range all {
		if _, err := path.Match(p, ""); err != nil || p == "" {
			return fmt.Errorf("%s: %q is not a pattern of file names such as *.iso", key, p)
		}
	}
	return nil
}

const gib = 1 << 30

// Budget is how many bytes may be here besides the pinned ones, on a disk of that many bytes: cache.max_size, else a fifth of
// the disk, at most 50 GiB. 0: as many as there is room for.
func (c *Config) Budget(disk int64) int64 {
	switch {
	case !c.Offload.Enabled:
		return 0
	case c.Cache.MaxSize != ByDisk:
		return int64(c.Cache.MaxSize)
	}
	return min(disk/5, 50*gib)
}

// Watermarks are the free space of a disk of that many bytes below which bytes are dropped, and until which. Unless they are
// written down, low is 5 GiB or a twentieth of the disk, whichever is more, but at most a quarter of a small disk; high is a
// fifth more than low.
func (c *Config) Watermarks(disk int64) (low, high int64) {
	if !c.Offload.Enabled || c.Offload.FreeLow == 0 {
		return 0, 0
	}
	low, high = int64(c.Offload.FreeLow), int64(c.Offload.FreeHigh)
	if c.Offload.FreeLow == ByDisk {
		low = min(max(5*gib, disk/20), disk/4)
		if c.Offload.FreeHigh != ByDisk {
			low = min(low, high)
		}
	}
	if c.Offload.FreeHigh == ByDisk {
		high = low + low/5
	}
	return low, high
}
