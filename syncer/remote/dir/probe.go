package dir

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vdfs/syncer/remote"
)

// abilities is what the file system was seen to do.
type abilities struct {
	exchange  bool // RENAME_EXCHANGE
	noreplace bool // RENAME_NOREPLACE
	tmpfile   bool // O_TMPFILE and giving it a name
	hardlink  bool
	keys      bool // handles, or inode and birth time, identify files
	write     bool
}

// prepare finds a staging directory, probes the file system in it and derives
// Caps. r is the proved root.
func (d *Endpoint) prepare(r dirFD, most abilities) error {
	magic, err := fsMagic(r.fd)
	if err != nil {
		return fail("probe file system", err)
	}
	d.can.keys = slices.Contains(keepsHandles, magic)
	// A directory of a lower layer of overlayfs has another birth time once something in it was written.
	idents := d.can.keys && magic != unix.OVERLAYFS_SUPER_MAGIC
	d.caps = remote.Caps{
		UniqueNames: true, EmptyDirs: true, Ranges: true, PinnedRead: remote.Window, Proof: remote.ProofRead, Parallel: 32,
		// As a source it shows all of these; probe corrects them for writing.
		Symlinks: true, Perm: remote.PermFull, MtimeGrain: 1,
		Idents: idents, Push: !slices.Contains(tellsNothing, magic),
		Names: remote.Names{MaxBytes: 255, Forbidden: "/\x00", Fold: folding(r.fd)},
	}
	err = unix.Faccessat(r.fd, ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	if err == nil {
		err = d.stage(r)
	}
	if err != nil {
		// A directory that cannot be written is still a source.
		d.log.Info("directory is used for reading only", "error", err)
		return nil
	}
	if err := d.prove(r, most); err != nil {
		return err
	}
	d.can.write = true
	d.caps.Together = putsMax
	d.caps.Trash, d.caps.Versions, d.caps.ListTrash = true, true, true
	d.caps.Rename, d.caps.Remove, d.caps.DirMove, d.caps.Gap = remote.Window, remote.Window, remote.Atomic, 100*time.Microsecond
	d.caps.Create, d.caps.Replace = remote.Window, remote.Window
	if d.can.noreplace || d.can.hardlink {
		d.caps.Create = remote.Atomic
	}
	if d.can.exchange {
		d.caps.Replace = remote.Atomic
	}
	d.caps.AtomicPut = d.can.exchange || d.can.hardlink
	return nil
}

// prove tidies the staging directory and probes the file system there.
func (d *Endpoint) prove(r dirFD, most abilities) error {
	s, err := d.openStaging(r, tempDir)
	if err != nil {
		return fail("open staging directory", err)
	}
	defer s.close()
	// Only sessions of this endpoint lock it, each for a moment.
	if err := retry(func() error { return unix.Flock(s.fd, unix.LOCK_EX) }); err != nil {
		d.log.Debug("staging directory not locked", "error", err)
	}
	if err := sweep(s.fd); err != nil {
		return fail("remove leftovers", err)
	}
	if err := d.lowerAll(r, s.fd); err != nil {
		return fail("put modes back", err)
	}
	if err := d.probe(s.fd, most); err != nil {
		return fail("probe file system", err)
	}
	return nil
}

// folding reports how the root compares names; directories made below inherit it.
func folding(fd int) remote.Fold {
	flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
	if err == nil && flags&fsCasefoldFlag != 0 {
		return remote.FoldUnicode
	}
	magic, err := fsMagic(fd)
	if err == nil && (magic == unix.MSDOS_SUPER_MAGIC || magic == unix.EXFAT_SUPER_MAGIC) {
		return remote.FoldUnicode
	}
	return remote.FoldNone
}

// probe tries everything on two files in the staging directory.
func (d *Endpoint) probe(at int, most abilities) error {
	const a, b, l = "probe-a", "probe-b", "probe-l"
	clean := func() error {
		for _, name := range []string{a, b, l} {
			if err := unix.Unlinkat(at, name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
				return err
			}
		}
		return nil
	}
	if err := clean(); err != nil {
		return err
	}
	for _, name := range []string{a, b} {
		if err := d.probeAttr(at, name); err != nil {
			return err
		}
	}
	d.can.exchange = most.exchange && unix.Renameat2(at, a, at, b, unix.RENAME_EXCHANGE) == nil
	d.can.noreplace = most.noreplace && errors.Is(unix.Renameat2(at, a, at, b, unix.RENAME_NOREPLACE), unix.EEXIST)
	d.can.hardlink = most.hardlink && unix.Linkat(at, a, at, l, 0) == nil
	if err := clean(); err != nil {
		return err
	}
	d.can.tmpfile = most.tmpfile && d.can.hardlink && probeTmpfile(at, a)
	d.caps.Symlinks = unix.Symlinkat("target", at, l) == nil
	return clean()
}

// probeAttr makes a file and sees which mtime and mode it keeps.
func (d *Endpoint) probeAttr(at int, name string) error {
	fd, err := unix.Openat(at, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	when := time.Date(2001, 2, 3, 4, 5, 7, 123456789, time.UTC)
	if err := setTimes(fd, when); err == nil {
		f, err := d.factsAt(fd, "")
		if err != nil {
			return err
		}
		d.caps.MtimeGrain = grain(when, f.mtime)
	}
	d.caps.Perm = remote.PermFull
	for _, mode := range []uint32{0o711, 0o640} {
		err := unix.Fchmod(fd, mode)
		f, ferr := d.factsAt(fd, "")
		if ferr != nil {
			return ferr
		}
		if err != nil || f.mode&0o777 != mode {
			d.caps.Perm = remote.PermNone
		}
	}
	return nil
}

// grain is the coarsest usual step at which when was stored as ns.
func grain(when time.Time, ns int64) time.Duration {
	for _, g := range []time.Duration{1, 100, time.Microsecond, time.Millisecond, time.Second, 2 * time.Second} {
		if when.Truncate(g).UnixNano() == ns {
			return g
		}
	}
	return 0
}

func probeTmpfile(at int, name string) bool {
	fd, err := unix.Openat(at, ".", unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.Linkat(unix.AT_FDCWD, procPath(fd), at, name, unix.AT_SYMLINK_FOLLOW) == nil
}

// currentUmask reads the mask without changing it, which would race with the
// whole process.
func currentUmask() (uint32, error) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("read umask: %w", err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "Umask:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(v), 8, 32)
			if err != nil {
				return 0, fmt.Errorf("read umask: %w", err)
			}
			return uint32(n), nil
		}
	}
	return 0, errors.New("read umask: not in /proc/self/status")
}
