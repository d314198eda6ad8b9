// Package aside names what must give way to another object of its name, such as
// the losing versions of conflicts.
package aside

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	maxName      = 255 // bytes in a name, on every file system we meet
	maxExtension = 32  // bytes; a longer "extension" is part of the name
	maxDevice    = 64  // bytes of the device's name that are shown
	conflictMark = " (conflict "
	conflictTime = "2006-01-02 150405"
)

// Name makes the name under which the losing version of name is kept:
// "name (conflict DEVICE YYYY-MM-DD HHMMSS).ext", with " 2", " 3" and so on
// before the extension when taken reports that the name exists. The time is
// shown in at's location. The result is at most 255 bytes long, cut from the
// end of the stem at a rune border. The name of a conflict file does not
// nest: its own mark is replaced. taken must become false for some number.
func Name(name, device string, at time.Time, taken func(string) bool) string {
	stem, ext := splitExtension(name)
	stem = withoutMark(stem)
	mark := conflictMark + deviceName(device) + " " + at.Format(conflictTime) + ")"
	for n := 1; ; n++ {
		tail := mark + ext
		if n > 1 {
			tail = mark + " " + strconv.Itoa(n) + ext
		}
		candidate := cutAtRune(stem, maxName-len(tail)) + tail
		if !taken(candidate) {
			return candidate
		}
	}
}

// Number makes the name under which an object is kept that is no less than the
// one which has its name: "name 2.ext", "name 3.ext" and so on, the first that
// taken does not report. It is bounded and cut as Name's.
func Number(name string, taken func(string) bool) string {
	stem, ext := splitExtension(name)
	for n := 2; ; n++ {
		tail := " " + strconv.Itoa(n) + ext
		candidate := cutAtRune(stem, maxName-len(tail)) + tail
		if !taken(candidate) {
			return candidate
		}
	}
}

// splitExtension splits "a.txt" into "a" and ".txt"; the dot of a hidden file
// begins no extension.
func splitExtension(name string) (stem, ext string) {
	i := strings.LastIndexByte(name, '.')
	if i <= 0 || len(name)-i > maxExtension || strings.ContainsAny(name[i:], " ()") {
		return name, ""
	}
	return name[:i], name[i:]
}

// withoutMark removes the mark of an earlier conflict from the end of a stem.
func withoutMark(stem string) string {
	i := strings.LastIndex(stem, conflictMark)
	if i <= 0 {
		return stem
	}
	inside, number, closed := cutLast(stem[i+len(conflictMark):], ")")
	if !closed || !isNumber(number) || len(inside) < len(conflictTime) {
		return stem
	}
	if _, err := time.Parse(conflictTime, inside[len(inside)-len(conflictTime):]); err != nil {
		return stem
	}
	return stem[:i]
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// isNumber accepts "" and " 2".
func isNumber(s string) bool {
	if s == "" {
		return true
	}
	digits, ok := strings.CutPrefix(s, " ")
	if !ok || digits == "" {
		return false
	}
	return strings.Trim(digits, "0123456789") == ""
}

// deviceName is what of a device's name can be part of a file name.
func deviceName(device string) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || strings.ContainsRune(`/\:*?"<>|()`, r) || r == 0x7f {
			return '-'
		}
		return r
	}, strings.ToValidUTF8(device, "-"))
	return cutAtRune(clean, maxDevice)
}

// cutAtRune shortens s to at most n bytes without splitting a rune. Bytes that
// are no UTF-8 are borders everywhere.
func cutAtRune(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for i := n; i > 0 && i > n-utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			if r, size := utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || size > 1 || i == n {
				return s[:i]
			}
			break
		}
	}
	return s[:n]
}
