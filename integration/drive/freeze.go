package drive

import (
	"sync"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Freezer is a file system that shows a directory and can be frozen: then it answers nothing, as a network disk does whose
// server is gone, and not even a signal ends a wait for it.
type Freezer struct {
	shown

	mu     sync.Mutex
	frozen chan struct{} // closed by Thaw; nil: it answers
	names  bool          // it is frozen for looks, too
	reads  int           // that wait for it
}

// NewFreezer shows the directory from at at. The kernel keeps nothing of it.
func NewFreezer(from, at string) (*Freezer, error) {
	f := &Freezer{}
	if err := f.show(from, at, f, f.name, fs.Options{MountOptions: fuse.MountOptions{FsName: "freezer", Name: "freezer"}}); err != nil {
		return nil, err
	}
	return f, nil
}

// Close thaws, unmounts, and waits until the last process that used it has let go.
func (f *Freezer) Close() error {
	f.Thaw()
	return f.end()
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

// name waits while the names are frozen.
func (f *Freezer) name() {
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

// Read implements fuse.RawFileSystem.
func (f *Freezer) Read(cancel <-chan struct{}, input *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	f.read()
	return f.RawFileSystem.Read(cancel, input, buf)
}
