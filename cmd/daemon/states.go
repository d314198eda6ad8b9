package daemon

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"

	"vdfs/cache"
	"vdfs/cmd/control"
	fuse "vdfs/fs"
)

// states answers the virtual extended attributes; it is a fuse.States.
type states struct{ *parts }

// State is one attribute of a node. Where it has several names, the first one speaks.
func (s states) State(ino cache.Ino, key fuse.StateKey) (string, error) {
	n, err := s.cache.Attr(ino)
	if err != nil {
		return "", err
	}
	if key == fuse.StateHash {
		return hashText(n.Hash), nil
	}
	st, err := s.offload.DescribeNode(ino)
	if err != nil {
		return "", err
	}
	switch key {
	case fuse.StateWord:
		return st.Word(), nil
	case fuse.StatePin:
		return intentWord(st.Intent), nil
	case fuse.StateLocal:
		return strconv.FormatInt(st.LocalBytes, 10), nil
	case fuse.StateError:
		return st.Error, nil
	}
	return "", nil
}

// SetPin sets the intent of every name of the node.
func (s states) SetPin(ino cache.Ino, value string) error {
	intent, ok := map[string]cache.Intent{"": cache.Inherited, "pinned": cache.Pinned, "online": cache.Online, "auto": cache.Auto}[value]
	if !ok {
		return fmt.Errorf("set pin to %q: %w", value, cache.ErrInvalid)
	}
	var names []cache.Dentry
	err := s.cache.View(func(tx *cache.Tx) (err error) {
		names, err = tx.DentriesOf(ino)
		return err
	})
	for _, d := range names {
		if err != nil {
			break
		}
		ctx := context.Background() // no request to end it: the kernel waits
		switch intent {
		case cache.Pinned:
			err = s.offload.Pin(ctx, d.ID)
		case cache.Inherited:
			err = s.offload.Unpin(ctx, d.ID)
		default:
			err = s.offload.SetIntent(d.ID, intent)
		}
	}
	return err
}

func intentWord(i cache.Intent) string {
	switch i {
	case cache.Pinned:
		return "pinned"
	case cache.Online:
		return "online"
	case cache.Excluded:
		return "excluded"
	}
	return "auto"
}

func hashText(h cache.Hash) string {
	if !h.Known() {
		return ""
	}
	return hex.EncodeToString(h[:])
}

// kindWord is the kind of a node in one of four words.
func kindWord(k cache.Kind) string {
	switch k {
	case cache.File:
		return "file"
	case cache.Dir:
		return "dir"
	case cache.Symlink:
		return "symlink"
	}
	return "special"
}

// conduits is the state of all conduits as the protocol has it.
func (p *parts) conduits() ([]control.ConduitStatus, []string, error) {
	all, err := p.engine.Status()
	if err != nil {
		return nil, nil, err
	}
	out := []control.ConduitStatus{}
	var notes []string
	for _, c := range all {
		out = append(out, conduitStatus(c))
		notes = append(notes, c.Notes...)
	}
	return out, notes, nil
}
