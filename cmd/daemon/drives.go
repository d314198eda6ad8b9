package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"vdfs/cmd/control"
)

// Running is a drive that is, or was when its daemon crashed, mounted by this
// user: what a command needs to find the daemon by a path. It is only a hint; a
// stale one costs a refused connection.
type Running struct {
	Mountpoint control.Path `json:"mountpoint"`
	Socket     control.Path `json:"socket"`
	PID        int          `json:"pid"`
}

// RunningDrives lists the user's drives recorded in dir. What cannot be read is left out.
func RunningDrives(dir string) []Running {
	if dir == "" {
		return nil
	}
	files, err := filepath.Glob(filepath.Join(escapeGlob(dir), "*.json"))
	if err != nil {
		return nil
	}
	var drives []Running
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		var r Running
		if json.Unmarshal(data, &r) == nil && r.Mountpoint != "" && r.Socket != "" {
			drives = append(drives, r)
		}
	}
	return drives
}

func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(s)
}

// record notes a running drive in dir; dir "" is no place for it.
func record(dir string, r Running) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("record running drive: %w", err)
	}
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("record running drive: %w", err)
	}
	file := recordFile(dir, r)
	temp := fmt.Sprintf("%s.%d", file, r.PID)
	if err := os.WriteFile(temp, data, 0o600); err != nil {
		return fmt.Errorf("record running drive: %w", err)
	}
	if err := os.Rename(temp, file); err != nil {
		return errors.Join(fmt.Errorf("record running drive: %w", err), os.Remove(temp))
	}
	return nil
}

// forget takes the record back.
func forget(dir string, r Running) error {
	if dir == "" {
		return nil
	}
	if err := os.Remove(recordFile(dir, r)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget running drive: %w", err)
	}
	return nil
}

func recordFile(dir string, r Running) string {
	sum := sha256.Sum256([]byte(r.Mountpoint))
	return filepath.Join(dir, hex.EncodeToString(sum[:8])+".json")
}
