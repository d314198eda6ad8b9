package drive

import (
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Remembers is how long the kernel may rely on names and attributes of a Far, as with network disks.
const Remembers = 3 * time.Second

// Far is a file system that shows a directory as a network disk does that is far away: every request is answered after a
// latency, bytes come at a limited rate, all requests are counted. Requests do not wait for each other. The kernel keeps no
// bytes of it and reads none ahead, so that each read(2), of up to 1 MiB, is one request.
type Far struct {
	shown
	latency time.Duration
	rate    int64 // bytes a second; 0: no limit

	mu   sync.Mutex
	busy time.Time // until when the line is taken
	seen Requests
}

// Requests are what was asked of a Far. Closing a file is none.
type Requests struct {
	Names int64 // looks, opens and lists
	Reads int64
	Bytes int64 // that were read
}

// All is how many requests that were.
func (r Requests) All() int64 { return r.Names + r.Reads }

// Since is what was asked after an earlier look.
func (r Requests) Since(before Requests) Requests {
	return Requests{r.Names - before.Names, r.Reads - before.Reads, r.Bytes - before.Bytes}
}

// NewFar shows the directory from at at.
func NewFar(from, at string, latency time.Duration, rate int64) (*Far, error) {
	valid := Remembers
	f := &Far{latency: latency, rate: rate}
	if err := f.show(from, at, f, f.name, fs.Options{EntryTimeout: &valid, AttrTimeout: &valid, MountOptions: fuse.MountOptions{
		FsName: "far", Name: "far", MaxWrite: 1 << 20, MaxBackground: 64, DisableSplice: true,
	}}); err != nil {
		return nil, err
	}
	return f, nil
}

// Close unmounts, and waits until the last process that used it has let go.
func (f *Far) Close() error { return f.end() }

// Seen is what was asked so far.
func (f *Far) Seen() Requests {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen
}

// name is a request about names.
func (f *Far) name() {
	f.mu.Lock()
	f.seen.Names++
	f.mu.Unlock()
	time.Sleep(f.latency)
}

// carry is a request for n bytes.
func (f *Far) carry(n int) {
	f.mu.Lock()
	now := time.Now()
	if f.busy.Before(now) {
		f.busy = now
	}
	if f.rate > 0 {
		f.busy = f.busy.Add(time.Duration(float64(n) / float64(f.rate) * float64(time.Second)))
	}
	arrives := f.busy.Add(f.latency)
	f.seen.Reads++
	f.seen.Bytes += int64(n)
	f.mu.Unlock()
	time.Sleep(time.Until(arrives))
}

// Open implements fuse.RawFileSystem.
func (f *Far) Open(cancel <-chan struct{}, input *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	status := f.shown.Open(cancel, input, out)
	out.OpenFlags |= fuse.FOPEN_DIRECT_IO
	return status
}

// Read implements fuse.RawFileSystem.
func (f *Far) Read(cancel <-chan struct{}, input *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	result, status := f.RawFileSystem.Read(cancel, input, buf)
	if !status.Ok() {
		return result, status
	}
	defer result.Done()
	data, status := result.Bytes(buf)
	f.carry(len(data))
	return fuse.ReadResultData(data), status
}

// Create implements fuse.RawFileSystem.
func (f *Far) Create(cancel <-chan struct{}, input *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	status := f.shown.Create(cancel, input, name, out)
	out.OpenFlags |= fuse.FOPEN_DIRECT_IO
	return status
}
