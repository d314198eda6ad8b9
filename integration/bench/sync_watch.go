package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// ownDir is what vdfs has for itself at the top of an endpoint.
const ownDir = ".vdfs"

// watch is another program that watches directories.
type watch struct {
	fd   int
	dirs map[int32]string
}

// happening is something that happened to a name.
type happening struct {
	mask, cookie uint32
	path         string // where the directory was when it began to be watched
}

// watchDirs watches the directories given, and for each of the trees the directories in it.
func watchDirs(dirs []string, trees ...string) (w *watch, err error) {
	for _, t := range trees {
		err := filepath.WalkDir(t, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("watch %s: %w", t, err)
		}
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	w = &watch{fd: fd, dirs: map[int32]string{}}
	const all = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB
	for _, dir := range dirs {
		wd, err := unix.InotifyAddWatch(fd, dir, all|unix.IN_ONLYDIR)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("watch %s (see the sysctl fs.inotify.max_user_watches): %w", dir, err), w.close())
		}
		w.dirs[int32(wd)] = dir
	}
	return w, nil
}

func (w *watch) close() error { return unix.Close(w.fd) }

// wait returns what has happened since the last time, after at most the limit. Nothing within it is no error.
func (w *watch) wait(limit time.Duration) ([]happening, error) {
	poll := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}
	if _, err := unix.Poll(poll, int(limit.Milliseconds())); err != nil && !errors.Is(err, unix.EINTR) {
		return nil, fmt.Errorf("wait for changes: %w", err)
	}
	var out []happening
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Read(w.fd, buf)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read changes: %w", err)
		}
		for part := buf[:n]; len(part) >= unix.SizeofInotifyEvent; {
			field := func(i int) uint32 { return binary.NativeEndian.Uint32(part[4*i:]) }
			wd, h, end := int32(field(0)), happening{mask: field(1), cookie: field(2)}, unix.SizeofInotifyEvent+int(field(3))
			if h.mask&unix.IN_Q_OVERFLOW != 0 {
				return nil, errors.New("read changes: more happened than can be counted")
			}
			name := string(bytes.TrimRight(part[unix.SizeofInotifyEvent:end], "\x00"))
			if h.path = filepath.Join(w.dirs[wd], name); name != ownDir {
				out = append(out, h)
			}
			part = part[end:]
		}
	}
}

// countOperations counts what made the things happen: both ends of a rename are one.
func countOperations(all []happening) int {
	moves, others := map[uint32]bool{}, 0
	for _, h := range all {
		if h.mask&unix.IN_MOVE != 0 {
			moves[h.cookie] = true
		} else {
			others++
		}
	}
	return len(moves) + others
}
