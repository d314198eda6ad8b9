package syncer

import (
	"errors"
	"testing"

	"vdfs/cache"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote/memory"
)

func TestRulesOfConduits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		conduit cache.Conduit
		role    cache.Role
		want    plan.Rules
	}{
		"from the drive": {
			cache.Conduit{Policy: "offload", Strategy: "conflict-file", Source: "drive:/a", Target: "/b"},
			cache.RoleTarget,
			plan.Rules{Policy: plan.Offload, End: plan.Target, Strategy: plan.ConflictFile},
		},
		"into the drive": {
			cache.Conduit{Policy: "synchronize", Strategy: "conflict-file", Source: "/b", Target: "drive:/a"},
			cache.RoleSource,
			plan.Rules{Policy: plan.Synchronize, End: plan.Source, Strategy: plan.ConflictFile},
		},
		"of a newer version": {
			cache.Conduit{Policy: "consolidate", Strategy: "newest", Source: "drive:/a", Target: "/b"}, cache.RoleTarget, plan.Rules{End: plan.Target},
		},
		"with a strategy of a newer version": {
			cache.Conduit{Policy: "synchronize", Strategy: "oldest", Source: "drive:/a", Target: "/b"}, cache.RoleTarget, plan.Rules{End: plan.Target},
		},
		"with settings that are none": {
			cache.Conduit{Policy: "replicate", PolicyConfig: "{", Strategy: "newest"}, cache.RoleSource, plan.Rules{End: plan.Source},
		},
		"to a target that follows": {
			cache.Conduit{Policy: "replicate", PolicyConfig: "{}", Strategy: "newest"},
			cache.RoleTarget,
			plan.Rules{Policy: plan.Replicate, End: plan.Target, Strategy: plan.Newest},
		},
		"to a target that keeps what is deleted": {
			cache.Conduit{Policy: "replicate", PolicyConfig: `{"mirror_deletions":false}`, Strategy: "newest"},
			cache.RoleTarget,
			plan.Rules{Policy: plan.Replicate, End: plan.Target, Strategy: plan.Newest, KeepExtra: true},
		},
	} {
		if got := rulesOf(c.conduit, c.role); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// A policy that this version does not know, as of an index that a newer one has written, must stop the leg: under another
// policy it might delete.
func TestAnUnknownPolicyMovesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(memory.Options{}))
	r.settle()
	r.must(r.c.Update(0, func(tx *cache.Tx) error {
		cd, _, err := tx.ConduitByName("home")
		if err != nil {
			return err
		}
		cd.Policy = "consolidate"
		return tx.UpdateConduit(cd)
	}))
	r.reopen()
	r.write("here", "bytes")
	r.far(0).write("there", "bytes")
	err := r.cycle(r.legs()[0])
	if !errors.Is(err, plan.ErrPolicy) {
		t.Errorf("the cycle ended with %v", err)
	}
	if tree := r.stores[0].Tree(); len(tree) != 1 {
		t.Errorf("the endpoint has %v", tree)
	}
}
