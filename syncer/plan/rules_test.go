package plan_test

import (
	"errors"
	"testing"

	"vdfs/syncer/plan"
)

func TestEveryNameOfAPolicyIsKnown(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]plan.Policy{
		"mirror": plan.Replicate, "Bidirectional": plan.Synchronize, "selective": plan.Offload, "ARCHIVE": plan.Archive,
	} {
		if got, err := plan.ParsePolicy(name); got != want || err != nil {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	for p := plan.Synchronize; p <= plan.Archive; p++ {
		if got, err := plan.ParsePolicy(p.String()); got != p || err != nil {
			t.Errorf("%s: %s, %v", p, got, err)
		}
	}
	for _, name := range []string{"", "sync", "policy(0)"} {
		if got, err := plan.ParsePolicy(name); !errors.Is(err, plan.ErrPolicy) {
			t.Errorf("%q: %s, %v", name, got, err)
		}
	}
}

func TestEveryNameOfAStrategyIsKnown(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]plan.Strategy{
		"CreateConflictFile": plan.ConflictFile, "keep-both": plan.ConflictFile, "NewestWins": plan.Newest,
		"LAST_WRITE_WINS": plan.Newest, "SourceWins": plan.SourceWins, "TargetWins": plan.TargetWins, "LocalWins": plan.LocalWins,
		"RemoteWins": plan.RemoteWins, "MERGE": plan.Merge, "PromptUser": plan.Manual, "MANUAL": plan.Manual,
	} {
		if got, err := plan.ParseStrategy(name); got != want || err != nil {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	for s := plan.ConflictFile; s <= plan.Manual; s++ {
		if got, err := plan.ParseStrategy(s.String()); got != s || err != nil {
			t.Errorf("%s: %s, %v", s, got, err)
		}
	}
	for _, name := range []string{"", "oldest", "strategy(0)"} {
		if got, err := plan.ParseStrategy(name); !errors.Is(err, plan.ErrPolicy) {
			t.Errorf("%q: %s, %v", name, got, err)
		}
	}
}
