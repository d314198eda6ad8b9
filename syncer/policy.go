package syncer

import (
	"path"
	"strings"

	"vdfs/cache"
	"vdfs/syncer/plan"
)

// byPolicy fills in what only some policies and strategies ask of a dentry.
func (v *views) byPolicy(out *plan.Local, e cache.Entry) (err error) {
	if out.Strategy, err = v.strategy(e); err != nil {
		return err
	}
	switch {
	case releases(v.rules):
		out.Proved, err = v.proved(e)
	case follows(v.rules) && e.Node.Kind == cache.Dir && !out.Unlisted:
		out.Unlisted, err = v.fedByOthers(e.ID)
	}
	return err
}

// strategy is what holds for conflicts of e.
func (v *views) strategy(e cache.Entry) (plan.Strategy, error) {
	s, err := v.byRule(e)
	if err != nil || s != plan.Manual && s != plan.Merge {
		return s, err
	}
	if chosen, err := v.chosen(e); err != nil || chosen != 0 {
		return chosen, err
	}
	return s, nil
}

// byRule is the strategy of the first rule that fits e, else that of the conduit.
func (v *views) byRule(e cache.Entry) (plan.Strategy, error) {
	s, err := v.byPattern(e)
	if err != nil || s != 0 {
		return s, err
	}
	return v.rules.Strategy, nil
}

// byPattern is the strategy of the first rule that fits.
func (v *views) byPattern(e cache.Entry) (plan.Strategy, error) {
	below := ""
	for _, r := range v.patterns {
		if r.byPath() && below == "" {
			var err error
			if below, err = v.below(e.ID); err != nil {
				return 0, err
			}
		}
		if r.fits(e.Name, below) {
			return r.strategy, nil
		}
	}
	return 0, nil
}

// below is the path of a dentry from the directory of the place.
func (v *views) below(d cache.DentryID) (string, error) {
	p, err := v.tx.Path(d)
	if err != nil {
		return "", err
	}
	root, err := v.tx.Path(cache.DentryID(v.root.Dentry))
	if err != nil {
		return "", err
	}
	return strings.TrimPrefix(strings.TrimPrefix(path.Clean(p), path.Clean(root)), "/"), nil
}

// chosen is the strategy that was chosen for the conflict that e is in, 0: for none between these two versions.
func (v *views) chosen(e cache.Entry) (plan.Strategy, error) {
	d, ok, err := v.tx.Decision(v.l.id, e.ID)
	if err != nil || !ok || d.Version != e.Node.Version {
		return 0, err
	}
	b, ok, err := v.tx.BindingOfDentry(v.l.id, e.ID)
	if err != nil || !ok {
		return 0, err
	}
	o, err := v.l.object(v.tx, b.RemoteID)
	if err != nil || o == nil || o.Gone || contentOf(*o) != d.Content {
		return 0, err
	}
	return plan.ParseStrategy(d.Strategy)
}

// contentOf tells one content of an object from another; a symlink's is its target.
func contentOf(o cache.Observed) string {
	if o.Kind == cache.Symlink {
		return o.Target
	}
	return o.Content
}

// fedByOthers reports whether another leg has still to bring something into a directory.
func (v *views) fedByOthers(dir cache.DentryID) (bool, error) {
	for _, other := range v.l.e.current() {
		if other.id == v.l.id || other.place != v.l.place || follows(other.rules()) {
			continue
		}
		if some, err := v.tx.Awaits(other.id, dir); err != nil || some {
			return some, err
		}
	}
	return false, nil
}

// remote is an object of the endpoint as the planner sees it.
func (v *views) remote(o cache.Observed) (plan.Remote, error) {
	r := v.l.planRemote(o)
	if o.Kind != cache.Dir || o.Gone || o.Listed || !follows(v.rules) && !releases(v.rules) {
		return r, nil
	}
	b, bound, err := v.tx.BindingOfRemote(v.l.id, o.RemoteID)
	r.Unlisted = !bound || !b.Listed
	return r, err
}
