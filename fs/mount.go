package fs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"vdfs/cache"
)

// ErrInUse: the mount has open files or working directories in it.
var ErrInUse = errors.New("mountpoint is in use")

const (
	// maxWrite is the largest request; the kernel allows no more without a sysctl.
	maxWrite = 1 << 20
	// maxBackground is how many readahead and writeback requests the kernel keeps under way.
	maxBackground = 64
	// maxInflight bounds the buffers of requests being served. Writers that wait for an endpoint hold one of maxWrite
	// each, so it must be far above what programs can block at a time, or they would stop the mount for everybody.
	maxInflight = 512 << 20
	// waitMax ends a wait for a listing.
	waitMax = 30 * time.Second
	// completeAfter is how long a file that is not all here must be open for writing before its completion is started.
	completeAfter = 200 * time.Millisecond
)

// Options are what a drive is mounted with.
type Options struct {
	// Mountpoint is an empty directory.
	Mountpoint string
	// Cache is the drive. It must stay open until the mount is gone.
	Cache *cache.Cache
	// Hydrator, Lister, States and Room are the ports; none may be nil.
	Hydrator Hydrator
	Lister   Lister
	States   States
	Room     Room
	// Logger receives what no program can be told; nil: discarded.
	Logger *slog.Logger
	// AllowOther lets other users in; as an ordinary user it needs user_allow_other in /etc/fuse.conf.
	AllowOther bool
	// ReadOnly refuses every change.
	ReadOnly bool
	// NoPassthrough has every read and write come through this process, also where the kernel could do them itself: as root,
	// on kernels from 6.9, with the cache on a disk that cache.CanPass.
	NoPassthrough bool
	// FSName is the source column of the mount table; "": vdfs.
	FSName string
	// Subtype is what follows "fuse." in the mount table; "": sshfs, by which file managers know that reading is slow
	// and do not thumbnail everything.
	Subtype string
	// Markers are names that are found at the root, as empty files, though nothing is there: by ".trackerignore" an indexer
	// knows to leave a directory alone, by ".nomedia" a gallery. They are in no listing and in no index.
	Markers []string
}

// Server is a mounted drive.
type Server struct {
	mountpoint string
	drive      *drive
	fuse       *fuse.Server
	served     chan struct{} // closed when the kernel lets go of the mount, or cannot be waited for
	end        func()        // closes served, once
	unmount    sync.Mutex    // one at a time
}

// elsewhereGrace is how long an unmounted drive is served on for mount namespaces (containers, services) that hold a
// copy of the mount. They would keep it for as long as they live; nobody who unmounts a drive means that.
const elsewhereGrace = 5 * time.Second

// Mount mounts the drive and serves it; it returns when the mount answers. A cache can be mounted once at a time. Errors are those of CheckMountpoint and of
// mounting. The caller runs Server.Run until the mount is gone, else remote changes never reach the kernel.
func Mount(opt Options) (*Server, error) {
	if opt.Cache == nil || opt.Hydrator == nil || opt.Lister == nil || opt.States == nil || opt.Room == nil {
		return nil, errors.New("mount: cache and ports must be given")
	}
	mountpoint, err := CheckMountpoint(opt.Mountpoint)
	if err != nil {
		return nil, err
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	d := newDrive(opt)
	// The kernel wants CAP_SYS_ADMIN for it.
	opt.NoPassthrough = opt.NoPassthrough || os.Geteuid() != 0 || !opt.Cache.CanPass()
	server, err := newServer(mark(d, opt.Markers), mountpoint, mountOptions(opt))
	if err != nil {
		d.notifier.feed.Close()
		return nil, fmt.Errorf("mount %s: %w", mountpoint, err)
	}
	d.ways.init(server, !opt.NoPassthrough)
	s := &Server{mountpoint: mountpoint, drive: d, fuse: server, served: make(chan struct{})}
	s.end = sync.OnceFunc(func() { close(s.served) })
	go func() {
		defer s.end()
		server.Serve()
		d.notifier.feed.Close() // before anybody can mount again: a cache has one feed
	}()
	if err := server.WaitMount(); err != nil {
		return nil, errors.Join(fmt.Errorf("mount %s: %w", mountpoint, err), s.Unmount(true))
	}
	return s, nil
}

// newServer mounts so that no child of this process inherits the connection. The library leaves the descriptor of a mount
// that it makes itself open over exec; with a child holding it the kernel would not notice the end of this process, and
// every program in the mount would hang instead of getting an error.
func newServer(d fuse.RawFileSystem, mountpoint string, opt *fuse.MountOptions) (*fuse.Server, error) {
	if !opt.DirectMountStrict {
		return fuse.NewServer(d, mountpoint, opt) // this runs the helper, and its descriptor is closed on exec
	}
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	server, err := fuse.NewServer(d, mountpoint, opt)
	if err != nil {
		return nil, err
	}
	if err := closeConnectionsOnExec(); err != nil {
		return nil, errors.Join(err, detach(mountpoint, true))
	}
	return server, nil
}

// closeConnectionsOnExec finds the descriptors by what they are, since the library does not tell.
func closeConnectionsOnExec() error {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		// One that is gone by now was that of the listing itself.
		if target, err := os.Readlink(filepath.Join(dir, e.Name())); err != nil || target != "/dev/fuse" {
			continue
		}
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			return fmt.Errorf("read %s: %w", dir, err)
		}
		syscall.CloseOnExec(fd)
	}
	return nil
}

