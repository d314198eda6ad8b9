package control

import (
	"net/url"
	"strconv"
	"time"
)

// HistoryRequest chooses generations: the query of GET /v1/history and of GET /v1/history/totals.
type HistoryRequest struct {
	Conduit      string     // "": all
	Since, Until *time.Time // begun from the one time on, and before the other; nil: any
	Failed       bool       // only those with errors, or that were not verified in the end
	Limit        int        // of the newest; 0: all
}

// Query is the request as a part of a URL.
func (r HistoryRequest) Query() string {
	q := url.Values{}
	if r.Conduit != "" {
		q.Set("conduit", r.Conduit)
	}
	for name, t := range map[string]*time.Time{"since": r.Since, "until": r.Until} {
		if t != nil {
			q.Set(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	if r.Failed {
		q.Set("failed", "1")
	}
	if r.Limit != 0 {
		q.Set("limit", strconv.Itoa(r.Limit))
	}
	return "?" + q.Encode()
}

// historyRequest is the inverse of Query.
func historyRequest(q url.Values) (r HistoryRequest, err error) {
	r.Conduit, r.Failed = q.Get("conduit"), q.Get("failed") == "1"
	for name, to := range map[string]**time.Time{"since": &r.Since, "until": &r.Until} {
		if text := q.Get(name); text != "" {
			t, err := time.Parse(time.RFC3339Nano, text)
			if err != nil {
				return r, &Error{Code: Usage, Message: name + " is not a time"}
			}
			*to = &t
		}
	}
	if text := q.Get("limit"); text != "" {
		if r.Limit, err = strconv.Atoi(text); err != nil || r.Limit < 0 {
			return r, &Error{Code: Usage, Message: "limit is not a number"}
		}
	}
	return r, nil
}

// HistoryTotals is what the generations of a conduit come to; `vdfs history --totals --json` prints a list.
type HistoryTotals struct {
	Conduit     string     `json:"conduit"`
	Period      string     `json:"period"`      // kept: all that the history has; chosen: from since until until; day: the last 24 hours
	Since       *time.Time `json:"since"`       // the oldest of them began; null: there is none
	Generations int64      `json:"generations"` // runs that did something
	Completed   int64      `json:"completed"`
	Verified    int64      `json:"verified"`
	Failed      int64      `json:"failed"` // with errors, or not verified in the end
	Copied      int64      `json:"copied"`
	Deleted     int64      `json:"deleted"`
	Conflicts   int64      `json:"conflicts"`
	Bytes       int64      `json:"bytes"`
	Errors      int64      `json:"errors"`
	// AverageSeconds is how long one took that was completed.
	AverageSeconds float64 `json:"average_seconds"`
	LastCompleted  int64   `json:"last_completed"` // generation; 0: none was
	LastVerified   int64   `json:"last_verified"`
}
