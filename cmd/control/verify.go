package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// VerifyRequest is the body of POST /v1/verify.
type VerifyRequest struct {
	Paths  []Path `json:"paths"` // none: the whole drive
	Repair bool   `json:"repair,omitempty"`
}

// Finding is one item of POST /v1/verify: a copy that is not known to be good, or what could not be looked at.
type Finding struct {
	Path     Path   `json:"path"`     // "": all of the endpoint
	Endpoint string `json:"endpoint"` // that has the copy; "": this machine
	Conduit  string `json:"conduit"`  // "": this machine
	State    string `json:"state"`    // damaged, repaired, changed, unreachable
	Size     int64  `json:"size"`
	Reason   string `json:"reason"`
	Remedy   string `json:"remedy"` // what can be done, or where it was repaired from; "": nothing is to be done
}

// Verification is the result of POST /v1/verify.
type Verification struct {
	Files       int64       `json:"files"`
	Copies      int64       `json:"copies"` // that are good
	Bytes       int64       `json:"bytes"`  // theirs
	Damaged     int64       `json:"damaged"`
	Repaired    int64       `json:"repaired"`
	Changed     int64       `json:"changed"`
	Unreachable int64       `json:"unreachable"`
	Trees       []TreeCheck `json:"trees"` // of a whole drive
	Refused     []Refusal   `json:"refused"`
}

// TreeCheck is the last look at all of what an endpoint has, without reading its bytes.
type TreeCheck struct {
	Endpoint string     `json:"endpoint"`
	Conduit  string     `json:"conduit"`
	Checked  time.Time  `json:"checked_at"`
	Verified *time.Time `json:"verified_at"` // when nothing was left to do; null: never
	Result   string     `json:"result"`      // verified, or failed:REASON
}

// Damage is one element of GET /v1/damage: a copy that was found to be damaged and is not repaired.
type Damage struct {
	Path     Path      `json:"path"`
	Endpoint string    `json:"endpoint"` // "": this machine
	Conduit  string    `json:"conduit"`  // likewise
	Reason   string    `json:"reason"`
	Found    time.Time `json:"found_at"`
}

// told serves a request whose answer is any number of items with progress between them, and then a result, a line each.
func told[R, I, T any](mux *http.ServeMux, pattern string, f func(context.Context, R, Report, func(I) error) (T, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		req, err := body[R](w, r)
		if err != nil {
			fail(w, err)
			return
		}
		out := newLines(w)
		v, err := f(r.Context(), req, func(p Progress) { out.send(event{Progress: &p}) }, func(item I) error {
			data, err := json.Marshal(item)
			if err != nil {
				return err
			}
			out.send(event{Item: data})
			return r.Context().Err()
		})
		end(r.Context(), out, v, err)
	})
}

// Told is Items that calls report with each progress line, too.
func Told[I, T any](ctx context.Context, c *Client, path string, req any, report Report, item func(I) error) (T, error) {
	return lineByLine[T](ctx, c, path, req, func(e event) error {
		if e.Progress != nil {
			report(*e.Progress)
			return nil
		}
		var i I
		if err := json.Unmarshal(e.Item, &i); err != nil {
			return fmt.Errorf("decode answer of the daemon: %w", err)
		}
		return item(i)
	})
}
