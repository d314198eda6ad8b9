package fault

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

func TestAnArmedPointFailsOnceAtItsCount(t *testing.T) {
	t.Parallel()
	plan, err := Parse("a:2:error,b:1:error")
	if err != nil {
		t.Fatal(err)
	}
	var got []bool
	for range 4 {
		got = append(got, errors.Is(plan.Point("a"), ErrInjected))
	}
	if want := []bool{false, true, false, false}; got[0] != want[0] || got[1] != want[1] || got[2] != want[2] || got[3] != want[3] {
		t.Fatalf("a failed at %v, want %v", got, want)
	}
	if !errors.Is(plan.Point("b"), ErrInjected) || plan.Point("other") != nil {
		t.Fatal("b did not fail, or a point that is not armed did")
	}
}

func TestBadPlansAreRefused(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"a", "a:0", "a:x", "a:1:kill", ":1", "a:1,", "a:1:error:2"} {
		if _, err := Parse(value); err == nil {
			t.Errorf("%q was accepted", value)
		}
	}
	if plan, err := Parse(""); plan != nil || err != nil {
		t.Errorf("the empty plan: %v, %v", plan, err)
	}
	var none *Plan
	if none.Point("a") != nil {
		t.Error("a nil plan did something")
	}
}

// TestAnArmedPointKillsTheProcess runs itself again with a point armed.
func TestAnArmedPointKillsTheProcess(t *testing.T) {
	if os.Getenv(Variable) != "" {
		if err := Check(); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := Point("here"); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	for value, killed := range map[string]bool{"here:3": true, "here:4": false} {
		told := filepath.Join(t.TempDir(), "told")
		cmd := exec.Command(os.Args[0], "-test.run=^TestAnArmedPointKillsTheProcess$")
		cmd.Env = append(os.Environ(), Variable+"="+value, Told+"="+told)
		err := cmd.Run()
		var exit *exec.ExitError
		got := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
		if got != killed || (!killed && err != nil) {
			t.Errorf("%s: %v, want killed %v", value, err, killed)
		}
		if names, err := os.ReadFile(told); killed && string(names) != "here\n" || !killed && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s told %q, %v", value, names, err)
		}
	}
}

func BenchmarkUnarmed(b *testing.B) {
	for b.Loop() {
		if err := Point("x"); err != nil {
			b.Fatal(err)
		}
	}
}
