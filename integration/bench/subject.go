package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

const (
	nativeName   = "native"
	loopbackName = "loopback"
	vdfsName     = "vdfs"
)

// subject is a file system under measurement.
type subject interface {
	name() string
	// root is where the work is done.
	root() string
	// remount makes the kernel forget what it knows of the tree.
	remount(ctx context.Context) error
	// settle returns when nothing happens in the background any more.
	settle(ctx context.Context) error
	// stir does once what a subject is busy with beside its users: here the file
	// far is read, and vdfs fetches and syncs besides.
	stir(ctx context.Context) error
	// stop unmounts. It may be called only once.
	stop() error
}

// startAll makes the three subjects. What they show at first is the group's.
func (s *session) startAll(ctx context.Context, g group) error {
	base := filepath.Join(s.dir, g.name)
	for _, name := range []string{nativeName, loopbackName, vdfsName} {
		dir, at := filepath.Join(base, name, "dir"), filepath.Join(base, name, "mount")
		for _, d := range []string{dir, at} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				return fmt.Errorf("start %s: %w", name, err)
			}
		}
		if err := g.fill(dir); err != nil {
			return fmt.Errorf("start %s: %w", name, err)
		}
		if err := s.syncDisk(); err != nil {
			return err
		}
		sub, err := s.start(ctx, name, dir, at)
		if sub != nil {
			s.subjects = append(s.subjects, sub)
		}
		if err != nil {
			return fmt.Errorf("start %s: %w", name, err)
		}
	}
	return nil
}

// start makes one subject of a directory. It may return one to stop with its error.
func (s *session) start(ctx context.Context, name, dir, at string) (subject, error) {
	switch name {
	case loopbackName:
		return s.startLoopback(dir, at)
	case vdfsName:
		return s.startVdfs(ctx, dir, at)
	default:
		return native(dir), nil
	}
}

// native is the disk itself.
type native string

func (n native) name() string                  { return nativeName }
func (n native) root() string                  { return string(n) }
func (n native) remount(context.Context) error { return nil }
func (n native) settle(context.Context) error  { return nil }
func (n native) stir(context.Context) error    { return readFar(n.root()) }
func (n native) stop() error                   { return nil }
