package daemon

import (
	"context"
	"strings"

	"vdfs/cmd/control"
	"vdfs/syncer"
)

// conduitHandler is a control.ConduitHandler.
type conduitHandler struct{ d *daemon }

// Conduits lists them by name.
func (h conduitHandler) Conduits(context.Context) ([]control.ConduitStatus, error) {
	all, _, err := h.d.parts.conduits()
	return all, err
}

// Conduit is one of them.
func (h conduitHandler) Conduit(_ context.Context, name string) (control.ConduitStatus, error) {
	all, _, err := h.d.parts.conduits()
	if err != nil {
		return control.ConduitStatus{}, err
	}
	for _, c := range all {
		if c.Name == name {
			return c, nil
		}
	}
	return control.ConduitStatus{}, refuse(control.NotFound, "no conduit is called %q", name)
}

// Create makes a conduit. Endpoints that contain the drive, or are contained in it, are refused before the syncer hears of them.
func (h conduitHandler) Create(ctx context.Context, s control.ConduitSpec) (control.ConduitStatus, error) {
	at := s.At
	var endpoints []string
	for _, e := range []*string{&s.Source, &s.Target} {
		if p, ok := strings.CutPrefix(*e, drivePrefix); ok {
			if at == "" {
				at = control.Path(p)
			}
			continue
		}
		dir, err := endpointDir(*e)
		if err != nil {
			return control.ConduitStatus{}, err
		}
		if err := usableEndpoint(dir); err != nil {
			return control.ConduitStatus{}, err
		}
		if err := separate(h.d.plan.mountpoint, dir, "", h.d.plan.state); err != nil {
			return control.ConduitStatus{}, err
		}
		*e = dir
		endpoints = append(endpoints, dir)
	}
	if s.Adopt != "" {
		if _, err := h.d.adoptable(string(s.Adopt), endpoints...); err != nil {
			return control.ConduitStatus{}, err
		}
	}
	// What is on the way to the place must be known before anything is made there.
	way := walker{h.d.parts.cache, h.d.parts.engine, h.d.parts.wait}
	if _, err := way.find(ctx, at); err != nil && !notFound(err) {
		return control.ConduitStatus{}, located(at, err)
	}
	c, err := h.d.parts.engine.CreateConduit(ctx, syncer.Spec{
		Name: s.Name, Source: s.Source, Target: s.Target, Policy: s.Policy,
		At: string(s.At),
	})
	if err != nil {
		return control.ConduitStatus{}, coded(err)
	}
	return h.Conduit(ctx, c.Name)
}

// PauseConduit stops the work of one.
func (h conduitHandler) PauseConduit(_ context.Context, name string) error {
	return coded(h.d.parts.engine.PauseConduit(name))
}

// ResumeConduit lets it work again.
func (h conduitHandler) ResumeConduit(_ context.Context, name string) error {
	return coded(h.d.parts.engine.ResumeConduit(name))
}

// Delete forgets a conduit.
func (h conduitHandler) Delete(ctx context.Context, name string, force bool) error {
	return coded(h.d.parts.engine.DeleteConduit(ctx, name, force))
}
