package daemon

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"vdfs/cmd/config"
	"vdfs/cmd/control"
	fuse "vdfs/fs"
)

// refuse is an error that says, in one line, why nothing was done.
func refuse(code control.Code, format string, args ...any) error {
	return &control.Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// resolve makes a path absolute and free of symbolic links, as far as it exists:
// what does not exist yet is kept as it was written.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("resolve %s: %w", path, err)
	}
	rest := ""
	for dir := path; ; dir = filepath.Dir(dir) {
		real, err := filepath.EvalSymlinks(dir)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		if dir == "/" || !(errors.Is(err, fs.ErrNotExist) || fuse.Deserted(err)) {
			return "", fmt.Errorf("resolve %s: %w", path, err)
		}
		rest = filepath.Join(filepath.Base(dir), rest)
	}
}

// checkMountpoint resolves the directory to mount on and refuses it unless it is
// an empty directory that nothing is mounted on. What a dead daemon left there is taken away first.
func checkMountpoint(path string) (string, error) {
	if path == "" {
		return "", refuse(control.Usage, "mountpoint is empty")
	}
	dir, err := fuse.CheckMountpoint(path)
	if errors.Is(err, fuse.ErrStaleMount) {
		if _, err := fuse.Recover(path); err != nil {
			return "", err
		}
		dir, err = fuse.CheckMountpoint(path)
	}
	switch {
	case errors.Is(err, fuse.ErrMissing):
		return "", refuse(control.Usage, "mountpoint %s does not exist (create it with mkdir)", path)
	case errors.Is(err, fuse.ErrNotDirectory):
		return "", refuse(control.Usage, "mountpoint %s is not a directory", path)
	case errors.Is(err, fuse.ErrNotEmpty):
		return "", refuse(control.Usage, "mountpoint %s is not empty", path)
	case errors.Is(err, fuse.ErrMounted):
		return "", alreadyMounted(path)
	}
	return dir, err
}

// alreadyMounted tells a drive that is mounted already from something else in the way.
func alreadyMounted(path string) error {
	dir, err := resolve(path)
	if err != nil {
		return err
	}
	m, err := mountAt(dir)
	if err != nil {
		return err
	}
	if m == nil || m.ours() {
		return refuse(control.Failed, "%s is already mounted by vdfs", dir)
	}
	return refuse(control.Usage, "%s is already a mountpoint (%s, type %s)", dir, m.source, m.kind)
}

// RecoverMount takes away what a daemon that is gone left mounted at path and reports whether there was such a mount.
func RecoverMount(path string) (bool, error) { return fuse.Recover(path) }

// Resolve makes a path absolute and free of symbolic links, as far as it exists.
func Resolve(path string) (string, error) { return resolve(path) }

// EndpointPath is the directory that a person means by an endpoint: /path, dir:/path or a relative path with a slash. It is
// made absolute and not looked at. Other storages are refused by name.
func EndpointPath(endpoint string) (string, error) {
	path, isDir := strings.CutPrefix(endpoint, "dir:")
	if !isDir {
		if scheme, _, ok := strings.Cut(endpoint, ":"); ok && !strings.Contains(scheme, "/") {
			return "", refuse(control.Usage, "endpoint %q: storages of type %q are not supported by this version", scheme+":…", scheme)
		}
	}
	if path == "" {
		return "", refuse(control.Usage, "endpoint %q names no directory", endpoint)
	}
	return filepath.Abs(path)
}

// endpointDir is EndpointPath free of symbolic links, unless its disk does not answer.
func endpointDir(endpoint string) (string, error) {
	path, err := EndpointPath(endpoint)
	if err != nil || !answers(path, answerMax) {
		return path, err
	}
	return resolve(path)
}

const (
	// answerMax is how long a directory may take to say whether it is there: on a dead network disk a look may never
	// return. The drive works without its endpoints, so nothing is worth a longer wait.
	answerMax = 3 * time.Second
	// firstAnswer is the same for one that is to become an endpoint: a disk may have to start turning.
	firstAnswer = 15 * time.Second
)

// looks are the looks that have not returned, by path, so that a dead disk is waited for once.
var looks struct {
	sync.Mutex
	under map[string]*glance
}

type glance struct {
	since time.Time
	said  chan struct{}
}

// answers reports whether the file system of a path says anything about it within the limit.
func answers(path string, limit time.Duration) bool {
	g := look(path)
	timeout := time.NewTimer(limit - time.Since(g.since))
	defer timeout.Stop()
	select {
	case <-g.said:
		return true
	case <-timeout.C:
		return false
	}
}

// look joins the look at a path that is under way, or begins one.
func look(path string) *glance {
	looks.Lock()
	defer looks.Unlock()
	if g := looks.under[path]; g != nil {
		return g
	}
	g := &glance{time.Now(), make(chan struct{})}
	if looks.under == nil {
		looks.under = map[string]*glance{}
	}
	looks.under[path] = g
	go func() {
		_, _ = os.Stat(path) // whatever the answer is
		looks.Lock()
		defer looks.Unlock()
		delete(looks.under, path)
		close(g.said)
	}()
	return g
}

