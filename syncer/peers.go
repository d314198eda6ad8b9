package syncer

import (
	"errors"
	"fmt"
	"slices"

	"vdfs/cache"
	"vdfs/syncer/plan"
)

// A place may have several legs. What one brings into the drive is work for the others, by the marks of its transaction; the
// bytes of a placeholder go from one endpoint to another without staying here. None may suffer from another's endpoint.

// readError is why a copy of a file could not be read, and whose it is.
type readError struct {
	l     *leg
	cause error
}

func (e *readError) Error() string { return e.cause.Error() }
func (e *readError) Unwrap() error { return e.cause }

// elsewhere says that bytes could not be had from another leg's endpoint. It unwraps to nothing: what is the matter there is
// not the matter with the endpoint that they were to go to.
type elsewhere struct {
	at    string // the other endpoint; "": there is none
	cause error
}

func (e *elsewhere) Error() string {
	if e.at == "" {
		return e.cause.Error()
	}
	return fmt.Sprintf("its bytes are to come from %s: %v", e.at, e.cause)
}

// others turns the failure of another leg's endpoint into one that says nothing about this one's.
func (l *leg) others(err error) error {
	var r *readError
	switch {
	case err == nil, errors.As(err, &r) && r.l == l:
		return err
	case r != nil:
		return &elsewhere{r.l.target, r.cause}
	case errors.Is(err, errNoCopy):
		return &elsewhere{"", errNoCopy}
	}
	return err
}

// isAway reports whether err says that another leg's endpoint, which has the bytes, cannot be reached: they are worth waiting
// for, and that leg wakes the others when it is back.
func isAway(err error) bool {
	var e *elsewhere
	return errors.As(err, &e) && errors.Is(e.cause, ErrUnreachable)
}

// wakeOthers starts the legs beside one whose endpoint is back: they may wait for its bytes.
func (e *Engine) wakeOthers(l *leg) {
	for _, o := range e.current() {
		if o != l && o.place == l.place {
			o.wake()
		}
	}
}

// alone reports whether no other leg works at the place of l.
func (e *Engine) alone(l *leg) bool {
	return !slices.ContainsFunc(e.current(), func(o *leg) bool { return o != l && o.place == l.place })
}

// waits leaves on an observed object that it is decided when another endpoint is back.
func (l *leg) waits(remoteID, why string) error {
	return l.e.Cache.Update(l.id, func(tx *cache.Tx) error {
		o, ok, err := tx.Observed(l.id, remoteID)
		if err != nil || !ok {
			return err
		}
		if err := tx.EnsureRemote(l.id, remoteID, o.Name, remoteOperation(o, plan.Decision{})); err != nil {
			return err
		}
		return tx.NoteRemote(l.id, remoteID, why)
	})
}
