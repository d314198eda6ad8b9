package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// longest is what fits into sun_path with its final NUL.
const longest = 107

// dial connects to the socket at path, however long the path is.
func dial(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	if len(path) <= longest {
		return d.DialContext(ctx, "unix", path)
	}
	dir, short, err := shorten(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return d.DialContext(ctx, "unix", short)
}

// Listen makes the control socket, open to its owner only. A socket file left by a
// process that is gone is replaced; a live one is an error that wraps
// unix.EADDRINUSE. The caller serves it and closes it, which removes the file.
func Listen(path string) (net.Listener, error) {
	if c, err := dial(context.Background(), path); err == nil {
		c.Close()
		return nil, fmt.Errorf("listen on %s: %w", path, unix.EADDRINUSE)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	name := path
	if len(path) > longest {
		dir, short, err := shorten(path)
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		name = short
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	// The short name ends with this call: remove the file by its real one.
	l.SetUnlinkOnClose(false)
	// The directory is the owner's only, so nobody came in before this.
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("protect control socket: %w", err)
	}
	return &listener{UnixListener: l, path: path}, nil
}

// listener removes its file when it is closed.
type listener struct {
	*net.UnixListener
	path string
}

// Close ends the listener and removes the socket file.
func (l *listener) Close() error {
	err := l.UnixListener.Close()
	if rm := os.Remove(l.path); rm != nil && !errors.Is(rm, os.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	return err
}

// shorten names the socket through an open descriptor of its directory. The
// name is good until the directory is closed.
func shorten(path string) (*os.File, string, error) {
	dir, err := os.OpenFile(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, "", fmt.Errorf("open socket directory: %w", err)
	}
	return dir, filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), filepath.Base(path)), nil
}
