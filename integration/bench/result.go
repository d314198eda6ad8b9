package main

import "slices"

// samples are the values of every round by the name of the subject.
type samples map[string][]float64

// figure is the median of several values with the least and the greatest.
type figure struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// result is one line of the table. What was not measured is missing.
type result struct {
	Mode           mode    `json:"mode"`
	Name           string  `json:"name"`
	Unit           string  `json:"unit"`
	HigherIsBetter bool    `json:"higher_is_better"`
	Native         *figure `json:"native,omitempty"`
	Loopback       *figure `json:"loopback,omitempty"`
	Vdfs           *figure `json:"vdfs,omitempty"`
	Rounds         int     `json:"rounds"`
	OfNative       *figure `json:"of_native,omitempty"`   // ratios, round by round
	OfLoopback     *figure `json:"of_loopback,omitempty"` // ratios, round by round
	Goals          []goal  `json:"goals,omitempty"`
}

func newResult(m mode, l line, s samples) result {
	r := result{
		Mode: m, Name: l.name, Unit: l.unit, HigherIsBetter: l.higherIsBetter,
		Rounds: len(s[vdfsName]), Native: figureOf(s[nativeName]), Loopback: figureOf(s[loopbackName]), Vdfs: figureOf(s[vdfsName]),
	}
	if !l.relative {
		r.OfNative = figureOf(ratios(s[vdfsName], s[nativeName]))
		r.OfLoopback = figureOf(ratios(s[vdfsName], s[loopbackName]))
	}
	for _, g := range l.goals {
		if g.judge(r) {
			r.Goals = append(r.Goals, g)
		}
	}
	return r
}

// figureOf sums the values up; nil of none.
func figureOf(values []float64) *figure {
	if len(values) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(values))
	return &figure{Median: percentile(sorted, 50), Min: sorted[0], Max: sorted[len(sorted)-1]}
}

// percentile is the value that p of a hundred do not exceed. The values are sorted
// and not none.
func percentile[T any](sorted []T, p int) T {
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

// ratios divides round by round: what disturbed both at that time is no part of it.
func ratios(values, of []float64) []float64 {
	var found []float64
	for i := range min(len(values), len(of)) {
		if of[i] != 0 {
			found = append(found, values[i]/of[i])
		}
	}
	return found
}
