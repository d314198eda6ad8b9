package remote

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"lukechampine.com/blake3"
)

// ValidationRequest asks whether a storage has what a transfer was to bring there.
type ValidationRequest struct {
	Transfer    OpKey   // the write that is to be proved; "": none, a copy is looked at again
	Destination ItemID  // where its bytes are
	Content     Content // of what is there; "": whatever it is
	Size        int64   // bytes
	Expected    string  // their BLAKE3 in lower-case hex
}

// ValidationResponse is what came of a ValidationRequest.
type ValidationResponse struct {
	Transfer OpKey
	IsValid  bool
	Actual   string // the BLAKE3 of what is stored; "": nobody knows, as where it is missing or has another size
	Proof    Proof  // what stands behind IsValid, at least ProofStrong; else ProofNone
	Err      error  // why it is not valid: ErrCorrupt for other bytes, else what kept it from being proved
}

// Validate has an endpoint prove what it stores, by a hash that it computes itself over its bytes. Where it has none as good, the
// bytes are read and hashed here.
func Validate(ctx context.Context, ep Endpoint, r ValidationRequest) ValidationResponse {
	out := ValidationResponse{Transfer: r.Transfer}
	out.Proof, out.Err = ep.Verify(ctx, r.Destination, Hashes{BLAKE3: r.Expected}, r.Size, ProofStrong)
	if errors.Is(out.Err, ErrUnsupported) && r.Expected != "" {
		out.Proof, out.Err = validateHere(ctx, ep, r)
	}
	var other *OtherBytes
	switch {
	case out.Err == nil:
		out.IsValid, out.Actual = true, r.Expected
	case errors.As(out.Err, &other):
		out.Actual = other.Actual
	}
	return out
}

func validateHere(ctx context.Context, ep Endpoint, r ValidationRequest) (Proof, error) {
	body, err := ep.Read(ctx, r.Destination, r.Content, 0, -1)
	if err != nil {
		return ProofNone, fmt.Errorf("read back: %w", err)
	}
	sum := blake3.New(32, nil)
	n, err := io.CopyBuffer(sum, body, make([]byte, 256<<10))
	err = errors.Join(err, body.Close())
	if got := hex.EncodeToString(sum.Sum(nil)); err == nil && (n != r.Size || got != r.Expected) {
		err = &OtherBytes{got}
	}
	if err != nil {
		return ProofNone, fmt.Errorf("read back: %w", err)
	}
	return ProofRead, nil
}

// OtherBytes is an ErrCorrupt that tells what is stored instead.
type OtherBytes struct{ Actual string } // its BLAKE3 in lower-case hex

// Error implements error.
func (o *OtherBytes) Error() string { return ErrCorrupt.Error() }

// Unwrap makes it an ErrCorrupt.
func (o *OtherBytes) Unwrap() error { return ErrCorrupt }
