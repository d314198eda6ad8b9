// Command loopback mounts a directory on another one through go-fuse's own
// loopback file system, with the best options it has: the yardstick for what a
// FUSE file system in Go can do that keeps no index and sends nothing anywhere.
//
// Once the mount answers it prints "mounted" and the GOMAXPROCS that Go gave it;
// it unmounts on SIGTERM or SIGINT.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// validity is how long the kernel may rely on names and attributes. Nobody else
// changes the directory while it is measured.
const validity = time.Hour

func main() {
	noPassthrough := flag.Bool("no-passthrough", false, "have every byte go through this process")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: loopback [-no-passthrough] DIRECTORY MOUNTPOINT")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), flag.Arg(1), !*noPassthrough); err != nil {
		fmt.Fprintf(os.Stderr, "loopback: %v\n", err)
		os.Exit(1)
	}
}

func run(dir, at string, passthrough bool) error {
	root, err := fs.NewLoopbackRoot(dir)
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	loopback, ok := root.(*fs.LoopbackNode)
	if !ok {
		return fmt.Errorf("open %s: unexpected root %T", dir, root)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	valid := validity
	var without uint64
	if !passthrough {
		without = fuse.CAP_PASSTHROUGH
	}
	server, err := fs.Mount(at, &node{loopback}, &fs.Options{
		EntryTimeout:    &valid,
		AttrTimeout:     &valid,
		NegativeTimeout: &valid,
		NullPermissions: true,
		MountOptions: fuse.MountOptions{
			FsName:        dir,
			Name:          "loopback",
			DirectMount:   os.Geteuid() == 0,
			MaxWrite:      1 << 20,
			MaxBackground: 64,
			// Lets the kernel read and write the files itself where it can
			// (as root, from Linux 6.9 on).
			MaxStackDepth:        1,
			DisabledCapabilities: without,
		},
	})
	if err != nil {
		return fmt.Errorf("mount %s: %w", at, err)
	}
	fmt.Printf("mounted, GOMAXPROCS %d\n", runtime.GOMAXPROCS(0))
	<-stop
	return server.Unmount()
}

// node is a loopback node that lets the kernel keep pages and listings.
type node struct {
	*fs.LoopbackNode
}

var (
	_ fs.NodeWrapChilder    = (*node)(nil)
	_ fs.NodeOpener         = (*node)(nil)
	_ fs.NodeCreater        = (*node)(nil)
	_ fs.NodeOpendirHandler = (*node)(nil)
)

// WrapChild makes every node of the tree one of this kind.
func (n *node) WrapChild(_ context.Context, ops fs.InodeEmbedder) fs.InodeEmbedder {
	if loopback, ok := ops.(*fs.LoopbackNode); ok {
		return &node{loopback}
	}
	return ops
}

// Open opens the file; its pages stay valid over opens.
func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	h, out, errno := n.LoopbackNode.Open(ctx, flags)
	return h, out | fuse.FOPEN_KEEP_CACHE, errno
}

// Create makes a file; its pages stay valid over opens.
func (n *node) Create(
	ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut,
) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	inode, h, fuseFlags, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	return inode, h, fuseFlags | fuse.FOPEN_KEEP_CACHE, errno
}

// OpendirHandle opens the directory; its listing stays valid over opens.
func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	h, out, errno := n.LoopbackNode.OpendirHandle(ctx, flags)
	return h, out | fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE, errno
}
