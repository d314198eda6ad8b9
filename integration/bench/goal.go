package main

import "fmt"

// goal is what vdfs has to keep to: at most this often (or, where higher is
// better, at least) what another subject takes, or at most this value.
type goal struct {
	Of      string  `json:"of,omitempty"` // a subject; empty: the limit is in the line's own unit
	Limit   float64 `json:"limit"`
	Reached bool    `json:"reached"`
}

// ofNative and ofLoopback are goals against the other subjects, within against none.
func ofNative(limit float64) goal   { return goal{Of: nativeName, Limit: limit} }
func ofLoopback(limit float64) goal { return goal{Of: loopbackName, Limit: limit} }
func within(limit float64) goal     { return goal{Limit: limit} }

// judge fills in whether the result reaches the goal, and reports whether it was measured at all.
func (g *goal) judge(r result) bool {
	of := r.Vdfs
	switch g.Of {
	case nativeName:
		of = r.OfNative
	case loopbackName:
		of = r.OfLoopback
	}
	if of == nil {
		return false
	}
	g.Reached = of.Median <= g.Limit
	if r.HigherIsBetter {
		g.Reached = of.Median >= g.Limit
	}
	return true
}

// text is the goal as the table shows it.
func (g goal) text(higherIsBetter bool) string {
	sign, of, reached := "≤", "", "not reached"
	if higherIsBetter {
		sign = "≥"
	}
	if g.Of != "" {
		of = " × " + g.Of
	}
	if g.Reached {
		reached = "reached"
	}
	return fmt.Sprintf("%s %.3g%s: %s", sign, g.Limit, of, reached)
}
