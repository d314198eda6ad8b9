package cache

import (
	"slices"
	"testing"
	"time"
)

// TestHistoryIsChosenAddedUpAndBounded has a run in every hour for some days, of which each tenth has errors.
func TestHistoryIsChosenAddedUpAndBounded(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	now := c.opt.Clock()
	c.opt.Clock = func() time.Time { return now }
	hours := func(n int) int64 { return now.Add(-time.Duration(n) * time.Hour).UnixNano() }
	cd := Conduit{UUID: "u", Name: "home", Source: "drive:/", Target: "x", Policy: "offload", Enabled: true}
	const runs = 100
	update := func(f func(tx *Tx) error) {
		t.Helper()
		if err := c.Update(0, f); err != nil {
			t.Fatal(err)
		}
	}
	update(func(tx *Tx) (err error) {
		if cd.Place, err = tx.EnsurePlace(RootIno); err != nil {
			return err
		}
		if err := tx.CreateConduit(&cd, nil); err != nil {
			return err
		}
		for i := range runs {
			g, err := tx.BeginGeneration(cd.ID, 0, 0)
			if err != nil {
				return err
			}
			g.Started = hours(runs - i)
			g.Completed, g.Copied, g.Bytes = g.Started+int64(time.Second), 2, 10
			g.Verification, g.Verified = "verified", g.Completed
			if i%10 == 9 {
				g.Errors, g.Verification, g.Verified = 1, "unverified", 0
			}
			if i == 5 {
				g.Verification, g.Verified = "failed: it was not there", 0
			}
			if err := tx.PutGeneration(g); err != nil {
				return err
			}
		}
		return nil
	})
	list := func(f GenerationFilter) (out []int64) {
		t.Helper()
		f.Conduit = cd.ID
		if err := c.View(func(tx *Tx) error {
			all, err := tx.Generations(f)
			for _, g := range all {
				out = append(out, g.Number)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	for name, tc := range map[string]struct {
		f    GenerationFilter
		want []int64
	}{
		"the newest":              {GenerationFilter{Limit: 2}, []int64{100, 99}},
		"since":                   {GenerationFilter{Since: hours(2)}, []int64{100, 99}},
		"until":                   {GenerationFilter{Until: hours(98)}, []int64{2, 1}},
		"between":                 {GenerationFilter{Since: hours(50), Until: hours(48)}, []int64{52, 51}},
		"failed":                  {GenerationFilter{Failed: true, Limit: 2}, []int64{100, 90}},
		"failed before some time": {GenerationFilter{Failed: true, Until: hours(85)}, []int64{10, 6}},
		"none":                    {GenerationFilter{Since: hours(0)}, nil},
	} {
		if got := list(tc.f); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
	sum := func(f GenerationFilter) (s GenerationTotals) {
		t.Helper()
		f.Conduit = cd.ID
		if err := c.View(func(tx *Tx) (err error) {
			s, err = tx.SumGenerations(f)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return s
	}
	if got, want := sum(GenerationFilter{Since: hours(24)}), (GenerationTotals{
		Generations: 24, Completed: 24, Verified: 21, Failed: 3, Copied: 48, Bytes: 240, Errors: 3, Took: 24e9, First: hours(24), LastCompleted: 100, LastVerified: 99,
	}); got != want {
		t.Errorf("the last day comes to %+v, want %+v", got, want)
	}
	if got := sum(GenerationFilter{Since: hours(0)}); got != (GenerationTotals{}) {
		t.Errorf("nothing comes to %+v", got)
	}

	update(func(tx *Tx) error {
		n, err := tx.PurgeGenerations(cd.ID, hours(90), hours(24), 50, 1000)
		if n != 50 { // ten are old, and forty too many
			t.Errorf("%d went", n)
		}
		return err
	})
	if got := list(GenerationFilter{}); len(got) != 50 || got[49] != 51 {
		t.Errorf("left are %v", got)
	}
	update(func(tx *Tx) error {
		n, err := tx.PurgeGenerations(cd.ID, hours(0), hours(0), 0, 7)
		if n != 7 {
			t.Errorf("%d went of 7", n)
		}
		return err
	})
	update(func(tx *Tx) error {
		_, err := tx.PurgeGenerations(cd.ID, hours(0), hours(0), 0, 1000)
		return err
	})
	if got := list(GenerationFilter{}); !slices.Equal(got, []int64{100, 99}) {
		t.Errorf("the last that was completed and the last that was verified are to stay: %v", got)
	}
	now = now.Add(generationsKept)
	if err := c.purgeGenerations(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := list(GenerationFilter{}); !slices.Equal(got, []int64{100, 99}) {
		t.Errorf("after a long time %v are left", got)
	}
}
