package config

import (
	"fmt"
	"testing"
)

func TestSizesAreReadInAllTheirForms(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Size{
		`0`: 0, `12`: 12, `1_000`: 1000, `9223372036854775807`: 1<<63 - 1,
		`"7"`: 7, `"7B"`: 7, `"1KiB"`: 1024, `"1 kib"`: 1024, `"2MB"`: 2e6, `"2 MiB"`: 2 << 20, `"0.5GiB"`: 1 << 29, `"3TiB"`: 3 << 40, `"1TB"`: 1e12,
	} {
		c, err := load(t, "[offload]\nmin_size = "+text+"\n")
		if err != nil || c.Offload.MinSize != want {
			t.Errorf("%s is read as %d, %v, want %d", text, c.Offload.MinSize, err, want)
		}
	}
}

func TestTheDiskDecidesWhatTheOwnerDidNot(t *testing.T) {
	t.Parallel()
	const gb = int64(1) << 30
	for name, tc := range map[string]struct {
		text string
		disk int64
		want [3]int64 // budget, low, high
	}{
		"a large disk":                    {"", 1000 * gb, [3]int64{50 * gb, 50 * gb, 60 * gb}},
		"a disk in the middle":            {"", 100 * gb, [3]int64{20 * gb, 5 * gb, 6 * gb}},
		"a small disk":                    {"", 10 * gb, [3]int64{2 * gb, 10 * gb / 4, 3 * gb}},
		"what is written counts":          {"[cache]\nmax_size = 7\n[offload]\nfree_low = 100\nfree_high = 110\n", gb, [3]int64{7, 100, 110}},
		"high follows low":                {"[offload]\nfree_low = 100\n", 100 * gb, [3]int64{20 * gb, 100, 120}},
		"low is not above high":           {"[offload]\nfree_high = 100\n", 100 * gb, [3]int64{20 * gb, 100, 100}},
		"no watermark":                    {"[offload]\nfree_low = 0\nfree_high = 100\n", 100 * gb, [3]int64{20 * gb, 0, 0}},
		"nothing is dropped if it is off": {"[cache]\nmax_size = 7\n[offload]\nenabled = false\n", 100 * gb, [3]int64{}},
	} {
		c, err := load(t, tc.text)
		if err != nil {
			t.Fatal(err)
		}
		low, high := c.Watermarks(tc.disk)
		if got := [3]int64{c.Budget(tc.disk), low, high}; got != tc.want {
			t.Errorf("%s: budget and watermarks are %s, want %s", name, fmt.Sprint(got), fmt.Sprint(tc.want))
		}
	}
}
