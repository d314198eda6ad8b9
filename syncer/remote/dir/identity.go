package dir

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// keepsHandles lists the file systems whose handles, or else inode number and
// birth time, name one file for as long as it lives, across mounts too. On
// others (FUSE, FAT, most network mounts) numbers are made up per mount.
var keepsHandles = []int64{
	unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC,
	unix.TMPFS_MAGIC, unix.OVERLAYFS_SUPER_MAGIC, bcachefsMagic, zfsMagic,
}

// tellsNothing lists the file systems that others can change without inotify
// telling us.
var tellsNothing = []int64{
	unix.NFS_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC,
	unix.V9FS_MAGIC, unix.CEPH_SUPER_MAGIC, unix.AFS_SUPER_MAGIC, unix.AFS_FS_MAGIC, unix.CODA_SUPER_MAGIC, unix.NCP_SUPER_MAGIC,
}

const (
	bcachefsMagic = 0xca451a4e
	zfsMagic      = 0x2fc12fc1
	// fsIocGetFSUUID is _IOR(0x15, 0, struct fsuuid2) of linux/fs.h, from 6.9 on.
	fsIocGetFSUUID = 0x80111500
	fsCasefoldFlag = 0x40000000
)

func fsMagic(fd int) (int64, error) {
	var fs unix.Statfs_t
	err := retry(func() error { return unix.Fstatfs(fd, &fs) })
	return int64(fs.Type) & 0xffffffff, err
}

// identify describes a root by all that could tell it from another one:
// directory (k), file system (u: UUID, f: id of statfs) and device (d).
func identify(fd int, r *rootFacts) (string, error) {
	var fs unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(fd, &fs) }); err != nil {
		return "", err
	}
	key := fmt.Sprintf("i%d", r.ino)
	if r.handle != "" && slices.Contains(keepsHandles, int64(fs.Type)&0xffffffff) {
		key = r.handle
	}
	var uuid struct {
		size uint8
		data [16]byte
	}
	// Without the ioctl the field stays empty and the others decide.
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), fsIocGetFSUUID, uintptr(unsafe.Pointer(&uuid)))
	id := ""
	if uuid.size > 0 && int(uuid.size) <= len(uuid.data) {
		id = hex.EncodeToString(uuid.data[:uuid.size])
	}
	fsid := ""
	if fs.Fsid.Val != [2]int32{} {
		fsid = fmt.Sprintf("%08x%08x", uint32(fs.Fsid.Val[0]), uint32(fs.Fsid.Val[1]))
	}
	return fmt.Sprintf("k=%s;u=%s;f=%s;d=%x", key, id, fsid, r.dev), nil
}

// SameRoot reports whether two identities (Status.Epoch of this package) name
// one directory. The strongest thing that both know of their file system
// decides: its UUID, else its id, else the device number, which may change when
// the machine starts again.
func SameRoot(a, b string) bool {
	x, y := fields(a), fields(b)
	if x["k"] == "" || x["k"] != y["k"] {
		return false
	}
	for _, f := range []string{"u", "f"} {
		if x[f] != "" && y[f] != "" {
			return x[f] == y[f]
		}
	}
	return x["d"] == y["d"]
}

func fields(identity string) map[string]string {
	out := map[string]string{}
	for _, f := range strings.Split(identity, ";") {
		name, value, _ := strings.Cut(f, "=")
		out[name] = value
	}
	return out
}
