package syncer

import (
	"context"
	"errors"
	"syscall"

	"vdfs/cache"
	"vdfs/syncer/remote"
)

// Category says where an error comes from.
type Category string

// The categories. Their words are shown, and stay.
const (
	Network    Category = "network"    // the storage does not answer, or its answer was lost
	API        Category = "api"        // it answered that it does not do this, now or ever
	FileSystem Category = "filesystem" // names, kinds, permissions, room: here or there
	Data       Category = "data"       // bytes or versions are not what they were thought to be
)

// Condition is what a person calls the state of things behind an error. Not every error has one.
type Condition string

// The conditions. None of them is a conflict: what it holds up goes on when it ends.
const (
	FileExists       Condition = "FileExists"
	DirectoryExists  Condition = "DirectoryExists"
	PermissionDenied Condition = "PermissionDenied"
	DiskFull         Condition = "DiskFull"
	NetworkError     Condition = "NetworkError"
	DataMismatch     Condition = "DataMismatch"
)

// Text is the condition in words.
func (c Condition) Text() string {
	return map[Condition]string{
		FileExists: "name is taken", DirectoryExists: "a directory is in the way", PermissionDenied: "permission denied", DiskFull: "disk full",
		NetworkError: "network error", DataMismatch: "data differs",
	}[c]
}

// Class is what is known of an error besides its text.
type Class struct {
	Cause     string // a word that names the class, as it is written down with an item; "": there is no error
	Category  Category
	Condition Condition // "": none
	// Retryable errors end by themselves. Others need somebody to do something, though they are tried again, too.
	Retryable bool
	remedy    string // what a person can do; an item whose error has one is parked
}