// usableEndpoint refuses a directory that cannot serve as an endpoint.
func usableEndpoint(dir string) error {
	if !answers(dir, firstAnswer) {
		return refuse(control.Unreachable, "endpoint %s does not answer", dir)
	}
	fi, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return refuse(control.Unreachable, "endpoint %s does not exist", dir)
	case errors.Is(err, fs.ErrPermission):
		return refuse(control.Unreachable, "endpoint %s cannot be read: permission denied", dir)
	case err != nil:
		return refuse(control.Unreachable, "endpoint %s: %v", dir, err)
	case !fi.IsDir():
		return refuse(control.Failed, "endpoint %s is not a directory", dir)
	}
	d, err := os.Open(dir)
	if err == nil {
		_, err = d.Readdirnames(1)
		err = errors.Join(ignore(err, io.EOF), d.Close())
	}
	if errors.Is(err, fs.ErrPermission) {
		return refuse(control.Unreachable, "endpoint %s cannot be read: permission denied", dir)
	}
	if err != nil {
		return refuse(control.Unreachable, "endpoint %s cannot be read: %v", dir, err)
	}
	return nil
}

func ignore(err, target error) error {
	if errors.Is(err, target) {
		return nil
	}
	return err
}

// stateDirs are the directories vdfs itself writes to for a drive, resolved.
func stateDirs(p config.Paths, c config.Config) ([]string, error) {
	var dirs []string
	for _, dir := range []string{p.Data, p.Runtime, c.CacheDir(p)} {
		real, err := resolve(dir)
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, real)
	}
	return dirs, nil
}

// separate refuses places that contain one another: the drive would show itself,
// or sync its own state. All paths are resolved. embedded is the one directory
// inside the state that may be an endpoint.
func separate(mountpoint, endpoint, embedded string, state []string) error {
	return apart("endpoint", mountpoint, endpoint, embedded, state)
}

// apart is separate for another directory than an endpoint, which it calls what.
func apart(what, mountpoint, endpoint, embedded string, state []string) error {
	for _, dir := range state {
		switch {
		case contains(dir, mountpoint):
			return refuse(control.Usage, "mountpoint %s is inside the state directory %s", mountpoint, dir)
		case contains(mountpoint, dir):
			return refuse(control.Usage, "the state directory %s is inside the mountpoint %s", dir, mountpoint)
		}
	}
	if endpoint == "" || endpoint == embedded {
		return nil
	}
	contains := contains
	if !answers(endpoint, answerMax) {
		contains = below // its name has to do
	}
	var within []string
	if contains(endpoint, mountpoint) {
		within = append(within, "the mountpoint "+mountpoint)
	}
	for _, dir := range state {
		if contains(endpoint, dir) {
			within = append(within, "the state directory "+dir)
			break
		}
	}
	if len(within) > 0 {
		return refuse(control.Usage, "%s %s contains %s: choose a directory beside them", what, endpoint, strings.Join(within, " and "))
	}
	if contains(mountpoint, endpoint) {
		return refuse(control.Usage, "%s %s is inside the mountpoint %s", what, endpoint, mountpoint)
	}
	for _, dir := range state {
		if contains(dir, endpoint) {
			return refuse(control.Usage, "%s %s is inside the state directory %s", what, endpoint, dir)
		}
	}
	return nil
}

// contains reports whether inner is outer or below it, by name or, where both
// exist, by identity (a bind mount has two names).
func contains(outer, inner string) bool {
	if below(outer, inner) {
		return true
	}
	top, err := os.Stat(outer)
	if err != nil {
		return false
	}
	for dir := inner; ; dir = filepath.Dir(dir) {
		if fi, err := os.Stat(dir); err == nil && os.SameFile(top, fi) {
			return true
		}
		if dir == "/" {
			return false
		}
	}
}

func below(outer, inner string) bool {
	return inner == outer || outer == "/" || strings.HasPrefix(inner, outer+"/")
}

// fuseReady refuses where this machine cannot mount, naming what is missing.
func fuseReady() error {
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrPermission):
		// The helper for ordinary users opens it with their rights too.
		return refuse(control.Failed, "/dev/fuse cannot be opened by this user: permission denied (the package fuse3 and udev set it to mode 666)")
	case err != nil:
		return refuse(control.Failed, "this machine has no usable /dev/fuse (%v): install the package fuse3 and load the kernel module (modprobe fuse)", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("close /dev/fuse: %w", err)
	}
	if os.Geteuid() == 0 {
		return nil
	}
	if _, err := exec.LookPath("fusermount3"); err != nil {
		return refuse(control.Failed, "fusermount3 is missing: install the package fuse3")
	}
	return nil
}
