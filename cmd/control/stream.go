package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
)

// event is one line of a streamed answer: exactly one field is set.
type event struct {
	Progress *Progress       `json:"progress,omitempty"`
	Item     json.RawMessage `json:"item,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"`
	Error    *Error          `json:"error,omitempty"`
}

// stream serves a request whose answer is progress and then a result, a line each.
func stream[R, T any](mux *http.ServeMux, pattern string, f func(context.Context, R, Report) (T, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		req, err := body[R](w, r)
		if err != nil {
			fail(w, err)
			return
		}
		out := newLines(w)
		v, err := f(r.Context(), req, func(p Progress) { out.send(event{Progress: &p}) })
		end(r.Context(), out, v, err)
	})
}

// items serves a request whose answer is any number of items and then a result, a line each. They are sent as they are
// found, so that neither side holds them all.
func items[R, I, T any](mux *http.ServeMux, pattern string, f func(context.Context, R, func(I) error) (T, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		req, err := body[R](w, r)
		if err != nil {
			fail(w, err)
			return
		}
		out := newLines(w)
		v, err := f(r.Context(), req, func(item I) error {
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

// end sends the last line.
func end(ctx context.Context, out *lines, v any, err error) {
	if err != nil {
		out.send(event{Error: AsError(why(ctx, err))})
		return
	}
	data, err := json.Marshal(v)
	if err != nil {
		out.send(event{Error: AsError(err)})
		return
	}
	out.send(event{Result: data})
}

// why replaces the bare end of a context by its cause.
func why(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) && context.Cause(ctx) != nil {
		return context.Cause(ctx)
	}
	return err
}

// lines writes one JSON value per line and lets each out at once.
type lines struct {
	mu  sync.Mutex
	enc *json.Encoder
	w   http.ResponseWriter
}

func newLines(w http.ResponseWriter) *lines {
	w.Header().Set("Content-Type", "application/x-ndjson")
	return &lines{enc: json.NewEncoder(w), w: w}
}

// send drops what cannot be written: then the client is gone, and the request's context says so.
func (l *lines) send(e event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.enc.Encode(e) == nil {
		_ = http.NewResponseController(l.w).Flush()
	}
}
