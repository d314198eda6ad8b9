package integration

import (
	"bytes"
	"fmt"
	"strconv"
	"testing"
)

// stampLine is the length of a line of a stamped text.
const stampLine = 64

// stamped is n bytes from off on of the text of a version of a file. Each line of it says which version it is of and where, so
// that a mix of two versions, or bytes of none, shows wherever it is read.
func stamped(version, off, n int) []byte {
	from := off &^ (stampLine - 1)
	text := make([]byte, 0, off-from+n+stampLine)
	line := fmt.Appendf(nil, "version %010d at %012d ----------------------------\n", version, from)
	const end = len("version 0000000000 at 000000000000")
	for at := from; at < off+n; at += stampLine {
		for i, rest := end, at; rest > 0; rest /= 10 {
			i--
			line[i] = '0' + byte(rest%10)
		}
		text = append(text, line...)
	}
	return text[off-from:][:n]
}

// stampedVersion is the version of which a piece of a stamped text is that was read at off; 0: there is no whole line in it.
func stampedVersion(piece []byte, off int) (int, error) {
	line := piece[min(-off&(stampLine-1), len(piece)):]
	if len(line) < stampLine {
		return 0, nil
	}
	if fields := bytes.Fields(line[:stampLine]); len(fields) > 1 && string(fields[0]) == "version" {
		if version, err := strconv.Atoi(string(fields[1])); err == nil {
			return version, nil
		}
	}
	return 0, fmt.Errorf("%q, read at %d or after, is of no version: %w", line[:stampLine], off, errModel)
}

func TestAStampedTextTellsItsVersionAnywhere(t *testing.T) {
	t.Parallel()
	text := stamped(7, 0, 1000)
	for off := range text {
		piece := stamped(7, off, len(text)-off)
		if !bytes.Equal(piece, text[off:]) {
			t.Fatalf("from %d it is %q, want %q", off, piece, text[off:])
		}
		version, err := stampedVersion(piece, off)
		must(t, err)
		want := 0
		if next := (off + stampLine - 1) / stampLine * stampLine; next+stampLine <= len(text) {
			want = 7
		}
		if version != want {
			t.Fatalf("from %d it is of version %d, want %d", off, version, want)
		}
	}
	if _, err := stampedVersion(make([]byte, 2*stampLine), 1); err == nil {
		t.Error("zeros are of a version")
	}
}
