package plan

// release has the source of an archive give up what the archive has proved to
// store, and what is to the byte what the source has. It is asked for when
// nothing else is left to do.
func (p *planner) release(s pair) Decision {
	switch {
	case !p.role.releases:
		return Decision{}
	case s.l.Busy:
		return settle()
	case !s.l.Proved:
		return Decision{Wait: &Wait{Reason: WaitProof}}
	}
	// What is inside goes first.
	if d, stays := p.emptied(s.r); stays || !d.idle() {
		return d
	}
	if s.b.Kind == File {
		if d := needHashes(s.l, s.r); !d.idle() {
			return d
		}
	}
	switch {
	case s.b.Kind == File && !sameBytes(s.l, s.r), s.b.Kind == Symlink && s.l.Meta.Target != s.r.Meta.Target:
		// It was changed at the archive since: what the source has is the last
		// of its version.
		return Decision{Wait: &Wait{Reason: WaitProof}}
	case s.localChanged:
		return do(agreeContent(s))
	case !s.b.Releasing:
		mark := s.op(OpMarkRelease)
		mark.After = s.b
		mark.After.Releasing = true
		return do(mark)
	}
	return do(s.op(OpRelease))
}

// released reports whether what is no longer at the source, or is another
// object there, has been archived: its dentry lives on without it. That proof
// alone is enough may be right or wrong about who removed it; to take a deletion
// for a release leaves a file in the archive, the converse would take it away.
func (p *planner) released(s pair) bool {
	if s.b.Releasing {
		return s.remoteGone || s.remoteChanged
	}
	return p.role.releases && s.remoteGone && s.hasL && s.l.Proved
}
