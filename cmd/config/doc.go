// Package config answers two questions for every vdfs process: where does this
// drive live on the machine (Paths), and what does its owner want (Config).
//
// The configuration is one small TOML file. A missing file means the defaults;
// an unknown key, a value of the wrong type or out of range is an error that
// names the key, because a setting that is silently ignored is worse than none.
// Only keys that change behaviour exist.
package config
