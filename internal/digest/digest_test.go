package digest

import (
	"math/rand/v2"
	"testing"
	"time"

	"lukechampine.com/blake3"
)

// TestSumIsBLAKE3 hashes bytes of every length up to what is hashed here, and some beyond, in buffers with room behind them or
// without.
func TestSumIsBLAKE3(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	all := make([]byte, 2*small)
	for i := range all {
		all[i] = byte(rnd.Uint32())
	}
	for n := range small + 100 {
		if n > 5000 && n%1024 > 1 && n%1024 < 1023 && rnd.IntN(50) > 0 {
			continue
		}
		b := all[:n]
		if n%2 == 1 {
			b = append(make([]byte, 0, n), b...)
		}
		if got, want := Sum(b), blake3.Sum256(b); got != want {
			t.Fatalf("of %d bytes: %x, want %x", n, got, want)
		}
	}
	for i := range all {
		if i%999 == 0 {
			if got, want := Sum(all[:len(all)-i]), blake3.Sum256(all[:len(all)-i]); got != want {
				t.Fatalf("of %d bytes: %x, want %x", len(all)-i, got, want)
			}
		}
	}
}

func TestOfReadsPieceByPiece(t *testing.T) {
	t.Parallel()
	all := make([]byte, 10_000)
	for i := range all {
		all[i] = byte(i * i)
	}
	for _, buffer := range []int{1000, 5000, 9999, 10_000, 20_000} {
		for _, size := range []int{0, 1, 999, 1000, 1001, 5000, 9999, 10_000} {
			next := int64(0)
			got, err := Of(int64(size), make([]byte, buffer), func(p []byte, off int64) error {
				if off != next {
					t.Errorf("%d bytes, %d at a time: read at %d, want %d", size, buffer, off, next)
				}
				next += int64(copy(p, all[off:]))
				return nil
			})
			if want := blake3.Sum256(all[:size]); err != nil || got != want {
				t.Errorf("%d bytes, %d at a time: %x, %v; want %x", size, buffer, got, err, want)
			}
		}
	}
}

func BenchmarkSum(b *testing.B) {
	p := make([]byte, 4096, 32<<10)
	for name, sum := range map[string]func([]byte) [32]byte{"digest": Sum, "blake3": blake3.Sum256} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				sum(p)
			}
		})
	}
}
