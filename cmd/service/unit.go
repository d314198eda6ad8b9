package service

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"vdfs/cmd/control"
)

// Unit is what the service manager is told about one drive.
type Unit struct {
	Name       string   // as Name has it
	Mountpoint string   // for people to see
	Program    string   // absolute path of this program
	Args       []string // that make it the daemon of the drive
	Set        []string // NAME=value of its environment
	Unset      []string // names of what must not be in its environment
}

// Name is the name of the unit of the drive whose state home holds; "" is the default drive. It needs no quoting in a shell.
func Name(home string) string {
	if home == "" {
		return "vdfs.service"
	}
	sum := sha256.Sum256([]byte(home))
	return fmt.Sprintf("vdfs-%s-%s.service", plain(filepath.Base(home)), hex.EncodeToString(sum[:4]))
}

// plain is a name with nothing in it that a unit's name or a shell makes something of.
func plain(name string) string {
	const longest = 40
	plain := strings.Map(func(r rune) rune {
		if r == '_' || r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return r
		}
		return '-'
	}, name)
	return strings.Trim(plain[:min(len(plain), longest)], "-")
}

// mark is the first line of every unit file of ours: no other file is overwritten or removed.
const mark = "# Written by `vdfs service install`. Changes belong in a drop-in: systemctl --user edit "

// text is the unit file. Each of its lines that is not plain has a reason:
//   - It starts without a network: endpoints may be away.
//   - A start may have to mend what a power cut left, so it has no limit. A stop waits for no upload, and a daemon that is
//     killed instead loses nothing.
//   - Only the daemon is signalled: the guard of its mount (see package daemon) has to outlive it, and ends by itself.
//   - No status keeps it from being started again: a Go program that crashes ends with 2 as a wrong command line does. Five
//     failures within a minute end the trying.
//   - Nothing is confined: a mount in a name space of the daemon's own would be seen by nobody else, and without new
//     privileges an ordinary user cannot mount.
func (u Unit) text() (string, error) {
	if err := u.check(); err != nil {
		return "", err
	}
	exec := []string{quote(u.Program, "%", "%%")} // the program's own name has no variables in it
	for _, arg := range u.Args {
		exec = append(exec, quote(arg, "%", "%%", "$", "$$"))
	}
	var environment strings.Builder
	for _, entry := range u.Set {
		fmt.Fprintf(&environment, "Environment=%s\n", quote(entry, "%", "%%"))
	}
	if len(u.Unset) > 0 {
		fmt.Fprintf(&environment, "UnsetEnvironment=%s\n", strings.Join(u.Unset, " "))
	}
	return mark + u.Name + fmt.Sprintf(`
[Unit]
Description=vdfs drive "%s"
StartLimitIntervalSec=60
StartLimitBurst=5

[Service]
Type=notify
ExecStart=%s
%sWorkingDirectory=/
Restart=on-failure
RestartSec=1
TimeoutStartSec=infinity
TimeoutStopSec=20
KillMode=process

[Install]
WantedBy=default.target
`, strings.ReplaceAll(u.Mountpoint, "%", "%%"), strings.Join(exec, " "), environment.String()), nil
}

// check refuses what a unit file cannot hold.
func (u Unit) check() error {
	for _, word := range append(append([]string{u.Program, u.Mountpoint}, u.Args...), u.Set...) {
		if !utf8.ValidString(word) || strings.ContainsFunc(word, unicode.IsControl) {
			return unfit(word)
		}
	}
	if strings.ContainsAny(u.Program, `"'\`) {
		return unfit(u.Program)
	}
	return nil
}

func unfit(word string) error {
	return &control.Error{Code: control.Usage, Message: fmt.Sprintf("systemd cannot take the name %q: choose one without control characters and the like", word)}
}

// quote makes one word of a unit file of any text; replace are the characters with a meaning there besides.
func quote(word string, replace ...string) string {
	return `"` + strings.NewReplacer(append([]string{`\`, `\\`, `"`, `\"`}, replace...)...).Replace(word) + `"`
}
