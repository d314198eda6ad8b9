package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// maxLog is the size at which a log file is put aside. One old file is kept.
const maxLog = 8 << 20

// logFile is an append-only file of bounded size. The process's standard error
// follows it, so that a crash leaves its last words there.
type logFile struct {
	mu   sync.Mutex
	path string
	file *os.File
	size int64
	max  int64
}

// openLog opens or makes the log file, readable by its owner only.
func openLog(path string, max int64) (*logFile, error) {
	l := &logFile{path: path, max: max}
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *logFile) open() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	fi, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("open log: %w", err), f.Close())
	}
	l.file, l.size = f, fi.Size()
	return nil
}

// Write appends one record. A record is never split between two files.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size > 0 && l.size+int64(len(p)) > l.max {
		if err := l.rotate(); err != nil {
			return 0, err
		}
	}
	n, err := l.file.Write(p)
	l.size += int64(n)
	return n, err
}

// rotate puts the file aside and begins a new one. The old descriptor is closed
// only when the new one is there, so a failure loses no record.
func (l *logFile) rotate() error {
	if err := os.Rename(l.path, l.path+".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("rotate log: %w", err)
	}
	old := l.file
	if err := l.open(); err != nil {
		return err
	}
	follows := sameFile(old, os.Stderr)
	if err := old.Close(); err != nil {
		return fmt.Errorf("rotate log: %w", err)
	}
	if follows {
		return l.takeStderr()
	}
	return nil
}

// takeStderr lets the process's standard error go to the file.
func (l *logFile) takeStderr() error {
	if err := unix.Dup3(int(l.file.Fd()), int(os.Stderr.Fd()), 0); err != nil {
		return fmt.Errorf("redirect standard error: %w", err)
	}
	return nil
}

func sameFile(a, b *os.File) bool {
	x, err := a.Stat()
	if err != nil {
		return false
	}
	y, err := b.Stat()
	return err == nil && os.SameFile(x, y)
}

// Close ends the file.
func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}
