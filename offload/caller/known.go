package caller

import (
	"path"
	"strings"
)

// Class is what kind of program a process is.
type Class uint8

// The classes.
const (
	Unknown     Class = iota // cannot be told: gone, or of another PID namespace
	Person                   // everything that is none of the others
	Thumbnailer              // makes small pictures of files
	Indexer                  // reads everything to find it again
	Backup                   // reads everything to keep it
)

// String is the class in one word.
func (c Class) String() string {
	switch c {
	case Person:
		return "person"
	case Thumbnailer:
		return "thumbnailer"
	case Indexer:
		return "indexer"
	case Backup:
		return "backup"
	}
	return "unknown"
}

// rule gives a class to the programs whose name fits a pattern of path.Match and, if there is one, one of whose arguments
// fits another.
type rule struct {
	class    Class
	name     string
	argument string
}

// rules are the programs that read files without anybody wanting them. The first that fits counts.
var rules = []rule{
	// Freedesktop thumbnailers are programs of their own, which the desktop starts for one file; most have it in their names.
	{Thumbnailer, "*-thumbnailer", ""},
	{Thumbnailer, "ffmpegthumbnailer", ""},
	{Thumbnailer, "gnome-thumbnail-*", ""},
	{Thumbnailer, "mate-thumbnail-*", ""},
	{Thumbnailer, "tumblerd", ""},
	{Thumbnailer, "kioworker", "*thumbnail*"},
	{Thumbnailer, "kioslave*", "*thumbnail*"},
	{Thumbnailer, "kdeinit5", "*thumbnail*"},
	{Thumbnailer, "thumbnail.so", ""}, // how kioworker calls itself

	{Indexer, "tracker-miner-*", ""},
	{Indexer, "tracker-extract*", ""},
	{Indexer, "localsearch*", ""},
	{Indexer, "baloo_file*", ""},
	{Indexer, "recollindex", ""},
	{Indexer, "updatedb*", ""},
	{Indexer, "mlocate", ""},
	{Indexer, "plocate*", ""},
	{Indexer, "zeitgeist-*", ""},
	{Indexer, "beagled", ""},
	{Indexer, "strigidaemon", ""},
	{Indexer, "doodle*", ""},

	{Backup, "restic", ""},
	{Backup, "rustic", ""},
	{Backup, "borg", ""},
	{Backup, "borgmatic", ""},
	{Backup, "kopia", ""},
	{Backup, "bup", ""},
	{Backup, "rsnapshot", ""},
	{Backup, "duplicity", ""},
	{Backup, "duplicati*", ""},
	{Backup, "deja-dup*", ""},
	{Backup, "backintime*", ""},
	{Backup, "rdiff-backup", ""},
	{Backup, "timeshift*", ""},
	{Backup, "bacula-fd", ""},
	{Backup, "bareos-fd", ""},
	{Backup, "proxmox-backup-*", ""},
}

// interpreters run a script, which is the program.
var interpreters = []string{"python*", "pypy*", "perl*", "ruby*", "node", "nodejs", "php*", "gjs*", "bash", "dash", "sh", "zsh", "ksh*"}

// shells are the interpreters that a person types at.
var shells = []string{"bash", "dash", "sh", "zsh", "ksh*", "fish", "tcsh", "csh", "nu", "elvish", "xonsh"}

// boxes are many programs in one, which go by the name that they are called by.
var boxes = []string{"busybox", "toybox", "coreutils", "uutils"}

// fits reports whether a name fits one of the patterns. A pattern that is none fits nothing.
func fits(name string, patterns []string) bool {
	for _, p := range patterns {
		if ok, err := path.Match(p, name); err == nil && ok {
			return true
		}
	}
	return false
}

// classOf is the class of a program by the rules; Person: none fits.
func classOf(name string, arguments []string) Class {
	for _, r := range rules {
		if !fits(name, []string{r.name}) {
			continue
		}
		if r.argument == "" {
			return r.class
		}
		// A program that writes its own arguments may have put them all into one.
		for _, word := range strings.Fields(strings.Join(arguments, " ")) {
			if fits(path.Base(word), []string{r.argument}) {
				return r.class
			}
		}
	}
	return Person
}
