package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Key is one setting.
type Key struct {
	Name  string // as in "sync.interval": the table in the file and the key in it
	field []int  // of Config
}

// Keys are all settings, in the order of Config.
func Keys() (out []Key) {
	tables := reflect.TypeFor[Config]()
	for i := range tables.NumField() {
		table := tables.Field(i)
		for j := range table.Type.NumField() {
			name := table.Tag.Get("toml") + "." + table.Type.Field(j).Tag.Get("toml")
			out = append(out, Key{name, []int{i, j}})
		}
	}
	return out
}

// FindKey is the setting of a name. The error for one that nothing has wraps ErrInvalid.
func FindKey(name string) (Key, error) {
	all := Keys()
	if i := slices.IndexFunc(all, func(k Key) bool { return k.Name == name }); i >= 0 {
		return all[i], nil
	}
	return Key{}, fmt.Errorf("%w: %s: unknown key (see vdfs config list)", ErrInvalid, name)
}

// Of is the value that a configuration has for the key. It encodes to JSON as the file has it, sizes as text.
func (k Key) Of(c Config) any { return reflect.ValueOf(c).FieldByIndex(k.field).Interface() }

// Text is the value as a person writes it, of a list each item.
func (k Key) Text(c Config) []string {
	switch v := k.Of(c).(type) {
	case []string:
		return slices.Clone(v)
	case encoding.TextMarshaler:
		text, err := v.MarshalText()
		if err != nil {
			panic(err) // none of ours fails
		}
		return []string{string(text)}
	default:
		return []string{fmt.Sprint(v)}
	}
}

// List reports whether the key has any number of values.
func (k Key) List() bool { return k.kind() == reflect.Slice }

// Choices are the only values there are for the key; nil: there are too many to name.
func (k Key) Choices() []string {
	switch {
	case k.kind() == reflect.Bool:
		return []string{"true", "false"}
	case k.Name == "log.level":
		return slices.Clone(levels)
	case k.Name == "conflict.default":
		return slices.Clone(Strategies)
	}
	return nil
}

func (k Key) kind() reflect.Kind { return reflect.TypeFor[Config]().FieldByIndex(k.field).Type.Kind() }

// literal is what a person wrote as values of the key, as the file has it. What is no value of its kind is left as it is: the
// check of the whole says what is wrong.
func (k Key) literal(values []string) (string, error) {
	if k.List() {
		quoted := make([]string, len(values))
		for i, v := range values {
			quoted[i] = quote(v)
		}
		return "[" + strings.Join(quoted, ", ") + "]", nil
	}
	if len(values) != 1 {
		return "", fmt.Errorf("%w: %s: it has one value", ErrInvalid, k.Name)
	}
	switch _, text := reflect.New(reflect.TypeFor[Config]().FieldByIndex(k.field).Type).Interface().(encoding.TextUnmarshaler); {
	case text:
		return quote(values[0]), nil
	case k.kind() == reflect.Bool:
		if v := values[0]; v != "true" && v != "false" {
			return "", fmt.Errorf("%w: %s: %q is not true or false", ErrInvalid, k.Name, v)
		}
		return values[0], nil
	case k.kind() == reflect.Int:
		n, err := strconv.Atoi(values[0])
		if err != nil {
			return "", fmt.Errorf("%w: %s: %q is not a number", ErrInvalid, k.Name, values[0])
		}
		return strconv.Itoa(n), nil
	}
	return quote(values[0]), nil
}

// quote is a basic string of TOML.
func quote(s string) string {
	var out strings.Builder
	out.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			out.WriteByte('\\')
			out.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&out, `\u%04X`, r)
		default:
			out.WriteRune(r)
		}
	}
	out.WriteByte('"')
	return out.String()
}
