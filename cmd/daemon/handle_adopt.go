package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"vdfs/cache"
	"vdfs/cmd/control"
	"vdfs/offload"
)

// adoptable resolves a directory that files are to be adopted from. One that is no copy for itself is refused: the drive, an
// endpoint, what vdfs keeps, or a part of one of them. All other paths are resolved.
func adoptable(path, mountpoint string, endpoints, state []string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", refuse(control.Usage, "directory to adopt from: %q is no absolute path", path)
	}
	if !answers(path, firstAnswer) {
		return "", refuse(control.Unreachable, "directory %s does not answer", path)
	}
	dir, err := resolve(path)
	if err != nil {
		return "", err
	}
	fi, err := os.Stat(dir)
	if err != nil {
		return "", refuse(control.Usage, "directory to adopt from: %v", err)
	}
	if !fi.IsDir() {
		return "", refuse(control.Usage, "%s is not a directory", dir)
	}
	if err := apart("directory", mountpoint, dir, "", state); err != nil {
		return "", err
	}
	for _, endpoint := range endpoints {
		contains := contains
		if !answers(endpoint, answerMax) {
			contains = below // its name has to do
		}
		if contains(endpoint, dir) {
			return "", refuse(control.Usage, "%s is in the endpoint %s itself: `vdfs fetch` brings here what is there", dir, endpoint)
		}
	}
	return dir, nil
}

// adoptable is adoptable for this drive, its endpoints and those that are to be.
func (d *daemon) adoptable(path string, endpoints ...string) (string, error) {
	all, err := d.parts.engine.Status()
	if err != nil {
		return "", err
	}
	for _, c := range all {
		for _, e := range endpointsOf(c) {
			endpoint, err := endpointDir(e)
			if err != nil {
				return "", err
			}
			endpoints = append(endpoints, endpoint)
		}
	}
	return adoptable(path, d.plan.mountpoint, endpoints, d.plan.state)
}

// Adopt takes the bytes of files from a directory where they are those of the drive.
func (h fileHandler) Adopt(ctx context.Context, r control.AdoptRequest, report control.Report) (out control.AdoptResult, err error) {
	out.Refused = []control.Refusal{}
	path, err := h.d.adoptable(string(r.Dir))
	if err != nil {
		return out, err
	}
	e, err := h.find(ctx, r.Path)
	if err == nil && e.Node.Kind != cache.Dir {
		err = cache.ErrNotDir
	}
	if err != nil {
		return out, located(r.Path, err)
	}
	dir, err := os.Open(path)
	if err != nil {
		return out, refuse(control.Usage, "directory to adopt from: %v", err)
	}
	defer dir.Close()
	defer h.offload.HoldPins()() // what is found by listing may be in the directory
	if err := h.listTree(ctx, e.Ino); err != nil {
		return out, coded(err)
	}
	missing, err := h.offload.Missing(ctx, e.ID)
	if err != nil {
		return out, coded(err)
	}
	did, err := h.offload.Adopt(ctx, e.ID, dir, func(looked int) {
		report(control.Progress{Done: int64(looked), Total: int64(missing.Files)})
	})
	return adoptResult(r.Path, did), cutShort(did, coded(err))
}

// cutShort adds to an error what was adopted before it. The end of a request has its own words.
func cutShort(did *offload.Adoption, err error) error {
	if err == nil || did.Files == 0 || errors.Is(err, context.Canceled) {
		return err
	}
	e := control.AsError(err)
	return &control.Error{Code: e.Code, Message: fmt.Sprintf("%s (%d files were adopted before)", e.Message, did.Files)}
}

func adoptResult(at control.Path, did *offload.Adoption) control.AdoptResult {
	return control.AdoptResult{
		Files: int64(did.Files), Bytes: did.Bytes, Differ: int64(did.Differ), Absent: int64(did.Absent),
		Refused: refusals(at, did.Skips, "were left as they are"),
	}
}
