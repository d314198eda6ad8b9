package syncer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"vdfs/cache"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/bounded"
)

// probe opens an endpoint, asks who it is, and closes it again.
func (e *Engine) probe(ctx context.Context, endpoint string) (st remote.Status, caps remote.Caps, err error) {
	ep, err := e.open(ctx, endpoint)
	if err == nil {
		caps = *ep.Caps()
		st, err = ep.Check(ctx)
		err = errors.Join(err, ep.Close())
	}
	if errors.Is(err, remote.ErrRootGone) || errors.Is(err, remote.ErrUnavailable) {
		err = &unreachable{err}
	}
	if err != nil {
		return st, caps, fmt.Errorf("endpoint %s: %w", endpoint, err)
	}
	return st, caps, nil
}

// open opens an endpoint that belongs to no leg.
func (e *Engine) open(ctx context.Context, endpoint string) (remote.Endpoint, error) {
	return bounded.NewPool().Open(ctx, func(ctx context.Context) (remote.Endpoint, error) {
		return e.Open(ctx, endpoint, cache.Leg{Endpoint: endpoint})
	})
}

// owned is an endpoint of a conduit.
type owned struct {
	cache.Leg
	conduit string
}

// disjoint refuses endpoints that a conduit has already, or that contain or lie in one: one storage in two places would have
// two truths, and its changes would go round.
func (e *Engine) disjoint(d *draft) error {
	var taken []owned
	err := e.Cache.View(func(tx *cache.Tx) error {
		conduits, err := tx.Conduits()
		if err != nil {
			return err
		}
		for _, cd := range conduits {
			if cd.Source == d.cd.Source && cd.Target == d.cd.Target {
				return invalid("conduit %s joins %s and %s already", cd.Name, cd.Source, cd.Target)
			}
			legs, err := tx.LegsOfConduit(cd.ID)
			if err != nil {
				return err
			}
			for _, l := range legs {
				taken = append(taken, owned{l, cd.Name})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, l := range d.legs {
		for _, o := range taken {
			if err := e.separate(l, o.Leg, "the endpoint of conduit "+o.conduit); err != nil {
				return err
			}
		}
		for _, o := range d.legs[:i] {
			if err := e.separate(l, o, "the source"); err != nil {
				return err
			}
		}
	}
	return nil
}

// separate refuses a new leg whose endpoint is not apart from another's, which is called what.
func (e *Engine) separate(l, o cache.Leg, what string) error {
	a, b := strings.TrimPrefix(l.Endpoint, "dir:"), strings.TrimPrefix(o.Endpoint, "dir:")
	switch {
	case a == b || l.Identity != "" && l.Identity == o.Identity:
		return invalid("%s is %s already: an endpoint has one place", l.Endpoint, what)
	case e.Contains(b, a):
		return invalid("%s lies inside %s, %s", l.Endpoint, o.Endpoint, what)
	case e.Contains(a, b):
		return invalid("%s contains %s, %s", l.Endpoint, o.Endpoint, what)
	}
	return nil
}

// below reports by their names whether an endpoint lies inside another one.
func below(outer, inner string) bool {
	return strings.HasPrefix(inner+"/", strings.TrimSuffix(outer, "/")+"/")
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
