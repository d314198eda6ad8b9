package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes, written as a number or as in "50GiB", "1.5TiB" or "500MB".
type Size int64

// ByDisk stands for a size that follows from the disk, as its owner named none. It is written as "auto".
const ByDisk Size = math.MinInt64

const auto = "auto"

var units = map[string]float64{
	"": 1, "b": 1,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
}

// UnmarshalText reads a size; upper and lower case are the same, and a space may stand before the unit.
func (s *Size) UnmarshalText(text []byte) error {
	if string(text) == auto {
		*s = ByDisk
		return nil
	}
	v, err := parseSize(strings.ReplaceAll(string(text), "_", "")) // as numbers are grouped in TOML
	if err != nil {
		return fmt.Errorf("%q is not a size such as 5000000 or 50GiB", text)
	}
	*s = Size(v)
	return nil
}

// MarshalText is the inverse of UnmarshalText, in the largest unit of which it is a whole number.
func (s Size) MarshalText() ([]byte, error) {
	if s == ByDisk {
		return []byte(auto), nil
	}
	n, unit := int64(s), ""
	for _, larger := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if n == 0 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, larger
	}
	return []byte(strconv.FormatInt(n, 10) + unit), nil
}

// positive refuses a size below 0 that somebody wrote.
func positive(key string, s Size) error {
	if s < 0 && s != ByDisk {
		return fmt.Errorf("%s: %d is not a size such as 5000000 or 50GiB", key, s)
	}
	return nil
}

func parseSize(text string) (int64, error) {
	end := strings.LastIndexAny(text, "0123456789") + 1
	unit, known := units[strings.ToLower(strings.TrimSpace(text[end:]))]
	if !known {
		return 0, errors.New("unknown unit")
	}
	if n, err := strconv.ParseUint(text[:end], 10, 63); err == nil && unit == 1 {
		return int64(n), nil
	}
	v, err := strconv.ParseFloat(text[:end], 64)
	if v *= unit; v != math.Trunc(v) && unit == 1 {
		return 0, errors.New("a part of a byte")
	}
	if err != nil || !(v >= 0 && v < math.MaxInt64) {
		return 0, errors.New("out of range")
	}
	return int64(v), nil
}
