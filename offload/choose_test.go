package offload

import (
	"testing"

	"vdfs/cache"
)

func TestExcessIsWhatIsAboveTheTargets(t *testing.T) {
	t.Parallel()
	budget := Eviction{Budget: 1000}
	disk := Eviction{FreeLow: 100, FreeHigh: 150}
	both := Eviction{Budget: 1000, FreeLow: 100, FreeHigh: 150}
	for name, tc := range map[string]struct {
		rules Eviction
		level level
		going bool
		want  int64
	}{
		"no rule":                           {Eviction{}, level{here: 1 << 40}, false, 0},
		"at the budget":                     {budget, level{here: 1000}, false, 0},
		"above it, room is made below":      {budget, level{here: 1001}, false, 21},
		"going, it goes on to the target":   {budget, level{here: 990}, true, 10},
		"going, the target is the end":      {budget, level{here: 980}, true, 0},
		"the pinned does not count":         {budget, level{here: 3000, pinned: 2000}, false, 0},
		"with the pinned above":             {budget, level{here: 3100, pinned: 2000}, false, 120},
		"at the low watermark":              {disk, level{free: 100}, false, 0},
		"below it, up to the high one":      {disk, level{free: 99}, false, 51},
		"going, on to the high one":         {disk, level{free: 120}, true, 30},
		"the more urgent counts":            {both, level{here: 1001, free: 50}, false, 100},
		"a budget is above a fuller disk":   {both, level{here: 2000, free: 99}, false, 1020},
		"nothing is free, by a quota's lie": {disk, level{free: -10}, false, 160},
	} {
		if got := tc.rules.excess(tc.level, tc.going); got != tc.want {
			t.Errorf("%s: %d bytes have to go, want %d", name, got, tc.want)
		}
	}
}

func TestTheStrongestIntentOfTheNamesCounts(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		want cache.Intent
		of   []cache.Intent
	}{
		{cache.Online, []cache.Intent{cache.Online, cache.Online}},
		{cache.Auto, []cache.Intent{cache.Online, cache.Auto}},
		{cache.Inherited, []cache.Intent{cache.Online, cache.Inherited}},
		{cache.Pinned, []cache.Intent{cache.Online, cache.Auto, cache.Pinned}},
	} {
		if got := strongest(tc.of); got != tc.want {
			t.Errorf("of %v the strongest is %v, want %v", tc.of, got, tc.want)
		}
	}
}

func TestTakeEndsWhenThereIsEnough(t *testing.T) {
	t.Parallel()
	page := make([]candidate, 5)
	for i := range page {
		page[i].Used, page[i].Bytes = int64(10+i), 100
	}
	for name, tc := range map[string]struct {
		bytes, idle int64
		limit, want int
	}{
		"nothing has to go":      {0, 0, 9, 0},
		"less than one":          {1, 0, 9, 1},
		"exactly two":            {200, 0, 9, 2},
		"one more byte":          {201, 0, 9, 3},
		"more than there is":     {1000, 0, 9, 5},
		"at most":                {1000, 0, 2, 2},
		"the idle":               {0, 13, 9, 3},
		"the idle, and one more": {400, 13, 9, 4},
	} {
		if batch, rest := take(page, tc.bytes, tc.idle, tc.limit); len(batch) != tc.want || len(rest) != 5-tc.want {
			t.Errorf("%s: %d go and %d are left, want %d to go", name, len(batch), len(rest), tc.want)
		}
	}
}
