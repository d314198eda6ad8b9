package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// HomeVariable names the environment variable that puts one drive under one directory.
const HomeVariable = "VDFS_HOME"

// ErrNoHome means that neither VDFS_HOME nor HOME says where a drive's files belong.
var ErrNoHome = errors.New("neither VDFS_HOME nor HOME is set")

// Paths are the places of one drive on this machine. All are absolute.
// None of them needs to exist: asking for paths creates nothing.
type Paths struct {
	Config   string // the TOML file
	Data     string // index, content, log, endpoint staging; 0700
	Runtime  string // socket and process files, worthless after a reboot; 0700
	Drives   string // the owner's running drives, whatever their VDFS_HOME; 0700. "": no place for it
	Isolated bool   // VDFS_HOME chose them
}

// FindPaths reads the places from the environment: VDFS_HOME, else the XDG directories.
func FindPaths(getenv func(string) string) (Paths, error) {
	user, userErr := userPaths(getenv)
	home := getenv(HomeVariable)
	if home == "" {
		return user, userErr
	}
	home, err := filepath.Abs(home)
	if err != nil {
		return Paths{}, fmt.Errorf("resolve %s: %w", HomeVariable, err)
	}
	return Paths{
		Config:   filepath.Join(home, "config.toml"),
		Data:     filepath.Join(home, "data"),
		Runtime:  filepath.Join(home, "run"),
		Drives:   user.Drives,
		Isolated: true,
	}, nil
}

// userPaths are the places of the owner's default drive.
func userPaths(getenv func(string) string) (Paths, error) {
	home := getenv("HOME")
	if !filepath.IsAbs(home) {
		return Paths{}, ErrNoHome
	}
	data := filepath.Join(xdg(getenv, "XDG_DATA_HOME", filepath.Join(home, ".local", "share")), "vdfs")
	runtime := xdg(getenv, "XDG_RUNTIME_DIR", "")
	if runtime == "" {
		// No session manager (a server, su, cron): the data directory is owner-only too.
		runtime = filepath.Join(data, "run")
	} else {
		runtime = filepath.Join(runtime, "vdfs")
	}
	return Paths{
		Config:  filepath.Join(xdg(getenv, "XDG_CONFIG_HOME", filepath.Join(home, ".config")), "vdfs", "config.toml"),
		Data:    data,
		Runtime: runtime,
		Drives:  filepath.Join(runtime, "drives"),
	}, nil
}

// Variables are the names of the environment variables that choose a drive and are the same in every session.
func Variables() []string {
	return []string{HomeVariable, "HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"}
}

// Units is where the units of the owner's service manager lie.
func Units(getenv func(string) string) (string, error) {
	home := getenv("HOME")
	if !filepath.IsAbs(home) {
		return "", ErrNoHome
	}
	return filepath.Join(xdg(getenv, "XDG_CONFIG_HOME", filepath.Join(home, ".config")), "systemd", "user"), nil
}

// xdg reads one base directory; the specification says to ignore relative values.
func xdg(getenv func(string) string, name, fallback string) string {
	if v := getenv(name); filepath.IsAbs(v) {
		return v
	}
	return fallback
}

// Socket is the control socket of the drive's daemon.
func (p Paths) Socket() string { return filepath.Join(p.Runtime, "control.sock") }

// Log is the log file of a background daemon.
func (p Paths) Log() string { return filepath.Join(p.Data, "daemon.log") }

// Embedded is the directory that a drive without another storage keeps its files in.
func (p Paths) Embedded() string { return filepath.Join(p.Data, "home") }

// Staging is where the endpoint of one leg keeps temporary files and its trash.
func (p Paths) Staging(leg int64) string {
	return filepath.Join(p.Data, "endpoints", fmt.Sprint(leg))
}

// Create makes the data and runtime directories, open to their owner only.
func (p Paths) Create() error {
	for _, dir := range []string{p.Data, p.Runtime} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("create state directory: %w", err)
		}
		if err := os.Chmod(dir, 0o700); err != nil {
			return fmt.Errorf("protect state directory: %w", err)
		}
	}
	return nil
}
