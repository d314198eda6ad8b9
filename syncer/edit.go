package syncer

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"vdfs/cache"
	"vdfs/cache/event"
	"vdfs/internal/throttle"
	"vdfs/syncer/plan"
)

// Settings are what of a conduit can be changed. Nil fields are not given.
type Settings struct {
	Strategy, Cadence *string
	Rules             *[]cache.Rule // all of them
	KeepExtra         *bool         // see Spec
	Parallel          *int
	Bandwidth         *int64
	UseIndexRules     *bool // what rules ignore is left out
}

// apply checks the settings and writes them into a conduit. Rules are returned in the form that is stored.
func (s Settings) apply(cd *cache.Conduit) (rules []cache.Rule, err error) {
	if s.Strategy != nil {
		if cd.Strategy, err = strategyName(*s.Strategy); err != nil {
			return nil, invalid("%v", err)
		}
	}
	if s.Cadence != nil {
		c, err := parseCadence(*s.Cadence)
		if err != nil {
			return nil, err
		}
		cd.Cadence = c.String()
	}
	if s.Parallel != nil {
		if *s.Parallel < 1 || *s.Parallel > maxParallel {
			return nil, invalid("copies at once must be 1 to %d, not %d", maxParallel, *s.Parallel)
		}
		cd.Parallel = *s.Parallel
	}
	if s.Bandwidth != nil {
		if *s.Bandwidth != 0 && *s.Bandwidth < throttle.Least {
			return nil, invalid("a bandwidth is at least %d bytes a second, or 0 for no limit, not %d", throttle.Least, *s.Bandwidth)
		}
		cd.Bandwidth = *s.Bandwidth
	}
	if s.KeepExtra != nil {
		if err := keepExtra(cd, *s.KeepExtra); err != nil {
			return nil, err
		}
	}
	if s.UseIndexRules != nil {
		cd.UseIndexRules = *s.UseIndexRules
	}
	if s.Rules == nil {
		return nil, nil
	}
	return checkRules(*s.Rules)
}

// keepExtra writes into a conduit whether its target keeps what the source does not have.
func keepExtra(cd *cache.Conduit, keep bool) error {
	if cd.Policy != PolicyReplicate {
		return invalid("only replicate can keep what its source does not have: with %s nothing is removed for that", cd.Policy)
	}
	config, err := parseConfig(cd.PolicyConfig)
	if err != nil {
		return fmt.Errorf("settings of conduit %s: %w", cd.Name, err)
	}
	mirror := !keep
	config.MirrorDeletions = &mirror
	text, err := json.Marshal(config)
	cd.PolicyConfig = string(text)
	return err
}

// strategyName is the stored name of a strategy; "" is the default.
func strategyName(s string) (string, error) {
	if s == "" {
		return StrategyConflictFile, nil
	}
	strategy, err := plan.ParseStrategy(s)
	if err != nil {
		return "", fmt.Errorf("strategy %q: choose conflict-file, newest, largest, local, remote, source, target, merge or manual", s)
	}
	return strategy.String(), nil
}

// checkRules brings rules into the form that is stored.
func checkRules(rules []cache.Rule) (out []cache.Rule, err error) {
	for _, r := range rules {
		if _, err := path.Match(r.Pattern, ""); err != nil || strings.Trim(r.Pattern, "/") == "" {
			return nil, invalid("rule %s=%s: the pattern is none", r.Pattern, r.Strategy)
		}
		if r.Strategy == "" {
			return nil, invalid("rule %s: it needs a strategy, as in %s=newest", r.Pattern, r.Pattern)
		}
		if r.Strategy, err = strategyName(r.Strategy); err != nil {
			return nil, invalid("rule %s: %v", r.Pattern, err)
		}
		out = append(out, r)
	}
	return out, nil
}

// Edit says what to change of a conduit. What it joins stays: files would be where nobody looks for them.
type Edit struct {
	Name *string // nil: it stays
	Settings
}

// EditConduit changes a conduit, all of it or nothing. What waited for a decision is decided anew.
func (e *Engine) EditConduit(name string, change Edit) (cache.Conduit, error) {
	var cd cache.Conduit
	err := e.Cache.Update(0, func(tx *cache.Tx) (err error) {
		var ok bool
		if cd, ok, err = tx.ConduitByName(name); err != nil || !ok {
			return errors.Join(err, ErrUnknownConduit)
		}
		if change.Name != nil {
			if err := checkName(*change.Name); err != nil {
				return err
			}
			cd.Name = *change.Name
		}
		rules, err := change.apply(&cd)
		if err == nil {
			err = e.canMerge(cd, rules)
		}
		if err == nil && change.Rules != nil {
			err = tx.SetRules(cd.ID, rules)
		}
		if err == nil {
			err = tx.UpdateConduit(cd)
		}
		if err == nil && change.UseIndexRules != nil {
			err = e.lookAtAll(tx, cd)
		}
		if err != nil {
			return err
		}
		return settlePlace(tx, cd.Place)
	})
	if errors.Is(err, cache.ErrExists) {
		err = invalid("a conduit named %s exists already", *change.Name)
	}
	if err != nil {
		return cd, fmt.Errorf("conduit %s: %w", name, err)
	}
	if err := e.reload(); err != nil {
		return cd, err
	}
	e.tellConduit(event.ConduitUpdated, cd)
	for _, l := range e.current() {
		if l.conduitRow().ID != cd.ID {
			continue
		}
		if err := l.unpark(); err != nil {
			return cd, err
		}
		l.setDue()
		l.wake()
	}
	return cd, nil
}
