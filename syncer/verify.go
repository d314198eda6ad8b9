package syncer

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"vdfs/cache"
	"vdfs/syncer/remote"
)

// What is verified is every whole copy of a file: the bytes that are here, and the object of each endpoint, as the base knows it.
// Whatever else is there by now is a change, which the sync takes in. A copy that is still the one of the base, and has other
// bytes than were agreed on, is damaged: its proof is withdrawn and the damage written down in one transaction, so that nothing is
// dropped because of it. Only then it is mended, from a copy that was read a moment ago and is good.

// VerifyRequest says what is to be read again.
type VerifyRequest struct {
	Paths  []string // in the drive, files and directories
	Repair bool     // put good bytes in the place of damaged ones
}

// What is found of a copy.
const (
	FoundDamaged  = "damaged"     // its bytes are others than were agreed on, or cannot be read
	FoundRepaired = "repaired"    // they were, and good ones are in their place
	FoundChanged  = "changed"     // it is another than was agreed on: for the next sync
	FoundAway     = "unreachable" // nobody could look
)

// Finding is a copy of a file that is not known to be good, or an endpoint, or a directory, that could not be looked at.
type Finding struct {
	Path     string // in the drive
	Endpoint string // that has the copy; "": it is here
	Conduit  string // "": it is here
	State    string
	Size     int64
	Why      string
	Remedy   string // what a person can do; "": nothing is to be done
}

// Verification is what came of a VerifyRequest.
type Verification struct {
	Files    int64 // looked at; empty ones have nothing to read
	Copies   int64 // that are good
	Bytes    int64 // theirs
	Damaged  int64 // copies that still are
	Repaired int64
	Changed  int64
	Away     int64
}

const (
	verifyParallel = 4  // files at once
	verifyBatch    = 64 // proofs in a transaction, repairs in a cycle
)

// Verify reads all copies of the files at and below paths again. told hears of bytes read and to be read, found of every copy that
// is not good, from one goroutine at a time. Both may be nil.
func (e *Engine) Verify(ctx context.Context, r VerifyRequest, told func(done, total int64), found func(Finding) error) (*Verification, error) {
	a := &audit{e: e, repair: r.Repair, told: told, tell: found, away: map[cache.LegID]int64{}}
	var roots []cache.Entry
	for _, p := range r.Paths {
		root, err := e.reveal(ctx, p)
		if err == nil && root.ID == 0 {
			err = cache.ErrNotFound
		}
		if err != nil {
			return &a.out, fmt.Errorf("verify %s: %w", p, err)
		}
		roots = append(roots, root)
	}
	err := a.run(ctx, roots)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return &a.out, fmt.Errorf("verify: %w", err)
	}
	return &a.out, nil
}

// audit is a verification under way.
type audit struct {
	e      *Engine
	repair bool
	told   func(done, total int64)
	tell   func(Finding) error
	counts bool // nothing is read yet: it is counted what there is to read

	mu          sync.Mutex
	out         Verification
	done, total int64
	good        []goodCopy
	broken      []*mending
	away        map[cache.LegID]int64 // copies that nobody could look at
}

// goodCopy is a proof that is to be written down.
type goodCopy struct {
	binding cache.Binding
	node    cache.Node
	hash    cache.Hash
	proof   remote.Proof
}

func (a *audit) run(ctx context.Context, roots []cache.Entry) error {
	a.counts = true
	for _, root := range roots {
		if err := a.walk(ctx, root, a.count); err != nil {
			return err
		}
	}
	a.counts = false
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(verifyParallel)
	for _, root := range roots {
		err := a.walk(gctx, root, func(f cache.Entry) error {
			g.Go(func() error { return a.file(gctx, f) })
			return nil
		})
		if err != nil {
			return errors.Join(g.Wait(), err)
		}
	}
	err := g.Wait()
	if err == nil {
		err = a.mendAll(ctx)
	}
	// What was read is known, whatever ended it.
	if kerr := a.keep(); err == nil {
		err = kerr
	}
	if err == nil {
		err = a.e.Cache.Update(0, func(tx *cache.Tx) error { return tx.PruneDamage() })
	}
	if err == nil {
		err = a.tellAway()
	}
	return err
}

