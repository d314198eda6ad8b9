package syncer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"vdfs/cache"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote"
)

// A file that is pinned, or that a person opened lately, is not to become a placeholder because it changes at the endpoint.
// Its new version is fetched beside the old one, which programs read meanwhile, however long it takes and whatever becomes of
// the endpoint; then it takes its place in the transaction that would have made the placeholder. Until then the change waits in
// observed, and is decided anew each time: what was fetched is used only for the very content that is still to be taken.

const (
	refreshesAtOnce = 4    // of a leg
	refreshesMax    = 4096 // that a leg knows of; others are asked for again when there is room
	overtakenMax    = 3    // so often a file may change while it is being fetched
	mismatchesMax   = 2    // so often what was fetched may be something else than it must be
)

// errMismatch says that what an endpoint gave is not what it says that it has.
var errMismatch = errors.New("what came is not the version that the endpoint tells of")

// refreshes are a leg's. want is called inside transactions: under mu no lock is taken but the leg's.
type refreshes struct {
	l *leg

	mu      sync.Mutex
	all     map[string]*refresh // by remote id
	queue   []*refresh          // those that wait for their turn, in order
	running int
	halted  bool // none is begun
	work    sync.WaitGroup
	ctx     context.Context // of those that run; nil: of none
	cancel  context.CancelFunc
	news    chan struct{} // cap 1: one ended
}

// refresh is one version of one object on its way. The first fields never change; stage and at belong to whoever fetches while
// it runs; the rest is guarded by refreshes.mu.
type refresh struct {
	id, content string
	size        int64
	hash        cache.Hash // it must have; not known: nobody can tell
	who         cache.Reader

	stage *cache.Stage // nil: nothing came yet
	at    int64        // bytes that came

	state                        refreshState
	overtaken, mismatched, tries int
	next                         time.Time // when it may be tried again after it failed
	cause                        error     // why it failed last; nil: it did not, or is tried again
	stop                         context.CancelFunc
}

type refreshState uint8

const (
	refreshRests refreshState = iota // it failed or was interrupted
	refreshWaits                     // for its turn
	refreshRuns
	refreshReady  // all of it is here and verified
	refreshInVain // it is not to be tried any more
)

// want tells whether a version is ready, or else has to be waited for. It is begun if it was not. Neither: it cannot be had so.
func (r *refreshes) want(o cache.Observed, who cache.Reader) (ready *cache.Stage, waits bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.all[o.RemoteID]
	if f == nil || f.content != o.Content {
		if r.halted || f == nil && len(r.all) >= refreshesMax {
			return nil, true
		}
		f = r.add(o, who, f)
	}
	switch f.state {
	case refreshReady:
		return f.stage, false
	case refreshInVain:
		return nil, false
	case refreshRests:
		if !r.halted && !r.l.e.Clock().Before(f.next) {
			f.state, f.cause = refreshWaits, nil
			r.queue = append(r.queue, f)
			r.begin()
		}
	}
	return nil, true
}

// add makes one, in place of another version of the object. mu is held.
func (r *refreshes) add(o cache.Observed, who cache.Reader, old *refresh) *refresh {
	f := &refresh{id: o.RemoteID, content: o.Content, size: o.Size, hash: o.Hash, who: who}
	if old != nil {
		f.overtaken = old.overtaken
		if old.state == refreshRuns || old.state == refreshReady {
			f.overtaken++
		}
		r.drop(old)
	}
	if f.overtaken >= overtakenMax {
		f.state = refreshInVain
	}
	if r.all == nil {
		r.all = map[string]*refresh{}
	}
	r.all[f.id] = f
	return f
}

// ready is the stage of a version, nil if it is not here.
func (r *refreshes) ready(o cache.Observed) *cache.Stage {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.all[o.RemoteID]; f != nil && f.content == o.Content && f.state == refreshReady {
		return f.stage
	}
	return nil
}

// begin lets those that wait go on as far as there is room. mu is held.
func (r *refreshes) begin() {
	if r.ctx == nil {
		r.ctx, r.cancel = context.WithCancel(context.Background())
	}
	for r.running < min(refreshesAtOnce, r.l.parallel()) && len(r.queue) > 0 {
		r.running++
		r.work.Go(r.run)
	}
}

// run fetches one after the other until none waits.
func (r *refreshes) run() {
	for {
		r.mu.Lock()
		if len(r.queue) == 0 {
			r.running--
			r.mu.Unlock()
			return
		}
		f := r.queue[0]
		r.queue = r.queue[1:]
		ctx, stop := context.WithCancel(r.ctx)
		f.state, f.stop = refreshRuns, stop
		r.mu.Unlock()
		leave, err := r.l.e.transfers.enter(ctx)
		if err == nil {
			err = r.l.fetchBeside(ctx, f)
			leave()
		}
		r.mu.Lock()
		r.ended(f, err, ctx.Err() != nil)
		r.mu.Unlock()
		stop()
	}
}

