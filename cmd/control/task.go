package control

import "time"

// TaskStatus is how something went that the daemon does again and again, since it started: an element of Status.Tasks.
type TaskStatus struct {
	Name       string     `json:"name"`
	Executions int64      `json:"execution_count"` // begun
	Successes  int64      `json:"success_count"`
	Errors     int64      `json:"error_count"`      // what was called off is neither
	Skipped    int64      `json:"skipped_count"`    // times that it was due while it still ran
	Average    float64    `json:"average_duration"` // of those that have ended, in seconds
	Last       *time.Time `json:"last_execution"`   // when the last one began; null: none did
	LastError  string     `json:"last_error"`       // of the last one that ended; "": it went well
	Running    bool       `json:"running"`
}

// UnmountResult answers POST /v1/unmount.
type UnmountResult struct {
	Pending int64 `json:"pending"` // changes that are not sent yet; they are after the next mount
}
