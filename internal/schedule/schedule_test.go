package schedule

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestATaskCountsItsExecutions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var all Tasks
		k := all.Task("sweep")
		for i, err := range []error{nil, errors.New("no room"), fmt.Errorf("ended: %w", context.Canceled), nil} {
			_ = k.Do(func() error {
				time.Sleep(time.Duration(i+1) * time.Second)
				return err
			})
			if want := ""; i == 1 {
				want = "no room"
				if got := k.Metrics().LastError; got != want {
					t.Errorf("last error %q", got)
				}
			}
		}
		want := Metrics{Name: "sweep", Executions: 4, Successes: 2, Errors: 1, Average: 2500 * time.Millisecond, Last: time.Now().Add(-4 * time.Second)}
		if got := k.Metrics(); got != want {
			t.Errorf("counted %+v, want %+v", got, want)
		}
		if again := all.Task("sweep"); again != k {
			t.Error("a second task of the same name")
		}
	})
}

func TestATaskIsNotDoneTwiceAtATime(t *testing.T) {
	t.Parallel()
	var all Tasks
	k := all.Task("sync")
	err := k.Do(func() error {
		if !k.Metrics().Running {
			t.Error("nothing runs")
		}
		return errors.Join(k.Do(func() error { return errors.New("done beside itself") }), k.Do(func() error { panic("done beside itself") }))
	})
	if m := k.Metrics(); err != nil || m.Executions != 1 || m.Skipped != 2 || m.Running {
		t.Errorf("%v, counted %+v", err, m)
	}
}

func TestEveryRestsAndSkipsTheTicksThatPassMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var all Tasks
		k := all.Task("purge")
		ctx, stop := context.WithCancel(context.Background())
		begun, failed := []time.Duration{}, 0
		at := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			k.Every(ctx, 10*time.Second, func(context.Context) error {
				begun = append(begun, time.Since(at))
				if len(begun) == 2 {
					time.Sleep(35 * time.Second)
					return errors.New("slow")
				}
				return nil
			}, func(error) { failed++ })
		}()
		time.Sleep(66 * time.Second)
		stop()
		<-done
		want := []time.Duration{0, 10 * time.Second, 55 * time.Second, 65 * time.Second}
		if m := k.Metrics(); !slices.Equal(begun, want) || m.Executions != 4 || m.Errors != 1 || m.Skipped != 3 || failed != 1 {
			t.Errorf("begun at %v, failed %d times, counted %+v", begun, failed, m)
		}
	})
}

func TestTasksAreToldByNameUntilTheyAreForgotten(t *testing.T) {
	t.Parallel()
	all := Tasks{Now: func() time.Time { return time.Unix(1_000_000, 0) }}
	all.Task("b")
	_ = all.Task("a").Do(func() error { return nil })
	if got := all.Metrics(); len(got) != 2 || got[0].Name != "a" || !got[0].Last.Equal(time.Unix(1_000_000, 0)) || !got[1].Last.IsZero() {
		t.Errorf("tasks are %+v", got)
	}
	all.Forget("b")
	if got := all.Metrics(); len(got) != 1 {
		t.Errorf("tasks are %+v", got)
	}
}
