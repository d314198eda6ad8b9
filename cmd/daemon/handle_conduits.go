package daemon

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"vdfs/cache"
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

// Create makes a conduit.
func (h conduitHandler) Create(ctx context.Context, s control.ConduitSpec) (control.ConduitStatus, error) {
	spec, err := h.spec(ctx, s)
	if err != nil {
		return control.ConduitStatus{}, err
	}
	c, err := h.d.parts.engine.CreateConduit(ctx, spec)
	if err != nil {
		return control.ConduitStatus{}, coded(err)
	}
	return h.Conduit(ctx, c.Name)
}

// Preview tells what Create would do, and changes nothing.
func (h conduitHandler) Preview(ctx context.Context, s control.ConduitSpec) (control.ConduitPreview, error) {
	spec, err := h.spec(ctx, s)
	if err != nil {
		return control.ConduitPreview{}, err
	}
	p, err := h.d.parts.engine.PreviewConduit(ctx, spec)
	if err != nil {
		return control.ConduitPreview{}, coded(err)
	}
	return preview(p), nil
}

// spec is a request as the syncer has it. Endpoints that contain the drive, or are contained in it, are refused before the
// syncer hears of them.
func (h conduitHandler) spec(ctx context.Context, s control.ConduitSpec) (syncer.Spec, error) {
	spec := syncer.Spec{
		Name: s.Name, Source: s.Source, Target: s.Target, Policy: s.Policy, At: string(s.At), Strategy: s.Strategy, Cadence: s.Cadence,
		Rules: cacheRules(s.Rules), KeepExtra: s.KeepExtra, Parallel: s.Parallel, Bandwidth: s.Bandwidth, UseIndexRules: s.UseIndexRules,
	}
	at := s.At
	var endpoints []string
	for _, e := range []*string{&spec.Source, &spec.Target} {
		if p, ok := strings.CutPrefix(*e, drivePrefix); ok {
			if at == "" {
				at = control.Path(p)
			}
			continue
		}
		dir, err := endpointDir(*e)
		if err != nil {
			return spec, err
		}
		if err := usableEndpoint(dir); err != nil {
			return spec, err
		}
		if err := separate(h.d.plan.mountpoint, dir, "", h.d.plan.state); err != nil {
			return spec, err
		}
		*e = dir
		endpoints = append(endpoints, dir)
	}
	if s.Adopt != "" {
		if _, err := h.d.adoptable(string(s.Adopt), endpoints...); err != nil {
			return spec, err
		}
	}
	if at == "" {
		at = control.Path("/" + s.Name)
	}
	// What is on the way to the place must be known before anything is made there.
	way := walker{h.d.parts.cache, h.d.parts.engine, h.d.parts.wait}
	if _, err := way.find(ctx, at); err != nil && !notFound(err) {
		return spec, located(at, err)
	}
	return spec, nil
}

func cacheRules(rules []control.Rule) (out []cache.Rule) {
	for _, r := range rules {
		out = append(out, cache.Rule(r))
	}
	return out
}

// Edit changes settings of a conduit.
func (h conduitHandler) Edit(ctx context.Context, e control.ConduitEdit) (control.ConduitStatus, error) {
	change := syncer.Edit{Name: e.Name, Settings: syncer.Settings{
		Strategy: e.Strategy, Cadence: e.Cadence, Parallel: e.Parallel, Bandwidth: e.Bandwidth, KeepExtra: e.KeepExtra, UseIndexRules: e.UseIndexRules,
	}}
	if e.Rules != nil {
		rules := cacheRules(*e.Rules)
		change.Rules = &rules
	}
	c, err := h.d.parts.engine.EditConduit(e.Conduit, change)
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

// conduitStatus is the state of a conduit as the protocol has it.
func conduitStatus(c syncer.ConduitStatus) control.ConduitStatus {
	s := control.ConduitStatus{
		Name: c.Name, UUID: c.UUID, Policy: c.Policy, Source: c.Source, Target: c.Target, At: control.Path(c.At), ReadOnly: c.ReadOnly,
		Enabled: c.Enabled, State: c.State, Generation: c.Generation, Verification: c.Verification, LastSync: when(c.LastSync),
		NextSync: planned(c.NextSync), Triggers: c.Triggered.Times(), LastTrigger: c.Triggered.Last(), PendingLocal: c.PendingLocal, PendingRemote: c.PendingRemote, Conflicts: c.Conflicts, Errors: c.Errors,
		Message: c.Message, Strategy: c.Strategy, Rules: []control.Rule{}, KeepExtra: c.KeepExtra, Drift: c.Drift,
		Endpoints: []control.EndpointStatus{}, Cadence: c.Cadence, Parallel: c.Parallel, Bandwidth: c.Bandwidth, UseIndexRules: c.UseIndexRules,
		PolicyConfig: json.RawMessage(c.PolicyConfig), TotalSyncs: c.TotalSyncs, FilesSynced: c.FilesSynced, BytesSent: c.BytesTransferred,
		LastError: c.LastError, LastErrorAt: when(c.LastErrorAt), Created: time.Unix(0, c.Created).UTC(), Updated: time.Unix(0, c.Updated).UTC(),
	}
	s.TreeVerified, s.TreeVerification = when(c.Tree.Verified), c.Tree.Result
	s.Progress = runProgress(c.Progress)
	for _, r := range c.Rules {
		s.Rules = append(s.Rules, control.Rule(r))
	}
	for _, l := range c.Legs {
		s.Endpoints = append(s.Endpoints, control.EndpointStatus{
			Endpoint: l.Endpoint, Role: string(l.Role), State: l.State, Message: l.Message, LastSync: when(l.LastSync), NextSync: planned(l.NextSync),
			PendingLocal: l.PendingLocal, PendingRemote: l.PendingRemote, Conflicts: l.Conflicts, Errors: l.Errors,
			Damaged: l.Damaged,
		})
	}
	return s
}

// runProgress is the progress of a run as the protocol has it; nil: there is none.
func runProgress(p *syncer.Progress) *control.RunProgress {
	if p == nil {
		return nil
	}
	out := &control.RunProgress{
		Phase: p.Phase, Files: p.Files, FilesTotal: p.FilesTotal, Bytes: p.Bytes, BytesTotal: p.BytesTotal, Rate: p.Rate,
	}
	if p.Known {
		seconds := p.Left.Seconds()
		out.ETA = &seconds
	}
	return out
}

// planned is when something is to happen; the zero time is never.
func planned(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func preview(p *syncer.Preview) control.ConduitPreview {
	cd := p.Conduit
	out := control.ConduitPreview{
		Name: cd.Name, Policy: cd.Policy, Source: cd.Source, Target: cd.Target, At: control.Path(p.At), Endpoints: []control.EndpointPreview{},
		ConflictPaths: paths(p.Conflicts), DeletePaths: paths(p.Deletes),
	}
	for _, e := range p.Ends {
		out.Endpoints = append(out.Endpoints, control.EndpointPreview{
			Endpoint: e.Endpoint, Role: string(e.Role), Gets: control.Tally(e.Sent), Gives: control.Tally(e.Taken), Deletes: control.Tally(e.Deleted),
			Releases: control.Tally(e.Released), Conflicts: e.Conflicts,
		})
		out.Copies += e.Sent.Files
		out.Bytes += e.Sent.Bytes
		out.Deletes += e.Deleted.Files
		out.Conflicts += e.Conflicts
	}
	return out
}

func paths(names []string) []control.Path {
	out := []control.Path{}
	for _, name := range names {
		out = append(out, control.Path(name))
	}
	return out
}
