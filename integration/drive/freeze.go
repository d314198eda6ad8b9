package drive

import (
	"fmt"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Freezer is a file system that shows a directory and can be frozen: then it answers nothing, as a network disk does whose
// server is gone, and not even a signal ends a wait for it.
type Freezer struct {
	fuse.RawFileSystem
	server *fuse.Server
	at     string

	mu     sync.Mutex
	frozen chan struct{} // closed by Thaw; nil: it answers
	names  bool          // it is frozen for looks, too
	reads  int           // that wait for it
}

// NewFreezer shows the directory from at at.
func NewFreezer(from, at string) (*Freezer, error) {
	root, err := fs.NewLoopbackRoot(from)
	if err != nil {
		return nil, fmt.Errorf("show %s: %w", from, err)
	}
	// Nothing may be kept by the kernel, and nothing be read past this server.
	options := fuse.MountOptions{FsName: "freezer", Name: "freezer", DisabledCapabilities: fuse.CAP_PASSTHROUGH}
	f := &Freezer{at: at, RawFileSystem: fs.NewNodeFS(root, &fs.Options{MountOptions: options, NullPermissions: true})}
	if f.server, err = fuse.NewServer(f, at, &options); err != nil {
		return nil, fmt.Errorf("mount %s: %w", at, err)
	}
	go f.server.Serve()
	return f, f.server.WaitMount()
}

// Close thaws, unmounts, and waits until the last process that used it has let go.
func (f *Freezer) Close() error {
	f.Thaw()
	if err := lazyUnmount(f.at); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.server.Wait()
	}()
	select {
	case <-ended:
		return nil
	case <-time.After(endLimit):
		return fmt.Errorf("unmount %s: it is still in use", f.at)
	}
}

// Freeze leaves every look and read from now on without an answer.
func (f *Freezer) Freeze() { f.freeze(true) }

// FreezeReads leaves every read from now on without an answer; looks get one.
func (f *Freezer) FreezeReads() { f.freeze(false) }

func (f *Freezer) freeze(names bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.names = names; f.frozen == nil {
		f.frozen = make(chan struct{})
	}
}

// Thaw answers all that was asked and whatever is asked from now on.
func (f *Freezer) Thaw() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.frozen != nil {
		close(f.frozen)
		f.frozen = nil
	}
}

// Reading reports whether somebody waits for bytes.
func (f *Freezer) Reading() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reads > 0
}

// look waits while the names are frozen.
func (f *Freezer) look() {
	f.mu.Lock()
	frozen, names := f.frozen, f.names
	f.mu.Unlock()
	if frozen != nil && names {
		<-frozen
	}
}

// read waits while anything is frozen.
func (f *Freezer) read() {
	f.mu.Lock()
	frozen := f.frozen
	f.reads++
	f.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
	f.mu.Lock()
	f.reads--
	f.mu.Unlock()
}

// Lookup implements fuse.RawFileSystem.
func (f *Freezer) Lookup(cancel <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	f.look()
	return f.RawFileSystem.Lookup(cancel, header, name, out)
}

// GetAttr implements fuse.RawFileSystem.
func (f *Freezer) GetAttr(cancel <-chan struct{}, input *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	f.look()
	return f.RawFileSystem.GetAttr(cancel, input, out)
}

// Open implements fuse.RawFileSystem.
func (f *Freezer) Open(cancel <-chan struct{}, input *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	f.look()
	return f.RawFileSystem.Open(cancel, input, out)
}

// Read implements fuse.RawFileSystem.
func (f *Freezer) Read(cancel <-chan struct{}, input *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	f.read()
	return f.RawFileSystem.Read(cancel, input, buf)
}

// OpenDir implements fuse.RawFileSystem.
func (f *Freezer) OpenDir(cancel <-chan struct{}, input *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	f.look()
	return f.RawFileSystem.OpenDir(cancel, input, out)
}

// ReadDir implements fuse.RawFileSystem.
func (f *Freezer) ReadDir(cancel <-chan struct{}, input *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	f.look()
	return f.RawFileSystem.ReadDir(cancel, input, out)
}

// ReadDirPlus implements fuse.RawFileSystem.
func (f *Freezer) ReadDirPlus(cancel <-chan struct{}, input *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	f.look()
	return f.RawFileSystem.ReadDirPlus(cancel, input, out)
}

// StatFs implements fuse.RawFileSystem.
func (f *Freezer) StatFs(cancel <-chan struct{}, header *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	f.look()
	return f.RawFileSystem.StatFs(cancel, header, out)
}

// Create implements fuse.RawFileSystem.
func (f *Freezer) Create(cancel <-chan struct{}, input *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	f.look()
	return f.RawFileSystem.Create(cancel, input, name, out)
}

// Rename implements fuse.RawFileSystem.
func (f *Freezer) Rename(cancel <-chan struct{}, input *fuse.RenameIn, from, to string) fuse.Status {
	f.look()
	return f.RawFileSystem.Rename(cancel, input, from, to)
}
