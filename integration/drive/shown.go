package drive

import (
	"fmt"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// shown is a directory that this process shows at another place, for file systems that do something before they answer.
type shown struct {
	fuse.RawFileSystem
	look   func() // comes before every request about names and attributes
	server *fuse.Server
	at     string
}

// show shows the directory from at at, through the file system that s is embedded in.
func (s *shown) show(from, at string, through fuse.RawFileSystem, look func(), options fs.Options) error {
	root, err := fs.NewLoopbackRoot(from)
	if err != nil {
		return fmt.Errorf("show %s: %w", from, err)
	}
	// Nothing may be read past this server, and who may do what the directory itself says.
	options.DisabledCapabilities, options.NullPermissions = fuse.CAP_PASSTHROUGH, true
	s.RawFileSystem, s.look, s.at = fs.NewNodeFS(root, &options), look, at
	if s.server, err = fuse.NewServer(through, at, &options.MountOptions); err != nil {
		return fmt.Errorf("mount %s: %w", at, err)
	}
	go s.server.Serve()
	return s.server.WaitMount()
}

// end unmounts, and waits until the last process that used it has let go.
func (s *shown) end() error {
	if err := lazyUnmount(s.at); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.server.Wait()
	}()
	select {
	case <-ended:
		return nil
	case <-time.After(endLimit):
		return fmt.Errorf("unmount %s: it is still in use", s.at)
	}
}

// Lookup implements fuse.RawFileSystem.
func (s *shown) Lookup(cancel <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	s.look()
	return s.RawFileSystem.Lookup(cancel, header, name, out)
}

// GetAttr implements fuse.RawFileSystem.
func (s *shown) GetAttr(cancel <-chan struct{}, input *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	s.look()
	return s.RawFileSystem.GetAttr(cancel, input, out)
}

// Open implements fuse.RawFileSystem.
func (s *shown) Open(cancel <-chan struct{}, input *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	s.look()
	return s.RawFileSystem.Open(cancel, input, out)
}

// OpenDir implements fuse.RawFileSystem.
func (s *shown) OpenDir(cancel <-chan struct{}, input *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	s.look()
	return s.RawFileSystem.OpenDir(cancel, input, out)
}

// ReadDir implements fuse.RawFileSystem.
func (s *shown) ReadDir(cancel <-chan struct{}, input *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	s.look()
	return s.RawFileSystem.ReadDir(cancel, input, out)
}

// ReadDirPlus implements fuse.RawFileSystem.
func (s *shown) ReadDirPlus(cancel <-chan struct{}, input *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	s.look()
	return s.RawFileSystem.ReadDirPlus(cancel, input, out)
}

// StatFs implements fuse.RawFileSystem.
func (s *shown) StatFs(cancel <-chan struct{}, header *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	s.look()
	return s.RawFileSystem.StatFs(cancel, header, out)
}

// GetXAttr implements fuse.RawFileSystem.
func (s *shown) GetXAttr(cancel <-chan struct{}, header *fuse.InHeader, attr string, dest []byte) (uint32, fuse.Status) {
	s.look()
	return s.RawFileSystem.GetXAttr(cancel, header, attr, dest)
}

// Create implements fuse.RawFileSystem.
func (s *shown) Create(cancel <-chan struct{}, input *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	s.look()
	return s.RawFileSystem.Create(cancel, input, name, out)
}

// Rename implements fuse.RawFileSystem.
func (s *shown) Rename(cancel <-chan struct{}, input *fuse.RenameIn, from, to string) fuse.Status {
	s.look()
	return s.RawFileSystem.Rename(cancel, input, from, to)
}
