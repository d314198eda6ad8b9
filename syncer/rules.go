package syncer

import (
	"encoding/json"
	"path"
	"slices"
	"strings"

	"vdfs/cache"
	"vdfs/syncer/plan"
)

// rules are what the planner goes by for this leg.
func (l *leg) rules() plan.Rules {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.decides
}

// follows reports whether the endpoint is forced to have what the drive has: nothing that is done there comes in.
func follows(r plan.Rules) bool { return r.Policy == plan.Replicate && r.End == plan.Target }

// releases reports whether the endpoint gives up what the target of its archive has proved to store.
func releases(r plan.Rules) bool { return r.End == plan.Source && r.Policy == plan.Archive }

// rulesOf are the rules of a conduit's leg. What this version does not know has none: the planner refuses to decide by them,
// which is better than to do to somebody's files what another policy would.
func rulesOf(cd cache.Conduit, role cache.Role) plan.Rules {
	r := plan.Rules{End: plan.Target}
	if role == cache.RoleSource {
		r.End = plan.Source
	}
	config, err := parseConfig(cd.PolicyConfig)
	if err == nil {
		r.Policy, err = plan.ParsePolicy(cd.Policy)
	}
	if err == nil {
		r.Strategy, err = plan.ParseStrategy(cd.Strategy)
	}
	if err != nil {
		return plan.Rules{End: r.End}
	}
	r.KeepExtra = r.Policy == plan.Replicate && config.MirrorDeletions != nil && !*config.MirrorDeletions
	return r
}

// policyConfig is what cache.Conduit.PolicyConfig has as JSON. Nil fields are the defaults.
type policyConfig struct {
	// MirrorDeletions has the target of replicate lose what the source does not have, or not any more. Default: true.
	MirrorDeletions *bool `json:"mirror_deletions,omitempty"`
}

func parseConfig(text string) (c policyConfig, err error) {
	if text != "" {
		err = json.Unmarshal([]byte(text), &c)
	}
	return c, err
}

// rule is a strategy for the names that fit a pattern.
type rule struct {
	pattern  string
	strategy plan.Strategy
}

// parseRules reads the rules of a conduit. One that this version does not know is an error, as for the strategy of all.
func parseRules(rows []cache.Rule) ([]rule, error) {
	var out []rule
	for _, row := range rows {
		s, err := plan.ParseStrategy(row.Strategy)
		if err == nil {
			_, err = path.Match(row.Pattern, "")
		}
		if err != nil {
			return nil, err
		}
		out = append(out, rule{row.Pattern, s})
	}
	return out, nil
}

// decidesBy reports whether some conflict of a leg may be decided by a strategy: that of all files, or that of a rule.
func decidesBy(s plan.Strategy, all plan.Rules, rules []rule) bool {
	return all.Strategy == s || slices.ContainsFunc(rules, func(r rule) bool { return r.strategy == s })
}

// byPath reports whether a rule is about a path below the place, and not about a name anywhere in it.
func (r rule) byPath() bool { return strings.Contains(r.pattern, "/") }

// fits matches a rule as include and exclude patterns are matched: with the name, or where it has a slash with the path below
// the place, of the object itself or of a directory that it is in.
func (r rule) fits(name, below string) bool {
	pattern := strings.Trim(r.pattern, "/")
	if !r.byPath() {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	}
	for p := below; p != "." && p != "/" && p != ""; p = path.Dir(p) {
		if ok, err := path.Match(pattern, p); ok && err == nil {
			return true
		}
	}
	return false
}
