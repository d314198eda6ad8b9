package metrics

import (
	"fmt"
	"strconv"
	"strings"
)

// Text is metrics in the text form of Prometheus (exposition format 0.0.4). The zero Text is empty.
type Text struct{ out strings.Builder }

// Label is a name with its value.
type Label struct{ Name, Value string }

// Counter adds a number that only grows. Its name ends with _total.
func (t *Text) Counter(name, help string, value float64) {
	t.family(name, "counter", help).Sample(value)
}

// Gauge adds a number that goes up and down.
func (t *Text) Gauge(name, help string, value float64) { t.family(name, "gauge", help).Sample(value) }

// Gauges begins a gauge with labels; each Sample adds a line to it.
func (t *Text) Gauges(name, help string) *Family { return t.family(name, "gauge", help) }

// Summary adds how much there was in all and of how many.
func (t *Text) Summary(name, help string, sum float64, count int64) {
	f := t.family(name, "summary", help)
	f.suffix = "_sum"
	f.Sample(sum)
	f.suffix = "_count"
	f.Sample(float64(count))
}

// String is what has been added.
func (t *Text) String() string { return t.out.String() }

// Family is one metric.
type Family struct {
	t            *Text
	name, suffix string
}

var (
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

func (t *Text) family(name, kind, help string) *Family {
	fmt.Fprintf(&t.out, "# HELP %s %s\n# TYPE %s %s\n", name, helpEscapes.Replace(help), name, kind)
	return &Family{t: t, name: name}
}

// Sample adds a value. Bytes that are not UTF-8 in a label's are replaced.
func (f *Family) Sample(value float64, labels ...Label) {
	out := &f.t.out
	out.WriteString(f.name + f.suffix)
	for i, l := range labels {
		out.WriteByte("{,"[min(i, 1)])
		fmt.Fprintf(out, `%s="%s"`, l.Name, labelEscapes.Replace(strings.ToValidUTF8(l.Value, "\uFFFD")))
	}
	if len(labels) > 0 {
		out.WriteByte('}')
	}
	out.WriteString(" " + strconv.FormatFloat(value, 'g', -1, 64) + "\n")
}
