package control

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Path is a file path: any bytes, as file names are. In JSON it is a string;
// a byte that is no part of valid UTF-8 becomes the lone surrogate U+DC80 to
// U+DCFF, as Python's file functions have it, so that nothing is lost on the way.
type Path string

// MarshalJSON writes the path as one JSON string.
func (p Path) MarshalJSON() ([]byte, error) {
	s := string(p)
	if utf8.ValidString(s) {
		return json.Marshal(s)
	}
	out := []byte{'"'}
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			out = fmt.Appendf(out, `\udc%02x`, s[0])
			s = s[1:]
			continue
		}
		quoted, err := json.Marshal(s[:n])
		if err != nil {
			return nil, err
		}
		out = append(out, quoted[1:len(quoted)-1]...)
		s = s[n:]
	}
	return append(out, '"'), nil
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (p *Path) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	if len(data) < 2 || data[0] != '"' {
		return fmt.Errorf("decode path: %s is not a string", data)
	}
	var out strings.Builder
	rest := string(data[1 : len(data)-1])
	for {
		at := surrogate(rest)
		if at < 0 {
			break
		}
		b, err := strconv.ParseUint(rest[at+4:at+6], 16, 8)
		if err != nil {
			return fmt.Errorf("decode path: %w", err)
		}
		if err := appendString(&out, rest[:at]); err != nil {
			return err
		}
		out.WriteByte(byte(b))
		rest = rest[at+6:]
	}
	if err := appendString(&out, rest); err != nil {
		return err
	}
	*p = Path(out.String())
	return nil
}

// appendString decodes the inside of a JSON string.
func appendString(out *strings.Builder, inside string) error {
	var s string
	if err := json.Unmarshal([]byte(`"`+inside+`"`), &s); err != nil {
		return fmt.Errorf("decode path: %w", err)
	}
	out.WriteString(s)
	return nil
}

// surrogate finds the first escape of a lone surrogate that stands for a byte; -1: none.
// The second half of a proper pair is no such escape.
func surrogate(s string) int {
	for i := 0; i+1 < len(s); {
		if s[i] != '\\' {
			i++
			continue
		}
		if s[i+1] != 'u' || i+6 > len(s) {
			i += 2
			continue
		}
		switch v, err := strconv.ParseUint(s[i+2:i+6], 16, 16); {
		case err == nil && v >= 0xd800 && v < 0xdc00:
			i += 12
		case err == nil && v >= 0xdc80 && v <= 0xdcff:
			return i
		default:
			i += 6
		}
	}
	return -1
}
