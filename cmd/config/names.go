package config

import "path"

// temporaries are the names that programs give to locks and half-written
// files: sending them would only make noise at every other machine.
var temporaries = []string{
	".~lock.*#", "~$*", ".goutputstream-*", "*.swp", "*.swo", "*.swx", "4913", ".#*", "*~",
	".fuse_hidden*", ".nfs*", "*.part", "*.crdownload", ".Trash-*",
}

// LocalOnly reports whether a file of this name stays on this machine: editors'
// locks and temporaries, unfinished downloads, the desktop's trash.
func LocalOnly(name string) bool {
	for _, pattern := range temporaries {
		if ok, err := path.Match(pattern, name); err == nil && ok {
			return true
		}
	}
	return false
}
