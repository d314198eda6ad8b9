package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vdfs/integration/drive"
)

// noPassthrough is the flag of mount that has every byte go through the daemon;
// a vdfs without it has no passthrough either.
const noPassthrough = "--no-passthrough"

// vdfs is a drive over a directory, with its conduit attached and active.
type vdfs struct {
	*drive.Drive
	dir   string
	flags []string // of every mount
	// firstContact is how long it took until the whole directory was known.
	firstContact time.Duration
	// peak is the most memory the daemon had taken by then, in bytes.
	peak int64
}

func (s *session) startVdfs(ctx context.Context, dir, at string) (subject, error) {
	home := filepath.Join(filepath.Dir(dir), "home")
	v := &vdfs{dir: dir, Drive: &drive.Drive{
		Bin: s.tools.vdfs(), Home: home, Mount: at,
		Env: []string{"HOME=" + filepath.Dir(home), "XDG_RUNTIME_DIR="},
	}}
	if s.mode == modeNoPass {
		help, err := v.Do("mount", "--help")
		if err != nil {
			return nil, err
		}
		if strings.Contains(help, noPassthrough) {
			v.flags = []string{noPassthrough}
		}
	}
	start := time.Now()
	if err := v.mount("--from", dir); err != nil {
		return v, err
	}
	if err := v.settle(ctx); err != nil {
		return v, err
	}
	v.firstContact = time.Since(start)
	var err error
	v.peak, err = v.peakMemory()
	return v, err
}

func (v *vdfs) name() string { return vdfsName }
func (v *vdfs) root() string { return v.Mount }
func (v *vdfs) stop() error  { return v.Close() }

func (v *vdfs) mount(flags ...string) error {
	_, err := v.Do(slices.Concat([]string{"mount", v.Mount}, v.flags, flags)...)
	return err
}

func (v *vdfs) remount(ctx context.Context) error {
	if _, err := v.Do("unmount", v.Mount); err != nil {
		return err
	}
	if err := v.mount(); err != nil {
		return err
	}
	return v.settle(ctx)
}

func (v *vdfs) settle(ctx context.Context) error {
	return v.sync(ctx)
}

// sync runs a whole cycle with the given flags.
func (v *vdfs) sync(ctx context.Context, flags ...string) error {
	r, err := v.RunContext(ctx, append([]string{"sync", "--wait"}, flags...)...)
	if err != nil {
		return err
	}
	if r.Code != 0 {
		return fmt.Errorf("sync did not complete: %s", r)
	}
	return nil
}

// stir frees and fetches the file far, and has the whole directory compared.
func (v *vdfs) stir(ctx context.Context) error {
	far := farFile(v.root())
	if _, err := v.Do("offload", far); err != nil {
		return err
	}
	compared := make(chan error, 1)
	go func() {
		// Files change meanwhile, so it need not come to an end that it calls complete.
		_, err := v.RunContext(ctx, "sync", "--wait", "--rescan")
		compared <- err
	}()
	return errors.Join(readFar(v.root()), <-compared)
}