func mountOptions(opt Options) *fuse.MountOptions {
	o := &fuse.MountOptions{
		AllowOther:              opt.AllowOther,
		MaxBackground:           maxBackground,
		MaxWrite:                maxWrite,
		MaxInflightRequestBytes: maxInflight,
		FsName:                  opt.FSName,
		Name:                    opt.Subtype,
		DirectMountStrict:       os.Geteuid() == 0,
		DirectMountFlags:        unix.MS_NOSUID | unix.MS_NODEV,
		Options:                 []string{"default_permissions"},
		// Pages are dropped when we say so. The kernel's own way, at every new mtime, drops them after the program's own writes too.
		ExplicitDataCacheControl: true,
		// Without the second the kernel asks for security.capability before every write.
		ExtraCapabilities: fuse.CAP_ATOMIC_O_TRUNC | fuse.CAP_HANDLE_KILLPRIV_V2,
		Logger:            slog.NewLogLogger(opt.Logger.Handler(), slog.LevelWarn),
	}
	if opt.NoPassthrough {
		o.DisabledCapabilities = fuse.CAP_PASSTHROUGH
	}
	if o.FsName == "" {
		o.FsName = "vdfs"
	}
	if o.Name == "" {
		o.Name = "sshfs"
	}
	switch {
	case opt.ReadOnly && o.DirectMountStrict:
		o.DirectMountFlags |= unix.MS_RDONLY
	case opt.ReadOnly:
		o.Options = append(o.Options, "ro")
	}
	return o
}

// Mountpoint is where the drive is mounted, made absolute.
func (s *Server) Mountpoint() string { return s.mountpoint }

// Run pushes what changes behind the kernel's back, until ctx ends or the mount is gone. It does not unmount.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-s.served:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := s.drive.notifier.run(ctx, s.fuse)
	select {
	case <-s.served:
		return nil
	default:
		return err
	}
}

// Done is closed when the mount is gone, whoever unmounted it, and every request is answered. After Unmount only mount
// namespaces that keep a copy of the mount may still wait for an answer then; the end of the process is theirs.
func (s *Server) Done() <-chan struct{} { return s.served }

// Unmount ends the mount and returns when every request is answered. If programs are using it, it is ErrInUse and
// nothing changes; lazy takes it out of the tree at once instead and leaves them their open files, so that Done is
// closed only when they are finished. A mount that is gone already is no error.
func (s *Server) Unmount(lazy bool) error {
	s.unmount.Lock()
	defer s.unmount.Unlock()
	select {
	case <-s.served:
		return nil
	default:
	}
	if err := detach(s.mountpoint, lazy); err != nil {
		return fmt.Errorf("unmount %s: %w", s.mountpoint, err)
	}
	if lazy {
		return nil
	}
	select {
	case <-s.served:
	case <-time.After(elsewhereGrace):
		s.drive.log.Warn("the mount lives on in another mount namespace, where it fails from now on", "mountpoint", s.mountpoint)
		s.end()
	}
	return nil
}

// detach unmounts, as root directly, else through the setuid helper.
func detach(mountpoint string, lazy bool) error {
	if os.Geteuid() == 0 {
		flags := unix.UMOUNT_NOFOLLOW
		if lazy {
			flags |= unix.MNT_DETACH
		}
		err := unix.Unmount(mountpoint, flags)
		if errors.Is(err, unix.EBUSY) {
			return ErrInUse
		}
		return err
	}
	args := []string{"-u", "--", mountpoint}
	if lazy {
		args = append([]string{"-z"}, args...)
	}
	helper, err := fusermount()
	if err != nil {
		return err
	}
	out, err := exec.Command(helper, args...).CombinedOutput()
	if err == nil {
		return nil
	}
	// The helper has one exit code for everything; of a mount of one's own that is still there it can only be this.
	if m, found := mountAt(mountpoint); found && m.isFuse() && !lazy {
		return fmt.Errorf("%w (%s)", ErrInUse, strings.TrimSpace(string(out)))
	}
	return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
}

func fusermount() (string, error) {
	path, err := exec.LookPath("fusermount3")
	if err != nil {
		path, err = exec.LookPath("fusermount")
	}
	if err != nil {
		return "", fmt.Errorf("find fusermount3 (package fuse3): %w", err)
	}
	return path, nil
}
