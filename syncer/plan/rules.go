package plan

import (
	"errors"
	"fmt"
	"strings"
)

// Policy is what a conduit is for.
type Policy uint8

// The policies. Synchronize keeps the content in the drive, Offload treats it
// as a cache; they decide alike.
const (
	Synchronize Policy = iota + 1
	Offload
	Replicate
	Archive
)

// End says which end of its conduit the endpoint of a leg is. Where a conduit
// has one leg, its other end is the drive itself.
type End uint8

// The ends.
const (
	Source End = iota + 1
	Target
)

// Strategy says which content holds where both sides have changed it, or have
// made it, without having seen the other's. What yields is kept: as a conflict
// file, or in the trash.
type Strategy uint8

// The strategies.
const (
	// ConflictFile gives the name to what the endpoint has and keeps the
	// drive's beside it.
	ConflictFile Strategy = iota + 1
	// Newest takes the later mtime; equal ones are decided by the greater hash.
	Newest
	// SourceWins and TargetWins name the ends of the conduit, LocalWins and
	// RemoteWins the drive and the endpoint.
	SourceWins
	TargetWins
	LocalWins
	RemoteWins
	// Largest takes the greater size, of equal ones the newest.
	Largest
	// Merge asks for a three-way merge, see OpMerge.
	Merge
	// Manual waits for a person.
	Manual
)

// Rules are what a leg decides by.
type Rules struct {
	Policy Policy
	// End is what the leg's endpoint is to the conduit.
	End End
	// Strategy is for all objects which do not have one of their own, see
	// Local.Strategy.
	Strategy Strategy
	// KeepExtra has the target of Replicate keep what the drive does not have,
	// or not any more.
	KeepExtra bool
}

// ErrPolicy is returned for a policy, an end or a strategy that the planner
// does not know.
var ErrPolicy = errors.New("no rules for this policy")

// role is what the planner knows of a policy: what may flow on the leg.
type role struct {
	// in lets what was done at the endpoint into the drive. On a leg without
	// it that is drift, and undone.
	in bool
	// out lets what was done in the drive out to the endpoint. On a leg without
	// it that stays in the drive, and nothing is ever written to the endpoint.
	out bool
	// releases has the endpoint give up what others have proved to store.
	releases bool
	// archive is where nothing is overwritten: two objects that want one name
	// are in no conflict, one gets a numbered name, and what is replaced or
	// deleted goes to the trash.
	archive bool
}

func (r Rules) role() (role, error) {
	if r.Strategy < ConflictFile || r.Strategy > Manual {
		return role{}, fmt.Errorf("strategy %d: %w", r.Strategy, ErrPolicy)
	}
	if r.End != Source && r.End != Target {
		return role{}, fmt.Errorf("end %d: %w", r.End, ErrPolicy)
	}
	source := r.End == Source
	switch r.Policy {
	case Synchronize, Offload:
		return role{in: true, out: true}, nil
	case Replicate:
		return role{in: source, out: !source}, nil
	case Archive:
		// Once the source has released a file the archive alone has it: the
		// drive follows what is done to it there.
		return role{in: true, out: !source, releases: source, archive: true}, nil
	}
	return role{}, fmt.Errorf("policy %d: %w", r.Policy, ErrPolicy)
}

var policyNames = []string{"synchronize", "offload", "replicate", "archive"}

// String returns the name under which a policy is stored.
func (p Policy) String() string {
	if name, ok := nth(int(p)-1, policyNames...); ok {
		return name
	}
	return fmt.Sprintf("policy(%d)", uint8(p))
}

var strategyNames = []string{"conflict-file", "newest", "source", "target", "local", "remote", "largest", "merge", "manual"}

// String returns the name under which a strategy is stored.
func (s Strategy) String() string {
	if name, ok := nth(int(s)-1, strategyNames...); ok {
		return name
	}
	return fmt.Sprintf("strategy(%d)", uint8(s))
}

// policyAliases and strategyAliases are the other words that people may use,
// written as plain leaves them.
var (
	policyAliases   = map[string]Policy{"mirror": Replicate, "bidirectional": Synchronize, "selective": Offload}
	strategyAliases = map[string]Strategy{
		"createconflictfile": ConflictFile, "keepboth": ConflictFile, "newestwins": Newest, "lastwritewins": Newest,
		"sourcewins": SourceWins, "targetwins": TargetWins, "localwins": LocalWins, "remotewins": RemoteWins, "promptuser": Manual,
	}
)

// plain takes away how a name is written: CreateConflictFile, CREATE_CONFLICT_FILE.
func plain(name string) string {
	return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(name))
}

// ParsePolicy returns the policy that has this name or alias, or ErrPolicy.
func ParsePolicy(name string) (Policy, error) {
	for i, known := range policyNames {
		if plain(known) == plain(name) {
			return Policy(i + 1), nil
		}
	}
	if p, ok := policyAliases[plain(name)]; ok {
		return p, nil
	}
	return 0, fmt.Errorf("policy %q: %w", name, ErrPolicy)
}

// ParseStrategy returns the strategy that has this name or alias, or ErrPolicy.
func ParseStrategy(name string) (Strategy, error) {
	for i, known := range strategyNames {
		if plain(known) == plain(name) {
			return Strategy(i + 1), nil
		}
	}
	if s, ok := strategyAliases[plain(name)]; ok {
		return s, nil
	}
	return 0, fmt.Errorf("strategy %q: %w", name, ErrPolicy)
}