// walk calls do for the files at and below an entry. Directories that nobody has looked into are listed; one that cannot be is a
// finding.
func (a *audit) walk(ctx context.Context, at cache.Entry, do func(cache.Entry) error) error {
	switch at.Node.Kind {
	case cache.File:
		return do(at)
	case cache.Dir:
	default:
		return nil
	}
	if at.Node.Listing != cache.Listed {
		if err := a.e.List(ctx, at.Ino); err != nil {
			return a.unlisted(ctx, at, err)
		}
	}
	for after := cache.DentryID(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var page []cache.Entry
		err := a.e.Cache.View(func(tx *cache.Tx) (err error) {
			page, err = tx.Children(at.Ino, after, pageSize)
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		for _, kid := range page {
			after = kid.ID
			if err := a.walk(ctx, kid, do); err != nil {
				return err
			}
		}
	}
}

func (a *audit) unlisted(ctx context.Context, at cache.Entry, cause error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if a.counts {
		return nil
	}
	f := Finding{State: FoundAway, Why: fmt.Sprintf("what is in it is not known: %v", cause)}
	err := a.e.Cache.View(func(tx *cache.Tx) (err error) {
		f.Path, err = tx.Path(at.ID)
		return err
	})
	if err != nil {
		return err
	}
	return a.report(f)
}

// suspect is a file with what is known of its copies.
type suspect struct {
	path   string
	entry  cache.Entry
	node   cache.Node
	copies []holder
	moved  map[cache.BindingID]bool // something else was observed of it
}

// look reads what is known of a file; false: it is gone, or has nothing to read.
func (a *audit) look(e cache.Entry) (s suspect, ok bool, err error) {
	s = suspect{moved: map[cache.BindingID]bool{}}
	err = a.e.Cache.View(func(tx *cache.Tx) error {
		if s.entry, err = tx.Entry(e.ID); err != nil {
			return err
		}
		s.node = s.entry.Node
		if s.path, err = tx.Path(e.ID); err != nil {
			return err
		}
		all, err := tx.BindingsOf(e.ID)
		if err != nil {
			return err
		}
		for _, b := range all {
			l := a.e.leg(b.Leg)
			if l == nil || b.Kind != cache.File || b.Size == 0 {
				continue
			}
			if _, s.moved[b.ID], err = tx.Observed(b.Leg, b.RemoteID); err != nil {
				return err
			}
			if !b.Hash.Known() && b.LocalVersion == s.node.Version {
				b.Hash = s.node.Hash
			}
			s.copies = append(s.copies, holder{l: l, binding: b})
		}
		return nil
	})
	if errors.Is(err, cache.ErrNotFound) {
		return s, false, nil
	}
	return s, err == nil, err
}

// here tells whether all of a version is here, and nobody is changing it.
func (s suspect) here() bool {
	n := s.node
	return n.Residency == cache.Full && !n.Writing && n.Size > 0 && n.Content != 0
}

func (a *audit) count(e cache.Entry) error {
	s, ok, err := a.look(e)
	if err != nil || !ok {
		return err
	}
	for _, c := range s.copies {
		a.total += c.binding.Size
	}
	if s.here() {
		a.total += s.node.Size
	}
	return nil
}

// verdict is what reading a copy told.
type verdict struct {
	state  string // as in Finding; "": it is good
	why    string
	hash   cache.Hash // of a good one; of another what it has, if that is known
	proof  remote.Proof
	unsure bool // it may be good again in a moment: it is not to be mended
}

// file verifies the copies of a file and tells what is found.
func (a *audit) file(ctx context.Context, e cache.Entry) error {
	s, ok, err := a.look(e)
	if err != nil || !ok {
		return err
	}
	a.mu.Lock()
	a.out.Files++
	a.mu.Unlock()
	var bad []*mending
	var good []holder
	for i := range s.copies {
		h := &s.copies[i]
		v, err := a.stored(ctx, s, h)
		if err != nil {
			return err
		}
		if v.state == "" {
			h.binding.Hash = v.hash
			good = append(good, *h)
		}
		m, err := a.judge(s, *h, v)
		if err != nil {
			return err
		}
		if m != nil {
			bad = append(bad, m)
		}
	}
	hereGood, err := a.here(ctx, s, good)
	if err != nil {
		return err
	}
	for _, m := range bad {
		if err := a.conclude(ctx, s, m, good, hereGood); err != nil {
			return err
		}
	}
	return nil
}

// stored reads a copy that an endpoint has.
func (a *audit) stored(ctx context.Context, s suspect, h *holder) (v verdict, err error) {
	if s.moved[h.binding.ID] {
		return verdict{state: FoundChanged, why: "it was changed there, the next sync takes that in"}, nil
	}
	if v, err = h.examine(ctx); err != nil {
		return v, err
	}
	a.read(h.binding.Size)
	return v, nil
}

// read counts bytes that were read, or need not be any more.
func (a *audit) read(n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done += n
	if a.told != nil {
		a.told(min(a.done, a.total), a.total)
	}
}

// judge writes down what was found of a stored copy. A damaged one is returned: what becomes of it depends on the others.
func (a *audit) judge(s suspect, h holder, v verdict) (*mending, error) {
	f := Finding{Path: s.path, Endpoint: h.l.target, Conduit: h.l.conduitRow().Name, State: v.state, Size: h.binding.Size, Why: v.why}
	switch v.state {
	case "":
		return nil, a.proved(goodCopy{h.binding, s.node, v.hash, v.proof})
	case FoundAway:
		a.mu.Lock()
		a.away[h.l.id]++
		a.mu.Unlock()
		return nil, nil
	case FoundDamaged:
		d := cache.Damage{Binding: h.binding.ID, Ino: s.node.Ino, Version: h.binding.LocalVersion, Content: h.binding.Content, What: v.why}
		return &mending{Finding: f, h: h, node: s.node, unsure: v.unsure}, a.e.damaged(d, f)
	}
	return nil, a.report(f)
}

// ActivityDamage and ActivityRepair are the kinds of activity that tell of damaged copies, and of good ones in their place.
const (
	ActivityDamage = "damage"
	ActivityRepair = "repair"
)

// copyOf names a copy for people.
func (f Finding) copyOf() string {
	if f.Endpoint == "" {
		return f.Path + " on this machine"
	}
	return f.Path + " at " + f.Endpoint
}

// damaged writes damage down, and in the diary if it is news.
func (e *Engine) damaged(d cache.Damage, f Finding) error {
	return e.Cache.Update(0, func(tx *cache.Tx) error {
		fresh, err := tx.PutDamage(d)
		if err != nil || !fresh {
			return err
		}
		e.log.Warn("damaged copy", "path", f.Path, "endpoint", f.Endpoint, "cause", f.Why)
		return tx.AddActivity(ActivityDamage, f.copyOf()+" is damaged: "+f.Why)
	})
}

// proved writes a proof down, with others.
func (a *audit) proved(g goodCopy) error {
	a.mu.Lock()
	a.out.Copies++
	a.out.Bytes += g.binding.Size
	a.good = append(a.good, g)
	full := len(a.good) >= verifyBatch
	a.mu.Unlock()
	if full {
		return a.keep()
	}
	return nil
}

// keep writes down the proofs there are.
func (a *audit) keep() error {
	a.mu.Lock()
	all := a.good
	a.good = nil
	a.mu.Unlock()
	if len(all) == 0 {
		return nil
	}
	return a.e.Cache.Update(0, func(tx *cache.Tx) error {
		for _, g := range all {
			ok, err := keepProof(tx, g.binding, g.hash, g.proof)
			if err == nil && ok && !g.node.Hash.Known() && g.node.Version == g.binding.LocalVersion {
				err = tx.SetHash(g.node.Ino, g.node.Version, g.hash)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// report counts a finding and tells of it.
func (a *audit) report(f Finding) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch f.State {
	case FoundDamaged:
		a.out.Damaged++
	case FoundRepaired:
		a.out.Repaired++
	case FoundChanged:
		a.out.Changed++
	case FoundAway:
		a.out.Away++
	}
	if a.tell == nil {
		return nil
	}
	return a.tell(f)
}

// tellAway tells of the endpoints that could not be looked at, once of each.
func (a *audit) tellAway() error {
	for id, n := range a.away {
		l := a.e.leg(id)
		if l == nil {
			continue
		}
		a.out.Away += n - 1 // report counts one
		f := Finding{Endpoint: l.target, Conduit: l.conduitRow().Name, State: FoundAway, Why: fmt.Sprintf("%d of the copies there could not be looked at", n)}
		if err := a.report(f); err != nil {
			return err
		}
	}
	return nil
}

// examine reads the copy of a base at its endpoint. An error ends the verification.
func (h *holder) examine(ctx context.Context) (verdict, error) {
	was := ""
	for {
		v, again, err := h.examineOnce(ctx)
		switch {
		case ctx.Err() != nil:
			return v, ctx.Err()
		case err != nil:
			return v, err
		case again:
			continue
		case v.state != FoundDamaged || !v.hash.Known():
			return v, nil
		}
		// What is being written to in this moment has other bytes the next time, or is found to be another.
		got := hex.EncodeToString(v.hash[:])
		switch was {
		case got:
			return v, nil
		case "":
			was = got
		default:
			v.unsure, v.why = true, "it has other bytes each time that it is read"
			return v, nil
		}
	}
}

// examineOnce is examine with one look; again: the object was moved or changed by a write of ours.
func (h *holder) examineOnce(ctx context.Context) (v verdict, again bool, err error) {
	ep, addr, err := h.reach(ctx)
	if errors.Is(err, ErrUnreachable) {
		return verdict{state: FoundAway, why: err.Error()}, false, nil
	}
	if err == nil {
		v, err = h.validate(ctx, ep, addr)
	}
	var other *remote.OtherBytes
	switch {
	case err == nil, ctx.Err() != nil:
		return v, false, nil
	case errors.As(err, &other):
		v = verdict{state: FoundDamaged, why: "its bytes are others than were stored"}
		_, err = hex.Decode(v.hash[:], []byte(other.Actual))
		return v, false, err
	case errors.Is(err, remote.ErrCorrupt):
		return verdict{state: FoundDamaged, why: "it has another size than was stored"}, false, nil
	case isAny(err, surprises):
		if addr != "" {
			h.at = addr
			if again, err := h.await(ctx); err != nil || again {
				return v, again, err
			}
		}
		_ = h.l.readFailed(err) // a cycle looks at it
		v = verdict{state: FoundChanged, why: "it was changed there, the next sync takes that in"}
		if errors.Is(err, remote.ErrNotFound) {
			v.why = "it is not there any more, the next sync takes that in"
		}
		return v, false, nil
	case isAny(err, awayAll), errors.As(err, new(*remote.Throttled)), errors.Is(err, remote.ErrUnavailable) && !h.readable(ctx, ep):
		return verdict{state: FoundAway, why: h.l.readFailed(err).Error()}, false, nil
	}
	return verdict{state: FoundDamaged, why: fmt.Sprintf("it cannot be read: %v", err)}, false, nil
}

// awayAll are errors that say nothing of the one object that was asked for.
var awayAll = []error{remote.ErrRootGone, remote.ErrAuth, remote.ErrLocked, remote.ErrDetached}

// readable reports whether an endpoint as a whole is well, of which one object cannot be read.
func (h *holder) readable(ctx context.Context, ep remote.Endpoint) bool {
	_, err := ep.Check(ctx)
	return err == nil
}

// validate has the endpoint prove a copy. The hash of one that nobody ever read is learned.
func (h *holder) validate(ctx context.Context, ep remote.Endpoint, addr remote.ItemID) (v verdict, err error) {
	now, err := ep.Stat(ctx, addr)
	if err == nil && string(now.Content) != h.binding.Content {
		err = remote.ErrChanged
	}
	if err != nil {
		return v, err
	}
	if v.hash = h.binding.Hash; v.hash.Known() {
		r := remote.Validate(ctx, ep, validation(addr, now, v.hash))
		v.proof = r.Proof
		return v, r.Err
	}
	body, err := ep.Read(ctx, addr, now.Content, 0, -1)
	if err != nil {
		return v, err
	}
	v.proof = remote.ProofRead
	v.hash, err = hashStream(body)
	return v, err
}
