package plan

// metaOf keeps the fields that are compared for a kind.
func metaOf(k Kind, m Meta) Meta {
	switch k {
	case File:
		return Meta{Mode: m.Mode, Mtime: m.Mtime}
	case Dir:
		return Meta{Mode: m.Mode}
	case Symlink:
		return Meta{Target: m.Target}
	}
	return Meta{}
}

// pullContent takes over content that was changed at the endpoint.
func (p *planner) pullContent(s pair) Decision {
	if !s.remoteChanged {
		return Decision{}
	}
	if s.localChanged {
		return p.bothChanged(s)
	}
	if s.l.Busy {
		return settle()
	}
	if s.b.Kind == File && !s.l.Placeholder && s.l.Size == s.r.Size && s.r.Size <= compareMax {
		// Perhaps it has only another time: then what is here need not come again.
		if d := needHashes(s.l, s.r); !d.idle() {
			return d
		}
		if sameBytes(s.l, s.r) {
			return do(agreeContent(s))
		}
	}
	return do(takeContent(s, OpUpdateLocal))
}

// compareMax is the largest file that is read at the endpoint to find out whether it still has the bytes that are here. Of a
// larger one the bytes here are given up at once, and come when somebody wants them.
const compareMax = 64 << 20

// bothChanged compares two contents that were both changed since the base.
func (p *planner) bothChanged(s pair) Decision {
	if s.b.Kind == Symlink {
		if s.l.Meta.Target == s.r.Meta.Target {
			return do(agreeContent(s))
		}
		return p.resolve(s)
	}
	if s.l.Busy {
		return settle()
	}
	if s.perhapsOnlyTouched() {
		return do(needRemoteHash(s.r))
	}
	if s.l.Size != s.r.Size && s.l.Size != s.b.RemoteSize {
		return p.resolve(s)
	}
	if d := needHashes(s.l, s.r); !d.idle() {
		return d
	}
	switch {
	case sameBytes(s.l, s.r):
		return do(agreeContent(s))
	case s.l.Hash == s.b.RemoteHash && s.l.Size == s.b.RemoteSize:
		// Written anew with the bytes it had: nothing to lose.
		return do(takeContent(s, OpUpdateLocal))
	}
	return p.resolve(s)
}

// perhapsOnlyTouched reports whether the file may have the agreed bytes at the endpoint, with another time, and its hash would tell.
func (s pair) perhapsOnlyTouched() bool {
	return s.remoteChanged && s.b.Kind == File && s.r.Hash == "" && s.b.RemoteHash != "" && s.r.Size == s.b.RemoteSize
}

// needHashes asks for what is unknown, before two contents are compared.
func needHashes(l Local, r Remote) Decision {
	var d Decision
	if l.Hash == "" {
		d.Ops = append(d.Ops, Op{Kind: OpNeedLocalHash, Object: l.Kind, Dentry: l.ID, Expect: Expect{LocalVersion: l.Version}})
	}
	if r.Hash == "" {
		d.Ops = append(d.Ops, needRemoteHash(r))
	}
	return d
}

func needRemoteHash(r Remote) Op {
	return Op{Kind: OpNeedRemoteHash, Object: r.Kind, Remote: r.ID, Expect: Expect{RemoteContent: r.Content}}
}

func sameBytes(l Local, r Remote) bool {
	return l.Hash != "" && l.Hash == r.Hash && l.Size == r.Size
}

// takeContent gives the dentry the endpoint's content, with the mtime that
// belongs to it; a mode that only the drive has changed stays to be sent.
func takeContent(s pair, k OpKind) Op {
	op := s.op(k)
	op.Meta = metaOf(s.b.Kind, s.r.Meta)
	op.After = withRemoteContent(s)
	op.After.RemoteMeta = op.Meta
	op.After.LocalMeta = op.Meta
	op.After.LocalVersion = 0
	if s.r.Meta.Mode == s.b.RemoteMeta.Mode && s.b.Kind == File {
		op.Meta.Mode = s.l.Meta.Mode
		op.After.LocalMeta.Mode = s.b.LocalMeta.Mode
	}
	return op
}

// withRemoteContent is the base with the endpoint's content agreed.
func withRemoteContent(s pair) Binding {
	b := s.b
	b.RemoteContent, b.RemoteSize = s.r.Content, s.r.Size
	if b.RemoteHash = s.r.Hash; b.RemoteHash == "" && !s.remoteChanged {
		b.RemoteHash = s.b.RemoteHash
	}
	if b.Kind == Symlink {
		b.RemoteMeta.Target = s.r.Meta.Target
	}
	return b
}

