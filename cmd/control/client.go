package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"

	"golang.org/x/sys/unix"
)

// Client speaks to one daemon. It opens a connection per request and needs no closing.
type Client struct {
	socket string
	http   http.Client
}

// NewClient is a client of the daemon behind the socket. It connects with the first request.
func NewClient(socket string) *Client {
	return &Client{socket: socket, http: http.Client{Transport: &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, socket) },
		DisableKeepAlives: true,
	}}}
}

// Socket is the path of the socket.
func (c *Client) Socket() string { return c.socket }

// Drive asks who is there. Its error has code NoDrive when nobody is.
func (c *Client) Drive(ctx context.Context) (Drive, error) { return Get[Drive](ctx, c, "/v1/drive") }

// Get sends a request without a body; path includes the query.
func Get[T any](ctx context.Context, c *Client, path string) (T, error) {
	return plain[T](ctx, c, http.MethodGet, path, nil)
}

// Post sends req and returns the answer.
func Post[T any](ctx context.Context, c *Client, path string, req any) (T, error) {
	return plain[T](ctx, c, http.MethodPost, path, req)
}

// Delete sends a DELETE request.
func Delete(ctx context.Context, c *Client, path string) error {
	_, err := plain[None](ctx, c, http.MethodDelete, path, nil)
	return err
}

// Stream sends req, calls report with each progress line and returns the result.
func Stream[T any](ctx context.Context, c *Client, path string, req any, report Report) (T, error) {
	return lineByLine[T](ctx, c, path, req, func(e event) error {
		if e.Progress != nil {
			report(*e.Progress)
		}
		return nil
	})
}

// Items sends req, calls item with each item as it comes and returns the result. An error of item's ends the request.
func Items[I, T any](ctx context.Context, c *Client, path string, req any, item func(I) error) (T, error) {
	return lineByLine[T](ctx, c, path, req, func(e event) error {
		var i I
		if err := json.Unmarshal(e.Item, &i); err != nil {
			return fmt.Errorf("decode answer of the daemon: %w", err)
		}
		return item(i)
	})
}

// lineByLine calls line with each line of an answer that is neither an error nor the result.
func lineByLine[T any](ctx context.Context, c *Client, path string, req any, line func(event) error) (T, error) {
	var result T
	resp, err := c.send(ctx, http.MethodPost, path, req)
	if err != nil {
		return result, err
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(resp.Body)
	for {
		var e event
		if err := dec.Decode(&e); err != nil {
			return result, c.broken(ctx, err)
		}
		switch {
		case e.Error != nil:
			return result, e.Error
		case e.Result != nil:
			if err := json.Unmarshal(e.Result, &result); err != nil {
				return result, fmt.Errorf("decode answer of the daemon: %w", err)
			}
			return result, nil
		}
		if err := line(e); err != nil {
			return result, err
		}
	}
}

// Escape makes a name one segment of a request path.
func Escape(name string) string { return url.PathEscape(name) }

// Query makes a query string of pairs of names and values.
func Query(pairs ...string) string {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return "?" + v.Encode()
}

func plain[T any](ctx context.Context, c *Client, method, path string, req any) (T, error) {
	var result T
	resp, err := c.send(ctx, method, path, req)
	if err != nil {
		return result, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&result); err != nil {
		return result, c.broken(ctx, err)
	}
	return result, nil
}

// send returns a successful answer, whose body the caller closes, or the daemon's error.
func (c *Client) send(ctx context.Context, method, path string, req any) (*http.Response, error) {
	var body io.Reader
	if req != nil {
		data, err := json.Marshal(req)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://vdfs"+path, body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.broken(ctx, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	var e event
	if err := json.NewDecoder(resp.Body).Decode(&e); err != nil || e.Error == nil {
		return nil, fmt.Errorf("the daemon answered %s", resp.Status)
	}
	return nil, e.Error
}

// broken says why there is no answer: nobody listens, the caller gave up, or the daemon died.
func (c *Client) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOTDIR) {
		return &Error{Code: NoDrive, Message: "no vdfs daemon is running (start one with `vdfs mount MOUNTPOINT`)"}
	}
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("connect to %s: the drive belongs to another user", c.socket)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) {
		return &Error{Code: NoDrive, Message: "the vdfs daemon ended before it answered"}
	}
	return fmt.Errorf("ask the daemon: %w", err)
}