// ended concludes one that ran. What is ready, or in vain, is news for a cycle. mu is held.
func (r *refreshes) ended(f *refresh, err error, stopped bool) {
	f.stop = nil
	poke(r.news)
	if r.all[f.id] != f { // dropped meanwhile
		r.discard(f)
		return
	}
	f.state, f.next = refreshRests, time.Time{}
	switch {
	case err == nil:
		f.state = refreshReady
		r.l.wake()
	case stopped:
	case errors.Is(err, errMoving): // it is looked for again where it is by then
		time.AfterFunc(settle, r.l.wake)
	case errors.Is(err, errMismatch):
		r.discard(f)
		if f.mismatched++; f.mismatched < mismatchesMax {
			f.state = refreshWaits
			r.queue = append(r.queue, f)
			return
		}
		r.giveUp(f, err)
	case errors.Is(err, cache.ErrNoSpace):
		r.giveUp(f, err)
	default:
		r.rest(f, err)
	}
	if f.state == refreshRests && (f.at == f.size || r.partial() > refreshesAtOnce || !r.l.caps.Ranges) {
		r.discard(f)
	}
}

// giveUp leaves a version to those who read it. mu is held.
func (r *refreshes) giveUp(f *refresh, err error) {
	r.l.e.log.Warn("new version not fetched beside the old one", "conduit", r.l.conduitRow().Name, "object", f.id, "error", err)
	r.discard(f)
	f.state = refreshInVain
	r.l.wake()
}

// rest has one that failed tried again later. mu is held.
func (r *refreshes) rest(f *refresh, err error) {
	f.tries++
	wait := backoff(f.tries)
	if errors.Is(err, ErrUnreachable) {
		wait = min(wait, offRetry)
	}
	f.cause, f.next = err, r.l.e.Clock().Add(wait)
	r.l.e.log.Debug("new version not fetched yet", "object", f.id, "error", err)
	time.AfterFunc(wait, r.l.wake)
}

// partial counts the stages of those that rest. mu is held.
func (r *refreshes) partial() (n int) {
	for _, f := range r.all {
		if f.state == refreshRests && f.stage != nil {
			n++
		}
	}
	return n
}

// drop forgets one. mu is held.
func (r *refreshes) drop(f *refresh) {
	delete(r.all, f.id)
	r.queue = slices.DeleteFunc(r.queue, func(other *refresh) bool { return other == f })
	if f.stop != nil { // whoever fetches discards it
		f.stop()
		return
	}
	r.discard(f)
}

// discard gives up what came. Nobody fetches it.
func (r *refreshes) discard(f *refresh) {
	if f.stage == nil {
		return
	}
	if err := f.stage.Close(); err != nil {
		r.l.e.log.Warn("staged content not removed", "object", f.id, "error", err)
	}
	f.stage, f.at = nil, 0
}

// prune forgets those of which nothing is left to do.
func (r *refreshes) prune() error {
	r.mu.Lock()
	var ids []string
	for id := range r.all {
		ids = append(ids, id)
	}
	r.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	var over []string
	err := r.l.e.Cache.View(func(tx *cache.Tx) error {
		for _, id := range ids {
			o, ok, err := tx.Observed(r.l.id, id)
			if err != nil {
				return err
			}
			if !ok || o.Gone {
				over = append(over, id)
			}
		}
		return nil
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range over {
		if f := r.all[id]; f != nil {
			r.drop(f)
		}
	}
	return err
}

// interrupt ends those that run, and returns when they have ended. What came of them stays for the next time: see allow.
func (r *refreshes) interrupt() {
	r.mu.Lock()
	for _, f := range r.queue {
		f.state = refreshRests
	}
	r.queue = nil
	if r.ctx != nil {
		r.cancel()
		r.ctx = nil
	}
	r.halted = true
	r.mu.Unlock()
	r.work.Wait()
}

// allow lets them begin again.
func (r *refreshes) allow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.halted = false
}

// hurry lets those that failed be tried again at once.
func (r *refreshes) hurry() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.all {
		f.next = time.Time{}
	}
}

// close is interrupt, and forgets all.
func (r *refreshes) close() {
	r.interrupt()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.all {
		r.drop(f)
	}
}

// active tells whether something is on its way or ready.
func (r *refreshes) active() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.all {
		if f.state != refreshRests && f.state != refreshInVain {
			return true
		}
	}
	return false
}

// says is what a person is told of an object whose new version is waited for.
func (r *refreshes) says(id string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.all[id]; f != nil && f.cause != nil {
		return fmt.Sprintf("%v: %v", plan.WaitBytes, f.cause)
	}
	return plan.WaitBytes.String()
}

