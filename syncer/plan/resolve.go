package plan

import "fmt"

// strategy is what decides a conflict of l (the zero Local when it is gone), the
// ends of the conduit resolved into the sides of the leg. Where nothing goes out
// the drive cannot win, and is to lose nothing.
func (p *planner) strategy(l Local) Strategy {
	s := p.rules.Strategy
	if l.Strategy != 0 {
		s = l.Strategy
	}
	remoteIsSource := p.rules.End == Source
	switch {
	case s > Manual:
		if p.err == nil {
			p.err = fmt.Errorf("strategy %d: %w", s, ErrPolicy)
		}
		return ConflictFile
	case !p.role.out:
		return ConflictFile
	case s == SourceWins && remoteIsSource, s == TargetWins && !remoteIsSource:
		return RemoteWins
	case s == SourceWins, s == TargetWins:
		return LocalWins
	}
	return s
}

// resolve decides between two contents that neither side has seen of the other.
func (p *planner) resolve(s pair) Decision {
	if s.l.Busy {
		return settle()
	}
	strategy := p.strategy(s.l)
	outcome, d := s.outcome(strategy)
	if !d.idle() {
		return d
	}
	conflict := &Conflict{Class: s.contentClass(), Strategy: strategy}
	switch {
	case outcome == LocalWins:
		return Decision{} // see pushContent
	case outcome == Manual:
		return Decision{Wait: &Wait{Reason: WaitDecision}, Conflict: conflict}
	case s.l.Placeholder:
		// Another leg could give these bytes only until the new version
		// reaches it.
		return do(s.op(OpNeedBytes))
	case outcome == Merge && !s.l.Ready:
		return settle()
	case outcome == Merge:
		op := s.op(OpMerge)
		op.After = withRemoteContent(s)
		op.After.LocalVersion, op.After.RemoteMeta.Mtime = 0, s.r.Meta.Mtime
		return Decision{Ops: []Op{op}, Conflict: conflict}
	}
	conflict.Winner, conflict.Loser = s.b.Remote, s.l.ID
	op := takeContent(s, OpSplitLoser)
	op.Name = s.l.Name
	if outcome == RemoteWins {
		op = takeContent(s, OpUpdateLocal)
		op.Trash = true
	}
	return Decision{Ops: []Op{op}, Conflict: conflict}
}

// outcome is what a strategy comes to for s: LocalWins, RemoteWins,
// ConflictFile, Merge or Manual, or what has to be known first.
func (s pair) outcome(strategy Strategy) (Strategy, Decision) {
	switch strategy {
	case Newest, Largest:
		if s.b.Kind == File && tied(s, strategy) {
			if d := needHashes(s.l, s.r); !d.idle() {
				return 0, d
			}
		}
		if remoteIsGreater(s, strategy) {
			return RemoteWins, Decision{}
		}
		return LocalWins, Decision{}
	case Merge:
		if s.b.Kind != File || s.neverAgreed() {
			return ConflictFile, Decision{} // there is no base
		}
	}
	return strategy, Decision{}
}

// contentClass is the class of a conflict of contents.
func (s pair) contentClass() Class {
	if s.neverAgreed() {
		return CreateOnCreate
	}
	return ModifyOnModify
}

// neverAgreed reports whether the two were bound by their name alone, see adopt.
func (s pair) neverAgreed() bool {
	if s.b.Kind == Symlink {
		return s.b.LocalMeta.Target == "" && s.b.RemoteMeta.Target == ""
	}
	return s.b.LocalVersion == 0 && s.b.RemoteContent == "" && s.b.RemoteHash == ""
}

// tied reports whether only the hashes tell which of the two is the greater.
func tied(s pair, by Strategy) bool {
	return s.l.Meta.Mtime == s.r.Meta.Mtime && (by == Newest || s.l.Size == s.r.Size)
}

// remoteIsGreater compares so that every machine comes to the same: what it
// goes by is what the endpoint keeps of a file.
func remoteIsGreater(s pair, by Strategy) bool {
	switch {
	case s.b.Kind == Symlink:
		return s.r.Meta.Target > s.l.Meta.Target
	case by == Largest && s.l.Size != s.r.Size:
		return s.r.Size > s.l.Size
	case s.l.Meta.Mtime != s.r.Meta.Mtime:
		return s.r.Meta.Mtime > s.l.Meta.Mtime
	}
	return s.r.Hash > s.l.Hash
}
