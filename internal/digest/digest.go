// Package digest hashes small files, of which there are many: package blake3 starts a goroutine for each part of a tree, which
// takes longer than to hash four kilobytes.
package digest

import (
	"math/bits"

	"lukechampine.com/blake3"
	"lukechampine.com/blake3/guts"
)

// small is up to how many bytes are hashed here: a part of a tree is not larger.
const small = guts.MaxSIMD * guts.ChunkSize

// Sum is blake3.Sum256.
func Sum(b []byte) (sum [32]byte) {
	if len(b) > small {
		return blake3.Sum256(b)
	}
	n := tree(b, 0)
	n.Flags |= guts.FlagRoot
	out := guts.WordsToBytes(guts.CompressNode(n))
	copy(sum[:], out[:])
	return sum
}

// Of is the BLAKE3 of so many bytes. read fills p with those from off on; it is called in their order. What buf takes is hashed as
// a whole.
func Of(size int64, buf []byte, read func(p []byte, off int64) error) (sum [32]byte, err error) {
	if size <= int64(len(buf)) {
		if err := read(buf[:size], 0); err != nil {
			return sum, err
		}
		return Sum(buf[:size]), nil
	}
	h := blake3.New(len(sum), nil)
	for off := int64(0); off < size; off += int64(len(buf)) {
		p := buf[:min(int64(len(buf)), size-off)]
		if err := read(p, off); err != nil {
			return sum, err
		}
		_, _ = h.Write(p) // a hash never fails
	}
	h.Sum(sum[:0])
	return sum, nil
}

// tree is the root of the tree over b, which begins at a chunk: to the left as many chunks as are a power of two and leave
// something, to the right the rest.
func tree(b []byte, chunk uint64) guts.Node {
	if len(b) <= guts.ChunkSize {
		return guts.CompressChunk(b, &guts.IV, chunk, 0)
	}
	chunks := (len(b) + guts.ChunkSize - 1) / guts.ChunkSize
	if len(b)%guts.ChunkSize == 0 && bits.OnesCount(uint(chunks)) == 1 {
		return guts.CompressEigentree(b, &guts.IV, chunk, 0)
	}
	left := 1 << (bits.Len(uint(chunks-1)) - 1)
	l, r := tree(b[:left*guts.ChunkSize], chunk), tree(b[left*guts.ChunkSize:], chunk+uint64(left))
	return guts.ParentNode(guts.ChainingValue(l), guts.ChainingValue(r), &guts.IV, 0)
}
