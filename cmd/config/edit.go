package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"vdfs/internal/durable"
)

// Edit gives a key of the file other values, or with nil none, so that its default holds. All else in the file stays as it is:
// order, comments, blanks. What the result would not be understood of is refused, wrapping ErrInvalid, and the file stays. It
// reports whether the file changed. A file that is not there is made.
func Edit(file, hostname string, k Key, values []string) (changed bool, err error) {
	// A link to the file, as those who keep their settings elsewhere have, stays one.
	if to, err := filepath.EvalSymlinks(file); err == nil {
		file = to
	}
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("read configuration: %w", err)
	}
	data := slices.Clone(old)
	if values == nil {
		data, err = remove(data, k)
	} else {
		data, err = put(data, k, values)
	}
	if err == nil {
		err = sound(old, data, hostname, k, file)
	}
	if err != nil || string(data) == string(old) {
		return false, err
	}
	return true, replace(file, data)
}

// sound refuses the new text of a file that means something else than the old one but for a key.
func sound(old, data []byte, hostname string, k Key, file string) error {
	was, is := Default(hostname), Default(hostname)
	err := parse(data, &is)
	var at *lineError
	if errors.As(err, &at) && at.key == k.Name {
		err = errors.New(at.key + ": " + at.what) // the line is of a file that does not come to be
	}
	switch {
	case at != nil && at.key != k.Name:
		return fmt.Errorf("%w %s: %w", ErrInvalid, file, err)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	case parse(old, &was) != nil:
		return nil // it is mended by this
	}
	value := reflect.ValueOf(&was).Elem().FieldByIndex(k.field)
	value.Set(reflect.ValueOf(is).FieldByIndex(k.field))
	if !reflect.DeepEqual(was, is) {
		return byHand(k, file)
	}
	return nil
}

func byHand(k Key, file string) error {
	return fmt.Errorf("%w: %s: %s is written in a way that only a person can change it in", ErrInvalid, k.Name, file)
}

// found is where a text has a key, or would have it.
type found struct {
	from, to    int  // of key and value; 0, 0: it has not
	value       int  // where the value begins
	inline      bool // it is, or would be, between other keys of one line
	after       int  // the end of the line behind which the key would be; -1: there is no table for it
	dotted      bool // there, with the name of its table
	table, name string
}

// find looks for a key. A text that is no TOML has what comes before the mistake.
func find(data []byte, k Key) found {
	table, name, _ := strings.Cut(k.Name, ".")
	f := found{after: -1, table: table, name: name}
	p := unstable.Parser{}
	p.Reset(data)
	in := "" // the table that keys are in
	for p.NextExpression() {
		e := p.Expression()
		names, end := keyOf(e)
		switch {
		case e.Kind == unstable.Table:
			if in = names; in == table {
				f.after, f.dotted = lineEnd(data, end), false
			}
		case e.Kind == unstable.KeyValue:
			whole := strings.TrimPrefix(in+"."+names, ".")
			switch {
			case whole == k.Name:
				f.take(data, e, end)
			case whole == table && e.Value().Kind == unstable.InlineTable:
				f.inline = true
				f.within(data, e.Value())
			case strings.HasPrefix(whole, table+"."):
				f.after, f.dotted = lineEnd(data, int(e.Raw.Offset+e.Raw.Length)), in == ""
			}
		}
	}
	return f
}

// take notes where key and value of an expression are. end is that of the key.
func (f *found) take(data []byte, e *unstable.Node, end int) {
	f.from, f.to = int(e.Raw.Offset), int(e.Raw.Offset+e.Raw.Length)
	rest := string(data[end:f.to])
	f.value = f.to - len(strings.TrimLeft(strings.TrimPrefix(strings.TrimLeft(rest, " \t"), "="), " \t"))
}

// within looks for the key in a table that is written in one line.
func (f *found) within(data []byte, table *unstable.Node) {
	for it := table.Children(); it.Next(); {
		if it.Node().Kind != unstable.KeyValue {
			continue
		}
		if names, end := keyOf(it.Node()); names == f.name {
			f.take(data, it.Node(), end)
		}
	}
}

// keyOf is the key of an expression, or the table that it begins, and where it ends.
func keyOf(e *unstable.Node) (names string, end int) {
	if e.Kind != unstable.KeyValue && e.Kind != unstable.Table {
		return "", 0
	}
	var parts []string
	for it := e.Key(); it.Next(); {
		parts = append(parts, string(it.Node().Data))
		end = int(it.Node().Raw.Offset + it.Node().Raw.Length)
	}
	return strings.Join(parts, "."), end
}

// lineEnd is where the line that an offset is in ends, behind its newline if it has one.
func lineEnd(data []byte, at int) int {
	if i := strings.IndexByte(string(data[at:]), '\n'); i >= 0 {
		return at + i + 1
	}
	return len(data)
}

// put is the text with the key having other values.
func put(data []byte, k Key, values []string) ([]byte, error) {
	literal, err := k.literal(values)
	if err != nil {
		return nil, err
	}
	f := find(data, k)
	line := f.name + " = " + literal + "\n"
	switch {
	case f.to > 0:
		return slices.Replace(data, f.value, f.to, []byte(literal)...), nil
	case f.inline: // two tables of one name are refused
	case f.after >= 0:
		if f.dotted {
			line = f.table + "." + line
		}
		if f.after > 0 && data[f.after-1] != '\n' {
			line = "\n" + line
		}
		return slices.Insert(data, f.after, []byte(line)...), nil
	}
	if len(data) > 0 {
		if data[len(data)-1] != '\n' {
			data = append(data, '\n')
		}
		data = append(data, '\n')
	}
	return append(data, "["+f.table+"]\n"+line...), nil
}

// remove is the text without the key, and without the line that it leaves empty. A comment behind it was about it.
func remove(data []byte, k Key) ([]byte, error) {
	f := find(data, k)
	switch {
	case f.to == 0:
		return data, nil
	case f.inline:
		return nil, fmt.Errorf("%w: %s: it is between other keys of one line; take it out by hand", ErrInvalid, k.Name)
	}
	begin := strings.LastIndexByte(string(data[:f.from]), '\n') + 1
	return slices.Delete(data, begin, lineEnd(data, f.to)), nil
}

// replace gives a file other bytes, all of them or none.
func replace(file string, data []byte) error {
	mode := fs.FileMode(0o600)
	if info, err := os.Stat(file); err == nil {
		mode = info.Mode().Perm()
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("create directory of the configuration: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".config-*.toml")
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Chmod(mode)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = durable.Rename(tmp.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("write configuration: %w", errors.Join(err, os.Remove(tmp.Name())))
	}
	return nil
}
