package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// printJSON writes one indented value: for scripts, and still readable.
func (a *app) printJSON(v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode output: %w", err)
	}
	return a.print(string(data) + "\n")
}

// jsonList prints a list as printJSON does, element by element: a long one is never held whole.
type jsonList struct {
	app    *app
	indent string // of the list itself
	n      int
}

func (l *jsonList) add(v any) error {
	inside := l.indent + "  "
	data, err := json.MarshalIndent(v, inside, "  ")
	if err != nil {
		return fmt.Errorf("encode output: %w", err)
	}
	before := ",\n"
	if l.n++; l.n == 1 {
		before = "[\n"
	}
	return l.app.print(before + inside + string(data))
}

// end closes the list. Only one that is a value of its own ends its line.
func (l *jsonList) end() error {
	text := "\n" + l.indent + "]"
	if l.n == 0 {
		text = "[]"
	}
	if l.indent == "" {
		text += "\n"
	}
	return l.app.print(text)
}

// print writes data to stdout; a reader that went away is an error.
func (a *app) print(text string) error {
	if _, err := io.WriteString(a.Out, text); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// shown is a name fit for a screen: control characters would act there. Into a pipe it goes as it is.
func (a *app) shown(name string) string {
	if !terminal(a.Out) {
		return name
	}
	return safe(name)
}

func safe(name string) string {
	for _, r := range name {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return strconv.Quote(name)
		}
	}
	return name
}

// size is a number of bytes as people read it: 999 B, 1.5 KiB, 23 GiB.
func size(n int64) string {
	const units = "KMGTPE"
	if n < 1024 && n > -1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n), 0
	for v /= 1024; (v >= 1023.95 || v <= -1023.95) && unit < len(units)-1; unit++ {
		v /= 1024
	}
	if v < 10 && v > -10 {
		return fmt.Sprintf("%.1f %ciB", v, units[unit])
	}
	return fmt.Sprintf("%.0f %ciB", v, units[unit])
}

// ago is a time as seen from now: "just now", "5 min ago", "in 20 s".
func ago(now, t time.Time) string {
	d := now.Sub(t)
	if d > -time.Second && d < time.Second {
		return "just now"
	}
	if d < 0 {
		return "in " + span(-d)
	}
	return span(d) + " ago"
}

// since is ago for a time that may be missing.
func since(now time.Time, t *time.Time) string {
	if t == nil {
		return "never"
	}
	return ago(now, *t)
}

func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// plural is "1 file", "2 files".
func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// table is text in aligned columns. The first row is the heading.
type table struct {
	rows   [][]string
	colour func(row, column int, text string) string // nil: none
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// String aligns by characters, so that colours and UTF-8 names do not shift columns.
func (t *table) String() string {
	var widths []int
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var out strings.Builder
	for r, row := range t.rows {
		for i, cell := range row {
			text := cell
			if t.colour != nil {
				text = t.colour(r, i, cell)
			}
			out.WriteString(text)
			if i < len(row)-1 {
				out.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		out.WriteByte('\n')
	}
	return out.String()
}

// The colours of states: green is well, cyan is on its way, yellow wants attention, red is wrong.
const (
	plain  = ""
	bold   = "\x1b[1m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	blue   = "\x1b[34m"
	cyan   = "\x1b[36m"
)

// stateColour is the colour of a state of a file, conduit or drive.
func stateColour(state string) string {
	switch state {
	case "local", "pinned", "idle":
		return green
	case "pending", "uploading", "pinning", "partial", "syncing":
		return cyan
	case "paused", "offline", "attention", "conflict", "excluded":
		return yellow
	case "error":
		return red
	case "cloud":
		return blue
	}
	return plain
}

// paint colours text where colours are wanted.
func (a *app) paint(colour, text string) string {
	if colour == plain || !a.colours() {
		return text
	}
	return colour + text + "\x1b[0m"
}

// heading makes the first row of a table bold and colours the states in one column.
func (a *app) heading(states int) func(int, int, string) string {
	return func(row, column int, text string) string {
		switch {
		case row == 0:
			return a.paint(bold, text)
		case column == states:
			return a.paint(stateColour(text), text)
		}
		return text
	}
}