// classes tell an error's class by what it wraps; the first that fits counts. Those with a remedy are causes that time alone
// does not mend: the item is parked. It is tried again by itself all the same, at a slow pace and when the endpoint changed, as
// a cause may end without anybody telling.
var classes = []struct {
	cause error
	Class
}{
	{remote.ErrName, Class{"name", FileSystem, "", false, "rename it"}},
	{cache.ErrName, Class{"name-there", FileSystem, "", false, "rename it there"}},
	{remote.ErrTooLarge, Class{"too-large", FileSystem, "", false, "the storage takes no file of that size"}},
	{remote.ErrQuota, Class{"quota", FileSystem, DiskFull, false, "make room there"}},
	{remote.ErrDenied, Class{"denied", FileSystem, PermissionDenied, false, "look at the owner and the mode of it and of its directory there"}},
	{remote.ErrReadOnly, Class{"read-only", FileSystem, PermissionDenied, false, "make the storage writable"}},
	{remote.ErrUnsupported, Class{"unsupported", API, "", false, "the storage cannot hold it"}},
	{remote.ErrAuth, Class{"auth", API, PermissionDenied, false, "sign in again"}},
	{errKeepsNothing, Class{"keeps-nothing", Data, "", false, "use the strategy conflict-file"}},

	{cache.ErrDamaged, Class{"damaged", Data, "", false, ""}},
	{cache.ErrNewerIndex, Class{"newer-index", Data, "", false, ""}},
	{cache.ErrNoSpace, Class{"no-space", FileSystem, DiskFull, true, ""}},
	{remote.ErrDetached, Class{"detached", FileSystem, "", true, ""}},
	{remote.ErrRootGone, Class{"root-gone", Network, NetworkError, true, ""}},
	{remote.ErrSilent, Class{"silent", Network, NetworkError, true, ""}},
	{remote.ErrUnavailable, Class{"unavailable", Network, NetworkError, true, ""}},
	{ErrUnreachable, Class{"unreachable", Network, NetworkError, true, ""}},
	{context.DeadlineExceeded, Class{"deadline", Network, NetworkError, true, ""}}, // only waits for endpoints have deadlines
	{remote.ErrUnknown, Class{"no-reply", Network, NetworkError, true, ""}},
	{errUnclear, Class{"unclear", Network, "", true, ""}},
	{remote.ErrCursorExpired, Class{"cursor-expired", API, "", true, ""}},
	{remote.ErrCorrupt, Class{"corrupt", Data, DataMismatch, true, ""}},
	{errMismatch, Class{"other-version", Data, DataMismatch, true, ""}},
	{remote.ErrPrecondition, Class{"changed", Data, DataMismatch, true, ""}},
	{remote.ErrChanged, Class{"changed-while-read", Data, DataMismatch, true, ""}},
	{cache.ErrStale, Class{"overtaken", Data, "", true, ""}},
	{cache.ErrSource, Class{"unread", Data, "", true, ""}}, // it says which of two sides failed; what it wraps is told before
	{cache.ErrNotLocal, Class{"not-local", Data, "", true, ""}},
	{errNoCopy, Class{"no-copy", Data, "", true, ""}},
	{remote.ErrExists, Class{"exists", FileSystem, FileExists, true, ""}},
	{cache.ErrExists, Class{"exists-here", FileSystem, FileExists, true, ""}},
	{remote.ErrNotEmpty, Class{"not-empty", FileSystem, DirectoryExists, true, ""}},
	{cache.ErrNotEmpty, Class{"not-empty-here", FileSystem, DirectoryExists, true, ""}},
	{remote.ErrKind, Class{"kind", FileSystem, DirectoryExists, true, ""}},
	{cache.ErrIsDir, Class{"directory-here", FileSystem, DirectoryExists, true, ""}},
	{cache.ErrNotDir, Class{"no-directory-here", FileSystem, FileExists, true, ""}},
	{remote.ErrNotFound, Class{"not-found", FileSystem, "", true, ""}},
	{cache.ErrNotFound, Class{"not-found-here", FileSystem, "", true, ""}},
	{remote.ErrLocked, Class{"locked", FileSystem, "", true, ""}},
	{cache.ErrBusy, Class{"busy", FileSystem, "", true, ""}},
	{cache.ErrLocked, Class{"other-daemon", FileSystem, "", true, ""}},
	{cache.ErrReadOnly, Class{"read-only-here", FileSystem, PermissionDenied, false, ""}},
	{cache.ErrNotListed, Class{"not-listed", Network, "", true, ""}},
	{cache.ErrBorder, Class{"border", FileSystem, "", false, ""}},
	{cache.ErrNoAttr, Class{"no-attribute", FileSystem, "", false, ""}},
	{cache.ErrInvalid, Class{"invalid", FileSystem, "", false, ""}},
	{cache.ErrTooManyLinks, Class{"links", FileSystem, "", false, ""}},
	{cache.ErrLoop, Class{"loop", FileSystem, "", false, ""}},
	{ErrDisabled, Class{"paused", API, "", false, ""}},
	{ErrUnknownConduit, Class{"no-conduit", Data, "", false, ""}},
	{ErrNoVersion, Class{"no-version", Data, "", false, ""}},
	{ErrRefused, Class{"refused", Data, "", false, ""}},
	{syscall.ENOSPC, Class{"disk-full", FileSystem, DiskFull, true, ""}},
	{syscall.EDQUOT, Class{"disk-quota", FileSystem, DiskFull, true, ""}},
	{syscall.EACCES, Class{"no-access", FileSystem, PermissionDenied, false, ""}},
	{syscall.EPERM, Class{"no-permission", FileSystem, PermissionDenied, false, ""}},
}

// The classes of errors that wrap nothing of the above.
var (
	throttled = Class{"throttled", API, "", true, ""}
	ofSystem  = Class{"system", FileSystem, "", true, ""} // some call of the operating system failed
	ofAny     = Class{"other", Data, "", true, ""}
)

// ClassOf is the class of an error; the zero Class for nil.
func ClassOf(err error) Class {
	if err == nil {
		return Class{}
	}
	var other *elsewhere // what is the matter there is what is the matter
	if errors.As(err, &other) {
		return ClassOf(other.cause)
	}
	var slower *remote.Throttled
	if errors.As(err, &slower) {
		return throttled
	}
	for _, c := range classes {
		if errors.Is(err, c.cause) {
			return c.Class
		}
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return ofSystem
	}
	return ofAny
}

// ClassNamed is the class that an item's error is of, by its cause. One of another version is unknown: false.
func ClassNamed(cause string) (Class, bool) {
	for _, c := range classes {
		if c.Cause == cause {
			return c.Class, true
		}
	}
	for _, c := range []Class{throttled, ofSystem, ofAny} {
		if c.Cause == cause {
			return c, true
		}
	}
	return Class{}, false
}

// remedy is what a person can do about a lasting cause; "": err has none.
func remedy(err error) string {
	for _, c := range classes {
		if c.remedy != "" && errors.Is(err, c.cause) {
			return c.remedy
		}
	}
	return ""
}
