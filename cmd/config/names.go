package config

import (
	"fmt"
	"strings"

	"vdfs/internal/ignore"
)

// temporaries are the names that programs give to locks and half-written
// files: sending them would only make noise at every other machine.
var temporaries = []string{
	".~lock.*#", "~$*", ".goutputstream-*", "*.swp", "*.swo", "*.swx", "4913", ".#*", "*~",
	".fuse_hidden*", ".nfs*", "*.part", "*.crdownload",
}

// local also has the desktop's trash, whose directories are no different from
// others: what is synced stays so when it is thrown there.
var local = ignore.Root(BuiltIn(), ignore.Parse("", ".Trash-*"))

// BuiltInSource is the source of the list BuiltIn.
const BuiltInSource = "built in"

// BuiltIn is the list of patterns that holds in every drive: editors' locks
// and temporaries, and unfinished downloads.
func BuiltIn() *ignore.List { return ignore.Parse(BuiltInSource, strings.Join(temporaries, "\n")) }

// LocalOnly reports whether a file of this name stays on this machine: what
// BuiltIn ignores, and the desktop's trash.
func LocalOnly(name string) bool { return local.Match(name, false) != nil }

// Ignore are the lists of patterns that hold everywhere, the strongest last.
func (c *Config) Ignore() []*ignore.List {
	own := ignore.Parse("sync.ignore in the configuration", strings.Join(c.Sync.Ignore, "\n"))
	return []*ignore.List{BuiltIn(), own}
}

// checkIgnore refuses patterns that would be none.
func (c *Config) checkIgnore() error {
	for _, p := range c.Sync.Ignore {
		if strings.ContainsAny(p, "\n\x00") || ignore.Parse("", p).Len() != 1 {
			return fmt.Errorf("sync.ignore: %q is not a pattern", p)
		}
	}
	return nil
}
