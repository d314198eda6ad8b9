package daemon

import (
	"context"
	"errors"

	"vdfs/cache"
	"vdfs/cmd/control"
	"vdfs/offload"
	"vdfs/syncer"
	"vdfs/syncer/remote"
)

// codes is the one place where the errors of the parts get their class. The first that matches counts.
var codes = []struct {
	err  error
	code control.Code
}{
	{syncer.ErrUnknownConduit, control.NotFound},
	{syncer.ErrNoVersion, control.NotFound},
	{syncer.ErrRefused, control.Refused},
	{syncer.ErrDisabled, control.Failed},
	{syncer.ErrUnreachable, control.Unreachable},
	{offload.ErrUnreachable, control.Unreachable},
	{remote.ErrRootGone, control.Unreachable},
	{remote.ErrUnavailable, control.Unreachable},
	{context.DeadlineExceeded, control.Unreachable}, // only waits for endpoints have deadlines here
	{cache.ErrNotFound, control.NotFound},
}

// coded gives an error its class. nil stays nil.
func coded(err error) error {
	var known *control.Error
	var invalid *syncer.InvalidError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case errors.As(err, &invalid):
		return &control.Error{Code: control.Usage, Message: err.Error()}
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return &control.Error{Code: c.code, Message: err.Error()}
		}
	}
	return err
}

// refusal is why one path was not done, in the fewest words.
func refusal(path control.Path, err error) control.Refusal {
	e := control.AsError(coded(err))
	r := control.Refusal{Path: path, Code: e.Code, Reason: e.Message}
	switch {
	case errors.Is(err, cache.ErrNotFound):
		r.Reason = "no such file or directory"
	case errors.Is(err, cache.ErrNotDir):
		r.Reason, r.Code = "not a directory", control.NotFound
	}
	return r
}

func notFound(err error) bool { return errors.Is(err, cache.ErrNotFound) }
