package plan

import "fmt"

// Change is the kind of difference between one side of an object and its
// base, as a queue shows it.
type Change uint8

// The changes. Where several apply the first of create, delete, update, move
// is shown; a change of metadata is an update.
const (
	NoChange Change = iota
	Create
	Update
	Delete
	Move
)

// String returns the word that people see.
func (c Change) String() string {
	if word, ok := nth(int(c), "none", "create", "update", "delete", "move"); ok {
		return word
	}
	return fmt.Sprintf("change(%d)", uint8(c))
}

// Classify tells what the given side, SideDrive or SideEndpoint, did to s
// since the base. It decides nothing and looks at nothing but s.
func Classify(v Views, s Subject, side Side) (Change, error) {
	if !s.valid() {
		return NoChange, fmt.Errorf("classify %+v: %w", s, ErrSubject)
	}
	p := &planner{v: v}
	c := p.classify(p.canonical(s), side)
	if p.err != nil {
		return NoChange, fmt.Errorf("classify %s: %w", s, p.err)
	}
	return c, nil
}

func (p *planner) classify(s Subject, side Side) Change {
	if s.Binding != 0 {
		b, ok := p.binding(s.Binding)
		if !ok || b.ID == p.v.Root().ID {
			return NoChange
		}
		return p.pair(b).change(side)
	}
	if l, ok := p.local(s.Dentry); ok && side == SideDrive && !l.LocalOnly && l.Kind != Special {
		return Create
	}
	if r, ok := p.remote(s.Remote); ok && side == SideEndpoint && r.Kind != Special {
		return Create
	}
	return NoChange
}

func (s pair) change(side Side) Change {
	gone, changed, moved := s.localGone, s.localChanged, s.localMoved
	now, base := s.l.Meta, s.b.LocalMeta
	if side == SideEndpoint {
		gone, changed, moved = s.remoteGone, s.remoteChanged, s.remoteMoved
		now, base = s.r.Meta, s.b.RemoteMeta
	}
	switch {
	case gone:
		return Delete
	case changed:
		return Update
	case moved:
		return Move
	case metaOf(s.b.Kind, now) != metaOf(s.b.Kind, base):
		return Update
	}
	return NoChange
}
