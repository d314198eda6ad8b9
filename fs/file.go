package fs

import (
	"context"
	"errors"
	"io"
	"math"
	"os"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"vdfs/cache"
)

const (
	// spliceMin is the read from which on moving pages through a pipe is cheaper than copying them.
	spliceMin = 64 << 10
	// copyMax bounds one copy_file_range request, so that it can be interrupted; programs go on where it ended.
	copyMax = 32 << 20
	copyBuf = 1 << 20
)

// Read waits only for its own range.
func (d *drive) Read(cancel <-chan struct{}, input *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	f := d.files.get(input.Fh)
	if f == nil {
		return nil, fuse.EBADF
	}
	d.tell(f)
	if !f.read.Load() && !f.read.Swap(true) {
		d.cache.TouchAtime(f.Ino())
	}
	off := int64(input.Offset)
	if len(buf) >= spliceMin {
		if fd := f.Fd(); fd != nil {
			return fuse.ReadResultFd(fd.Fd(), off, len(buf)), fuse.OK
		}
	}
	n, err := f.ReadAt(buf, off)
	if f.partial || errors.Is(err, cache.ErrNotLocal) {
		n, err = d.afterRead(waiting(cancel, &input.InHeader), f, buf, off, n, err)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, d.fail("read", input.NodeId, err)
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// readAt reads, and fetches what is not here.
func (d *drive) readAt(ctx context.Context, f *file, buf []byte, off int64) (int, error) {
	n, err := f.ReadAt(buf, off)
	return d.afterRead(ctx, f, buf, off, n, err)
}

// afterRead is the other half of readAt, for what came of reading: of a file that is here there is nothing to do.
func (d *drive) afterRead(ctx context.Context, f *file, buf []byte, off int64, n int, err error) (int, error) {
	switch {
	case errors.Is(err, cache.ErrNotLocal):
		return d.fetch(ctx, f, buf, off)
	case f.partial:
		d.hydrator.Ahead(waiter(ctx), f.Ino(), f.Version(), off, int64(n))
	}
	return n, err
}

// fetch reads what is not here. On a full disk it is read without being kept.
func (d *drive) fetch(ctx context.Context, f *file, buf []byte, off int64) (int, error) {
	version := f.Version()
	err := d.hydrator.Ensure(ctx, waiter(ctx), f.Ino(), off, int64(len(buf)))
	if err == nil {
		return f.ReadAt(buf, off)
	}
	if !errors.Is(err, cache.ErrNoSpace) {
		return 0, err
	}
	n, err := d.hydrator.Through(ctx, waiter(ctx), f.Ino(), version, buf, off)
	if f.Version() != version { // somebody has written to it since, so it is all here
		return f.ReadAt(buf, off)
	}
	return n, err
}

// withBytes runs an operation on a handle that may need the whole file, or room for so many bytes, and again when it does.
func (d *drive) withBytes(ctx context.Context, f *file, need int64, op func() error) error {
	f.stop()
	return d.completed(ctx, f.Ino(), need, op)
}

// pace has a program wait that writes more than can be sent.
func (d *drive) pace(cancel <-chan struct{}, h *fuse.InHeader, n int64) {
	if d.room.Paced() {
		d.room.Pace(waiting(cancel, h), n)
	}
}

// Write waits for the whole file if some of it is missing.
func (d *drive) Write(cancel <-chan struct{}, input *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	f := d.files.get(input.Fh)
	if f == nil {
		return 0, fuse.EBADF
	}
	if input.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0 {
		if err := d.killSetid(f); err != nil {
			return 0, d.fail("write", input.NodeId, err)
		}
	}
	d.tell(f)
	if input.WriteFlags&fuse.WRITE_CACHE == 0 { // else it is no program that would wait
		d.pace(cancel, &input.InHeader, int64(len(data)))
	}
	n, err := f.put(input, data)
	if n == 0 && (errors.Is(err, cache.ErrNotLocal) || errors.Is(err, cache.ErrNoSpace)) {
		err = d.withBytes(waiting(cancel, &input.InHeader), f, int64(len(data)), func() error {
			if n, err = f.put(input, data); n > 0 {
				return nil
			}
			return err
		})
	}
	if err != nil && n == 0 {
		return 0, d.fail("write", input.NodeId, err)
	}
	return uint32(n), fuse.OK // short: the program gets the error with the rest
}

// put writes where the kernel says. What comes back from mapped pages has its own place even on an appending handle.
func (f *file) put(input *fuse.WriteIn, data []byte) (int, error) {
	if input.Flags&unix.O_APPEND != 0 && input.WriteFlags&fuse.WRITE_CACHE == 0 {
		return f.WriteAppend(data)
	}
	return f.WriteAt(data, int64(input.Offset))
}

// Flush would be each close of each duplicate of a descriptor. Everything is in the backing file already, so there is nothing
// that could fail and nothing to wait for: by this answer the kernel asks once for the mount.
func (d *drive) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.ENOSYS }

// Fsync makes the file durable on this machine.
func (d *drive) Fsync(_ <-chan struct{}, input *fuse.FsyncIn) fuse.Status {
	f := d.files.get(input.Fh)
	if f == nil {
		return fuse.EBADF
	}
	return d.fail("fsync", input.NodeId, f.Sync())
}

// Lseek answers SEEK_DATA and SEEK_HOLE; what is elsewhere is data.
func (d *drive) Lseek(_ <-chan struct{}, input *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	f := d.files.get(input.Fh)
	if f == nil {
		return fuse.EBADF
	}
	if input.Offset > math.MaxInt64 {
		return fuse.Status(unix.ENXIO)
	}
	at, err := f.Seek(int64(input.Offset), int(input.Whence))
	if err != nil {
		return d.fail("lseek", input.NodeId, err)
	}
	out.Offset = uint64(at)
	return fuse.OK
}

// Fallocate knows allocation, with or without growth, punched holes and zeroed ranges.
func (d *drive) Fallocate(cancel <-chan struct{}, input *fuse.FallocateIn) fuse.Status {
	const modes = unix.FALLOC_FL_KEEP_SIZE | unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_ZERO_RANGE
	if input.Mode&^modes != 0 {
		return fuse.Status(unix.EOPNOTSUPP)
	}
	f := d.files.get(input.Fh)
	if f == nil {
		return fuse.EBADF
	}
	need := int64(input.Length)
	if input.Mode&unix.FALLOC_FL_PUNCH_HOLE != 0 {
		need = 0
	} else {
		d.pace(cancel, &input.InHeader, need)
	}
	return d.fail("fallocate", input.NodeId, d.withBytes(waiting(cancel, &input.InHeader), f, need, func() error {
		return f.Allocate(input.Mode, int64(input.Offset), int64(input.Length))
	}))
}

// CopyFileRange copies between two files of the drive without a way through the program, by reflink where the disk can.
func (d *drive) CopyFileRange(cancel <-chan struct{}, input *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	src, dst := d.files.get(input.FhIn), d.files.get(input.FhOut)
	switch {
	case src == nil || dst == nil:
		return 0, fuse.EBADF
	case input.Flags != 0:
		return 0, fuse.EINVAL
	}
	d.tell(dst)
	length := min(input.Len, copyMax)
	d.pace(cancel, &input.InHeader, int64(length))
	ctx := waiting(cancel, &input.InHeader)
	if err := d.withBytes(ctx, dst, 0, dst.MarkWrite); err != nil {
		return 0, d.fail("copy range", input.NodeIdOut, err)
	}
	n := 0
	err := d.room.MakeRoom(ctx, int64(length), func() (err error) {
		if n, err = d.copyRange(ctx, src, dst, int64(input.OffIn), int64(input.OffOut), int(length)); n > 0 {
			return nil
		}
		return err
	})
	if err != nil {
		return 0, d.fail("copy range", input.NodeId, err)
	}
	return uint32(n), fuse.OK
}

func (d *drive) copyRange(ctx context.Context, src, dst *file, from, to int64, n int) (int, error) {
	in := src.Fd()
	if in == nil || dst.Fd() == nil {
		return d.copyBytes(ctx, src, dst, from, to, n)
	}
	done, err := dst.WriteThrough(func(out *os.File) (int, error) {
		return unix.CopyFileRange(int(in.Fd()), &from, int(out.Fd()), &to, n, 0)
	})
	switch {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EXDEV), errors.Is(err, unix.ENOSYS):
		return d.copyBytes(ctx, src, dst, from, to, n)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		err = errors.Join(cache.ErrNoSpace, err)
	}
	return done, err
}

// copyBytes is the way through memory, fetching what is missing of the source.
func (d *drive) copyBytes(ctx context.Context, src, dst *file, from, to int64, n int) (done int, err error) {
	buf := make([]byte, min(n, copyBuf))
	for done < n {
		part, at := buf[:min(n-done, len(buf))], from+int64(done)
		got, err := d.readAt(ctx, src, part, at)
		if got == 0 && errors.Is(err, io.EOF) {
			return done, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return done, err
		}
		put, err := dst.WriteAt(buf[:got], to+int64(done))
		done += put
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// Ioctl knows none.
func (d *drive) Ioctl(<-chan struct{}, *fuse.IoctlIn, []byte, *fuse.IoctlOut, []byte) fuse.Status {
	return fuse.Status(unix.ENOTTY)
}
