package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"vdfs/cmd/control"
)

// instant is the cadence of a conduit that has no runs: it works as soon as there is something to do.
const instant = "instant"

// runsText says when a conduit works: its cadence, and when its next run is.
func (a *app) runsText(c control.ConduitStatus) string {
	if c.Cadence == instant || c.NextSync == nil {
		return c.Cadence
	}
	return fmt.Sprintf("%s, next %s", c.Cadence, ago(a.Now(), *c.NextSync))
}

// workText is what status adds for those who want to know why and how often something is done.
func (a *app) workText(s control.Status) string {
	t := table{colour: a.heading(-1)}
	t.add("CONDUIT", "LAST BEGUN BY", "BEGUN BY")
	for _, c := range s.Conduits {
		var times []string
		for _, why := range slices.Sorted(maps.Keys(c.Triggers)) {
			times = append(times, fmt.Sprintf("%s %d", why, c.Triggers[why]))
		}
		t.add(c.Name, cmp.Or(c.LastTrigger, "-"), cmp.Or(strings.Join(times, ", "), "-"))
	}
	tasks := table{colour: a.heading(-1)}
	tasks.add("TASK", "RUNS", "WELL", "FAILED", "SKIPPED", "TAKES", "LAST", "ERROR")
	for _, k := range s.Tasks {
		last := since(a.Now(), k.Last)
		if k.Running {
			last = "now"
		}
		tasks.add(k.Name, fmt.Sprint(k.Executions), fmt.Sprint(k.Successes), fmt.Sprint(k.Errors), fmt.Sprint(k.Skipped),
			fmt.Sprintf("%.3f s", k.Average), last, cmp.Or(k.LastError, "-"))
	}
	return t.String() + "\n" + tasks.String()
}
