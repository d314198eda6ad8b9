package config

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Conflict is what conduits that are made from now on begin with. Each can be changed later: vdfs conduit edit.
type Conflict struct {
	Default string   `toml:"default"` // the strategy of whoever names none; default: conflict-file
	Rules   []string `toml:"rules"`   // PATTERN=STRATEGY each, as in "*.md=merge", of whoever gives none; default: none
}

// Strategies are the names of those that decide conflicts.
var Strategies = []string{"conflict-file", "newest", "largest", "local", "remote", "source", "target", "merge", "manual"}

// SplitRule is pattern and strategy of a rule. A pattern may have an equals sign, a strategy has none. false: it is no rule.
func SplitRule(rule string) (pattern, strategy string, ok bool) {
	i := strings.LastIndexByte(rule, '=')
	if i <= 0 || i == len(rule)-1 {
		return "", "", false
	}
	return rule[:i], rule[i+1:], true
}

func (c *Conflict) check() error {
	if !slices.Contains(Strategies, c.Default) {
		return fmt.Errorf("conflict.default: %q is no strategy: choose %s", c.Default, choices(Strategies))
	}
	for _, r := range c.Rules {
		pattern, strategy, ok := SplitRule(r)
		if _, err := path.Match(pattern, ""); !ok || err != nil || strings.Trim(pattern, "/") == "" {
			return fmt.Errorf("conflict.rules: %q is not PATTERN=STRATEGY, as in *.md=merge", r)
		}
		if !slices.Contains(Strategies, strategy) {
			return fmt.Errorf("conflict.rules: %q: choose the strategy %s", r, choices(Strategies))
		}
	}
	return nil
}

// choices is "a, b or c".
func choices(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
