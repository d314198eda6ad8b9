package daemon

import (
	"vdfs/cache"
	"vdfs/cmd/control"
	"vdfs/internal/schedule"
)

// taskStatus are the metrics of tasks as the protocol has them.
func taskStatus(all []schedule.Metrics) []control.TaskStatus {
	out := make([]control.TaskStatus, 0, len(all))
	for _, m := range all {
		out = append(out, control.TaskStatus{
			Name: m.Name, Executions: m.Executions, Successes: m.Successes, Errors: m.Errors, Skipped: m.Skipped,
			Average: m.Average.Seconds(), Last: planned(m.Last), LastError: m.LastError, Running: m.Running,
		})
	}
	return out
}

// pending counts the changes of the drive that are not sent yet. What waits for a decision of a person is no such change.
func (p *parts) pending() (n int64, err error) {
	err = p.cache.Survey(func(tx *cache.Tx) error {
		counts, err := tx.CountItems()
		for _, c := range counts {
			if c.Origin == cache.OriginLocal && c.Status != cache.ItemConflicted {
				n += c.Count
			}
		}
		return err
	})
	return n, err
}