// agreeContent advances both halves to content that is equal on both sides.
func agreeContent(s pair) Op {
	op := s.op(OpAgree)
	op.After = withRemoteContent(s)
	op.After.LocalVersion = s.l.Version
	if s.b.Kind == Symlink {
		op.After.LocalMeta.Target = s.l.Meta.Target
	}
	return op
}

// pullMeta takes over metadata that were changed at the endpoint. The mtime
// belongs to the content: one that would be overwritten by content on its way
// to the endpoint is left alone.
func (p *planner) pullMeta(s pair) Decision {
	l, r := metaOf(s.b.Kind, s.l.Meta), metaOf(s.b.Kind, s.r.Meta)
	base := metaOf(s.b.Kind, s.b.RemoteMeta)
	op := s.op(OpSetLocalMeta)
	op.Meta, op.After = l, s.b
	if r.Mode != base.Mode {
		op.Meta.Mode = r.Mode
		op.After.RemoteMeta.Mode, op.After.LocalMeta.Mode = r.Mode, r.Mode
	}
	if r.Mtime != base.Mtime && !s.localChanged {
		op.Meta.Mtime = r.Mtime
		op.After.RemoteMeta.Mtime, op.After.LocalMeta.Mtime = r.Mtime, r.Mtime
	}
	switch {
	case op.After == s.b:
		return Decision{}
	case op.Meta == l:
		op.Kind = OpAgree
	case s.l.Busy && op.Meta.Mtime != l.Mtime:
		return settle()
	}
	return do(op)
}

// pushContent sends content that was changed in the drive, or that the endpoint
// was to leave alone. That of the endpoint has been changed only where it has no
// say, or is not to win.
func (p *planner) pushContent(s pair) Decision {
	if !s.localChanged && !s.remoteChanged {
		return Decision{}
	}
	if !s.l.Ready {
		return settle()
	}
	if s.remoteChanged && s.b.Kind == File && s.l.Size == s.r.Size {
		if d := needHashes(s.l, s.r); !d.idle() {
			return d
		}
	}
	if s.b.Kind == File && sameBytes(s.l, s.r) || s.b.Kind == Symlink && s.l.Meta.Target == s.r.Meta.Target {
		return do(agreeContent(s))
	}
	meta := metaOf(s.b.Kind, s.l.Meta)
	op := s.op(OpReplace)
	op.Meta, op.After = meta, s.b
	op.After.LocalVersion, op.After.LocalMeta = s.l.Version, meta
	op.After.RemoteContent, op.After.RemoteHash, op.After.RemoteSize, op.After.RemoteMeta = "", s.l.Hash, s.l.Size, meta
	op.After.Releasing = false // it was said of what is replaced
	op.Trash = s.remoteChanged || p.role.archive
	d := do(op)
	if s.remoteChanged {
		d.Conflict = &Conflict{Class: s.contentClass(), Strategy: p.strategy(s.l)}
	}
	return d
}

// pushMeta sends metadata that were changed in the drive, or that the endpoint
// was to leave alone; an mtime that belongs to content on its way goes with it.
func (p *planner) pushMeta(s pair) Decision {
	l, r := metaOf(s.b.Kind, s.l.Meta), metaOf(s.b.Kind, s.r.Meta)
	base, there := metaOf(s.b.Kind, s.b.LocalMeta), metaOf(s.b.Kind, s.b.RemoteMeta)
	op := s.op(OpSetRemoteMeta)
	op.Meta, op.After = r, s.b
	if l.Mode != base.Mode || r.Mode != there.Mode || !p.role.in && l.Mode != r.Mode {
		op.Meta.Mode = l.Mode
		op.After.RemoteMeta.Mode, op.After.LocalMeta.Mode = l.Mode, l.Mode
	}
	if (l.Mtime != base.Mtime || r.Mtime != there.Mtime || !p.role.in && l.Mtime != r.Mtime) && !s.localChanged {
		op.Meta.Mtime = l.Mtime
		op.After.RemoteMeta.Mtime, op.After.LocalMeta.Mtime = l.Mtime, l.Mtime
	}
	switch {
	case op.Meta == r && op.After == s.b:
		return Decision{}
	case op.Meta == r:
		op.Kind = OpAgree
	case !s.l.Ready:
		return settle()
	}
	return do(op)
}

// settleBase advances a content token that has changed without the content.
func (p *planner) settleBase(s pair) Decision {
	if s.b.Kind != File || s.localChanged || s.r.Content == s.b.RemoteContent {
		return Decision{}
	}
	return do(agreeContent(s))
}
