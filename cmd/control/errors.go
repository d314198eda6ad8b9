package control

import (
	"errors"
	"net/http"
)

// Code classes an error for whoever has to act on it. The command line turns it
// into an exit code, the server into an HTTP status.
type Code string

// The codes. They are part of the protocol: never rename.
const (
	Failed      Code = "failed"      // anything else
	Usage       Code = "usage"       // the request makes no sense as it stands
	Partly      Code = "partly"      // some of it was done, the rest is named
	Conflict    Code = "conflict"    // a person has to decide
	Unreachable Code = "unreachable" // an endpoint does not answer
	NoDrive     Code = "no-drive"    // no daemon, or nothing is mounted there
	Refused     Code = "refused"     // doing it would lose data
	NotFound    Code = "not-found"   // no such file, conduit, conflict
)

// Error is an error that knows its class. Message is one line for a person and
// holds no secret.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// Error is the message.
func (e *Error) Error() string { return e.Message }

// AsError returns err as an Error: itself if there is one inside, whose code is
// kept with the text of the whole chain, else a Failed one. nil stays nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return &Error{Code: e.Code, Message: err.Error()}
	}
	return &Error{Code: Failed, Message: err.Error()}
}

// status is the HTTP status that fits a code.
func (c Code) status() int {
	switch c {
	case Usage:
		return http.StatusBadRequest
	case NotFound:
		return http.StatusNotFound
	case Conflict, Partly:
		return http.StatusConflict
	case Refused:
		return http.StatusForbidden
	case Unreachable, NoDrive:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