// fetchBeside brings the rest of a version here, and verifies the whole.
func (l *leg) fetchBeside(ctx context.Context, f *refresh) error {
	ep, err := l.online(ctx)
	if err != nil {
		return err
	}
	var addr remote.ItemID
	err = l.e.Cache.View(func(tx *cache.Tx) (err error) {
		addr, err = l.address(tx, f.id)
		return err
	})
	if err != nil {
		return err
	}
	if f.stage == nil {
		if f.stage, err = l.e.Cache.Stage(f.size, f.who); err != nil {
			return err
		}
	}
	if f.at < f.size {
		body, err := ep.Read(ctx, addr, remote.Content(f.content), f.at, f.size-f.at)
		if isAny(err, surprises) && l.movedFrom(f.id, addr) {
			return errMoving
		}
		if err != nil {
			return l.readFailed(err)
		}
		if err := errors.Join(f.take(&copyStream{body, l, ""}), body.Close()); err != nil {
			return err
		}
	}
	h, err := f.stage.Seal(ctx)
	if err == nil && f.hash.Known() && h != f.hash {
		err = errMismatch
	}
	return err
}

// errMoving says that an object was not where it was looked for, as this leg moves it.
var errMoving = errors.New("it is being moved at the storage")

// movedFrom reports whether an object may be elsewhere by a write of this leg than where it was looked for.
func (l *leg) movedFrom(id string, addr remote.ItemID) (yes bool) {
	err := l.e.Cache.View(func(tx *cache.Tx) error {
		now, err := l.address(tx, id)
		if yes = err == nil && now != addr; !yes && err == nil {
			yes, err = l.moving(tx, 0)
		}
		return err
	})
	if err != nil {
		l.e.log.Debug("look for moves", "object", id, "error", err)
	}
	return yes
}

// take writes what comes behind what is here, until all is.
func (f *refresh) take(r io.Reader) error {
	buf := make([]byte, 256<<10)
	for f.at < f.size {
		n, err := r.Read(buf[:min(int64(len(buf)), f.size-f.at)])
		if _, werr := f.stage.WriteAt(buf[:n], f.at); werr != nil {
			return werr
		}
		f.at += int64(n)
		switch {
		case err == nil || f.at == f.size:
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%d of %d bytes came: %w", f.at, f.size, io.ErrUnexpectedEOF)
		default:
			return err
		}
	}
	return nil
}

// decide is plan.Decide, but that a new version which is to be here before the old one goes is waited for.
func (t *step) decide(s plan.Subject) (plan.Decision, error) {
	d, err := plan.Decide(t, s, t.l.rules())
	if err != nil {
		return d, err
	}
	for _, op := range d.Ops {
		o, who, err := t.refreshed(op)
		if err != nil {
			return d, err
		}
		if o == nil {
			continue
		}
		stage, waits := t.l.fetches.want(*o, who)
		switch {
		case waits:
			return plan.Decision{Wait: &plan.Wait{Reason: plan.WaitBytes}}, nil
		case stage != nil && !o.Hash.Known(): // which may tell that nothing but the time is new
			o.Hash = stage.Hash()
			if err := t.tx.PutObserved(*o); err != nil {
				return d, err
			}
			return plan.Decide(t, s, t.l.rules())
		}
	}
	return d, nil
}

// refreshed is the object whose new content an operation takes, or asks about, if that is to be here first, and for whom.
func (t *step) refreshed(op plan.Op) (*cache.Observed, cache.Reader, error) {
	var nobody cache.Reader
	if op.Object != plan.File || op.Kind != plan.OpUpdateLocal && op.Kind != plan.OpNeedRemoteHash {
		return nil, nobody, nil
	}
	o, ok, err := t.tx.Observed(t.l.id, string(op.Remote))
	if err != nil || !ok || o.Gone {
		return nil, nobody, err
	}
	b, ok, err := t.tx.BindingOfRemote(t.l.id, o.RemoteID)
	if err != nil || !ok || b.Dentry == 0 || b.Content == o.Content {
		return nil, nobody, err
	}
	was, err := t.l.fromBase(t.tx, b)
	if err != nil || o.Name != was.Name || o.Parent != was.Parent {
		return nil, nobody, err // it was moved there, too: perhaps to a name that is not to be missing until the bytes have come
	}
	e, err := t.tx.Entry(b.Dentry)
	if errors.Is(err, cache.ErrNotFound) || err == nil && e.Node.Version != b.LocalVersion {
		return nil, nobody, nil
	}
	if err != nil {
		return nil, nobody, err
	}
	who, yes, err := t.tx.Refreshes(e, o.Size)
	if err == nil && yes {
		yes, err = t.undisputed(e, o)
	}
	if err != nil || !yes {
		return nil, nobody, err
	}
	return &o, who, nil
}

// undisputed tells whether no other object of the endpoint has the name that a dentry has here. What comes of two that meet is
// not to hang on how fast bytes come.
func (t *step) undisputed(e cache.Entry, o cache.Observed) (bool, error) {
	d, err := t.tx.DentryOf(e.Parent)
	if err != nil {
		return false, err
	}
	p, ok, err := t.tx.BindingOfDentry(t.l.id, d.ID)
	if err != nil || !ok {
		return false, err
	}
	at, err := t.l.childAt(t.tx, p.RemoteID, e.Name)
	return at == nil || at.RemoteID == o.RemoteID, err
}
