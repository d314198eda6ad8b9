// Package metrics counts what a drive does, from the events that its parts publish: since it was started, in the last 24
// hours, and how fast bytes go just now. It has no goroutine and no timer, and its memory is bounded: a bucket for every five
// minutes of a day, and one for each of the last seconds.
//
// It also writes numbers in the text form of Prometheus.
package metrics
