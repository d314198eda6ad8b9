package remotetest

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"vdfs/syncer/remote"
)

var readCases = []test{
	{"a range is what was asked for, cut at the end", need("Ranges", func(c *remote.Caps) bool { return c.Ranges }), func(e *env) {
		data := pattern(3<<20, 5)
		f := e.put("f", data)
		size := int64(len(data))
		for _, r := range [][2]int64{{0, -1}, {0, size}, {1, 10}, {1<<20 - 3, 1<<20 + 7}, {size - 5, 100}, {size, 1}, {size, -1}, {size + 9, 5}, {7, 0}, {7, -1}} {
			got, err := e.read(e.ep, f.ID, f.Content, r[0], r[1])
			e.ok(err)
			from := min(r[0], size)
			to := size
			if r[1] >= 0 {
				to = min(from+r[1], size)
			}
			if got != data[from:to] {
				e.Fatalf("range %v gave %d bytes, want %d", r, len(got), to-from)
			}
		}
	}},
	{"an old content is not read after a replace", nil, func(e *env) {
		f := e.put("f", "old")
		_, err := e.other.Put(e.ctx, replacement(f, "new"))
		e.ok(err)
		_, err = e.read(e.ep, f.ID, f.Content, 0, -1)
		e.is(err, remote.ErrChanged)
		e.holds(f.ID, "new")
	}},
	{"a replace while streaming gives the old bytes or ErrChanged", nil, func(e *env) {
		e.streamUnder(func(f remote.Entry) {
			_, err := e.other.Put(e.ctx, replacement(f, strings.Repeat("b", 4<<20)))
			e.ok(err)
		})
	}},
	{"a write in place while streaming gives the old bytes or ErrChanged", nil, func(e *env) {
		e.streamUnder(func(remote.Entry) { e.h.Direct.Write(e.T, "f", strings.Repeat("b", 4<<20+1)) })
	}},
	{"a delete while streaming gives the old bytes or an error", nil, func(e *env) {
		e.streamUnder(func(f remote.Entry) { e.ok(e.other.Delete(e.ctx, f.ID, remote.Pre{Tag: f.Tag}, "")) })
	}},
	{"a stream can be copied to a writer", nil, func(e *env) {
		data := pattern(5<<20+3, 1)
		f := e.put("f", data)
		r, err := e.ep.Read(e.ctx, f.ID, f.Content, 0, -1)
		e.ok(err)
		var to bytes.Buffer
		n, err := io.Copy(&to, r)
		e.ok(errors.Join(err, r.Close()))
		same(e, "length", n, int64(len(data)))
		if to.String() != data {
			e.Fatal("other bytes")
		}
	}},
	{"an absent file and a directory are not read", nil, func(e *env) {
		d := e.mkdir(e.root, "d")
		_, err := e.read(e.ep, d.ID, "", 0, -1)
		e.is(err, remote.ErrKind)
		e.ok(e.ep.Delete(e.ctx, d.ID, remote.Pre{Empty: true}, ""))
		_, err = e.read(e.ep, d.ID, "", 0, -1)
		e.is(err, remote.ErrNotFound)
	}},
	{"verify tells good from damaged, truncated and missing", need("Proof", func(c *remote.Caps) bool { return c.Proof >= remote.ProofStrong }), func(e *env) {
		data := pattern(2<<20, 9)
		f := e.put("f", data)
		want := remote.Hashes{remote.BLAKE3: blake(data)}
		for _, least := range []remote.Proof{remote.ProofSize, remote.ProofStrong, e.caps.Proof} {
			p, err := e.ep.Verify(e.ctx, f.ID, want, f.Size, least)
			e.ok(err)
			if p < least {
				e.Fatalf("asked for %d, got %d", least, p)
			}
		}
		_, err := e.ep.Verify(e.ctx, f.ID, remote.Hashes{"md5": "00"}, f.Size, remote.ProofStrong)
		e.is(err, remote.ErrUnsupported)
		flipped := []byte(data)
		flipped[len(flipped)/2] ^= 4
		for _, bad := range []string{string(flipped), data[:len(data)-1]} {
			e.h.Direct.Write(e.T, "f", bad)
			_, err := e.ep.Verify(e.ctx, f.ID, want, f.Size, remote.ProofStrong)
			e.is(err, remote.ErrCorrupt)
		}
		now := e.stat(f.ID)
		e.ok(e.other.Delete(e.ctx, f.ID, remote.Pre{Tag: now.Tag}, ""))
		_, err = e.ep.Verify(e.ctx, f.ID, want, f.Size, remote.ProofStrong)
		e.is(err, remote.ErrNotFound)
	}},
	{"a validation says what is stored, whatever the endpoint can prove", nil, func(e *env) {
		data := pattern(1<<20+3, 9)
		f := e.put("f", data)
		ask := func() remote.ValidationResponse {
			e.Helper()
			r := remote.Validate(e.ctx, e.ep, remote.ValidationRequest{Transfer: "k", Destination: f.ID, Size: f.Size, Expected: blake(data)})
			if r.Transfer != "k" || r.IsValid != (r.Err == nil) || r.IsValid != (r.Proof >= remote.ProofStrong) {
				e.Fatalf("the answer makes no sense: %+v", r)
			}
			return r
		}
		if r := ask(); !r.IsValid || r.Actual != blake(data) {
			e.Fatalf("what is stored is not valid: %+v", r)
		}
		other := []byte(data)
		other[len(other)/3] ^= 1
		e.h.Direct.Write(e.T, "f", string(other))
		if r := ask(); !errors.Is(r.Err, remote.ErrCorrupt) || r.Actual != blake(string(other)) {
			e.Fatalf("of other bytes: %+v", r)
		}
		e.h.Direct.Write(e.T, "f", data[1:])
		if r := ask(); !errors.Is(r.Err, remote.ErrCorrupt) {
			e.Fatalf("of fewer bytes: %+v", r)
		}
		now := e.stat(f.ID)
		e.ok(e.other.Delete(e.ctx, f.ID, remote.Pre{Tag: now.Tag}, ""))
		if r := ask(); !errors.Is(r.Err, remote.ErrNotFound) || r.Actual != "" {
			e.Fatalf("of nothing: %+v", r)
		}
	}},
}

// streamUnder changes a file while it is streamed. What was streamed to the
// end is the old version; else the stream must fail.
func (e *env) streamUnder(change func(f remote.Entry)) {
	e.Helper()
	old := strings.Repeat("a", 4<<20)
	f := e.put("f", old)
	r, err := e.ep.Read(e.ctx, f.ID, f.Content, 0, -1)
	e.ok(err)
	head := make([]byte, 1<<20)
	_, err = io.ReadFull(r, head)
	e.ok(err)
	change(f)
	rest, err := io.ReadAll(r)
	e.ok(r.Close())
	if err != nil {
		e.is(err, remote.ErrChanged, remote.ErrNotFound, remote.ErrUnavailable)
		return
	}
	if string(head)+string(rest) != old {
		e.Fatalf("a mix of %d bytes", len(head)+len(rest))
	}
}
