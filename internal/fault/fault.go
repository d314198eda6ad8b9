// Package fault lets tests cut a program down, or make a step fail, at named points between the steps of a change on disk.
//
// A point is armed by the environment variable VDFS_FAULT, read once when the process first passes any point:
//
//	VDFS_FAULT=name:3          kill the process (SIGKILL) when it passes the point for the third time
//	VDFS_FAULT=name:3:error    return ErrInjected that time instead
//
// Several are separated by commas. VDFS_FAULT_CLOCK has the process's clocks jump, see ClockFile. Where VDFS_FAULT_TOLD names a file, a point that acts appends its name there first, a
// line each. Unarmed, a point costs one load and a comparison. A package that has points lists their names in a table of
// its own, so that a test can loop over all of them.
package fault

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Variable is the environment variable that arms points.
const Variable = "VDFS_FAULT"

// Told is the environment variable with the file that points tell their names to when they act.
const Told = "VDFS_FAULT_TOLD"

// ErrInjected is what an armed point returns that was told to fail.
var ErrInjected = errors.New("injected fault")

// Plan says what happens at which passing of which point. A nil Plan does nothing.
type Plan struct{ points map[string]*trigger }

type trigger struct {
	at     int64
	fail   bool
	passed atomic.Int64
}

// The process has one environment and one life to end, so the plan made of it is the process's own.
var process = sync.OnceValues(func() (*Plan, error) { return Parse(os.Getenv(Variable)) })

// Check reports what is wrong with the values of VDFS_FAULT and VDFS_FAULT_CLOCK; a program that can be armed calls it at its
// start.
func Check() error {
	_, err := process()
	if path := os.Getenv(ClockFile); path != "" && err == nil {
		_, err = offset(path)
	}
	return err
}

// Point passes the point called name under the process's plan. It returns nil, or ErrInjected, or never. A plan that could
// not be parsed is an error at every point, so that a misspelt test cannot pass by arming nothing.
func Point(name string) error {
	plan, err := process()
	if err != nil {
		return err
	}
	return plan.Point(name)
}

// Cut passes the point called name where no error can be returned, as after a commit: it kills or does nothing.
func Cut(name string) {
	_ = Point(name) // whoever armed it to fail asked for nothing more
}

// Parse reads the value of VDFS_FAULT; of an empty one the plan is nil.
func Parse(value string) (*Plan, error) {
	if value == "" {
		return nil, nil
	}
	plan := &Plan{points: map[string]*trigger{}}
	for _, one := range strings.Split(value, ",") {
		part := strings.Split(one, ":")
		if len(part) < 2 || len(part) > 3 || part[0] == "" || (len(part) == 3 && part[2] != "error") {
			return nil, fmt.Errorf("parse %s: %q is not name:count or name:count:error", Variable, one)
		}
		at, err := strconv.ParseInt(part[1], 10, 64)
		if err != nil || at < 1 {
			return nil, fmt.Errorf("parse %s: count of %q is not a positive number", Variable, one)
		}
		plan.points[part[0]] = &trigger{at: at, fail: len(part) == 3}
	}
	return plan, nil
}

// Point passes the point called name.
func (p *Plan) Point(name string) error {
	if p == nil {
		return nil
	}
	t := p.points[name]
	if t == nil || t.passed.Add(1) != t.at {
		return nil
	}
	if err := tell(name); err != nil {
		return err
	}
	if t.fail {
		return fmt.Errorf("pass %s: %w", name, ErrInjected)
	}
	err := unix.Kill(unix.Getpid(), unix.SIGKILL)
	return fmt.Errorf("kill at %s: %w", name, errors.Join(ErrInjected, err)) // only reached if the signal is late
}

// tell notes that a point acts.
func tell(name string) error {
	path := os.Getenv(Told)
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("tell of %s: %w", name, err)
	}
	_, err = f.WriteString(name + "\n")
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("tell of %s: %w", name, err)
	}
	return nil
}
