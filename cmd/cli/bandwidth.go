package cli

import (
	"errors"
	"strings"

	"vdfs/cmd/config"
)

// bandwidth is the value of a flag: bytes a second, written as in "2MiB/s"; 0 is no limit.
type bandwidth int64

// Set implements pflag.Value.
func (b *bandwidth) Set(text string) error {
	var s config.Size
	if err := s.UnmarshalText([]byte(strings.TrimSuffix(text, "/s"))); err != nil {
		return errors.New("write it as 2MiB/s or 500kB/s, or 0 for no limit")
	}
	*b = bandwidth(s)
	return nil
}

// String implements pflag.Value. The zero value shows no default in the help.
func (b *bandwidth) String() string {
	if *b == 0 {
		return ""
	}
	return rateText(int64(*b))
}

// Type implements pflag.Value.
func (b *bandwidth) Type() string { return "rate" }

// rateText shows a rate.
func rateText(bytes int64) string {
	if bytes == 0 {
		return "no limit"
	}
	return size(bytes) + "/s"
}
