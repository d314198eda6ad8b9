package syncer

import (
	"errors"
	"strings"
	"sync"
	"time"

	"vdfs/cache"
	"vdfs/cache/event"
	"vdfs/syncer/plan"
)

// What this file tells the bus is committed. Whoever follows the events learns of a run in this order: SyncStarted, what was
// done, SyncCompleted or SyncFailed.

// event is one about this leg. leg.mu is not held.
func (l *leg) event(t event.Type) event.Event {
	return event.Event{Type: t, Conduit: l.conduitRow().Name, Endpoint: l.target}
}

// news is the run of a leg that is under way, as it is told of.
type news struct {
	l *leg

	mu       sync.Mutex // a leaf
	on       bool
	begun    time.Duration // of the bus's time
	failed   string        // the failure that was told of last, until a run goes well
	throttle event.Throttle
}

// begin tells that there is something to do, once in a run.
func (n *news) begin() {
	bus := n.l.e.Events
	if bus == nil {
		return
	}
	n.mu.Lock()
	was := n.on
	if !was {
		n.on, n.begun = true, bus.Steady()
		n.throttle.Reset()
	}
	n.mu.Unlock()
	if !was {
		bus.Publish(n.l.event(event.SyncStarted))
		n.l.e.tellStates()
	}
}

// end takes the run off; false: none was told of.
func (n *news) end() (took time.Duration, was bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	was, n.on = n.on, false
	return n.l.e.Events.Steady() - n.begun, was
}

// completed takes the run off with its generations, and tells of those of which nothing more is looked at.
func (n *news) completed(all []cache.Generation) {
	if n.l.e.Events == nil || len(all) == 0 {
		return
	}
	n.begin()
	n.end()
	for _, g := range all {
		if !waitsToBeVerified(g) {
			n.outcome(g)
		}
	}
}

// outcome tells what came of a generation: it is complete when it was verified.
func (n *news) outcome(g cache.Generation) {
	if n.l.e.Events == nil {
		return
	}
	e := n.l.event(event.SyncCompleted)
	if g.Verification != cache.Verified {
		e.Type, e.Error = event.SyncFailed, strings.TrimPrefix(g.Verification, cache.FailedPrefix)
	}
	e.Took = time.Duration(g.Completed - g.Started)
	e.Generation, e.Files, e.Deleted, e.Conflicts, e.Bytes, e.Errors = g.Number, g.Copied, g.Deleted, g.Conflicts, g.Bytes, g.Errors
	n.l.e.Events.Publish(e)
	v := n.l.event(event.VerificationComplete)
	v.Generation, v.To = g.Number, g.Verification
	n.l.e.Events.Publish(v)
}

// over tells how a cycle ended that wrote nothing down, if it was told of or failed. A failure that lasts is told of once.
func (n *news) over(err error, interrupted bool) {
	bus := n.l.e.Events
	if bus == nil {
		return
	}
	took, was := n.end()
	e := n.l.event(event.SyncCompleted)
	e.Took = took
	switch {
	case err != nil && interrupted:
		e.Type, e.Error = event.SyncFailed, event.Interrupted
	case err != nil:
		e.Type, e.Error = event.SyncFailed, err.Error()
	}
	n.mu.Lock()
	again := n.failed == e.Error
	if !interrupted {
		n.failed = e.Error
	}
	n.mu.Unlock()
	if was || err != nil && !interrupted && !again && !errors.Is(err, ErrUnreachable) { // that ConnectivityChanged has told
		bus.Publish(e)
	}
	n.l.e.tellStates()
}

// moved tells of the progress of the run, now and then.
func (n *news) moved() {
	bus := n.l.e.Events
	if !bus.Wants(event.SyncProgress) || !n.throttle.May(bus.Steady()) {
		return
	}
	var p Progress
	err := n.l.e.Cache.View(func(tx *cache.Tx) (err error) {
		p, _, err = n.l.progressNow(tx)
		return err
	})
	if err != nil {
		n.l.e.log.Warn("progress not told", "conduit", n.l.conduitRow().Name, "error", err)
		return
	}
	e := n.l.event(event.SyncProgress)
	e.Files, e.FilesTotal, e.Bytes, e.Total, e.Rate, e.Rest = p.Files, p.FilesTotal, p.Bytes, p.BytesTotal, p.Rate, p.Left
	n.mu.Lock()
	e.Took = bus.Steady() - n.begun
	n.mu.Unlock()
	bus.Publish(e)
}

// pathOf is where a dentry is now; "": it is gone.
func (e *Engine) pathOf(d cache.DentryID) (p string) {
	err := e.Cache.View(func(tx *cache.Tx) (err error) {
		p, err = tx.Path(d)
		return err
	})
	if err != nil {
		return ""
	}
	return p
}

// tellStarted tells that files are about to be sent, and prepares to tell how far they are.
func (b *batch) tellStarted(all []*sending) {
	bus := b.l.e.Events
	if bus == nil {
		return
	}
	for _, s := range left(all) {
		s.begun = bus.Steady()
		e := b.l.event(event.FileUploadStarted)
		e.Total, e.Way = s.node.Size, event.Up
		path := func() string { return b.l.e.pathOf(cache.DentryID(s.Op.Dentry)) }
		if s.node.Size > groupFile { // others take less long than would be told
			s.progress = bus.Progress(e, path)
		}
		if bus.Wants(event.FileUploadStarted) {
			e.Path = path()
		}
		bus.Publish(e)
	}
}

// tellSent tells of files whose bases were just written.
func (b *batch) tellSent(all []*sending) {
	bus := b.l.e.Events
	if bus == nil {
		return
	}
	for _, s := range left(all) {
		e := b.l.event(event.FileUploadCompleted)
		e.Total, e.Hash, e.Took = s.node.Size, hexHash(s.Hash), bus.Steady()-s.begun
		if bus.Wants(e.Type) {
			e.Path = b.l.e.pathOf(cache.DentryID(s.Op.Dentry))
		}
		bus.Publish(e)
		b.l.news.moved()
	}
}

// tellFailed tells of an item that is not tried again at once.
func (b *batch) tellFailed(it cache.Item, op plan.Op, cause error) {
	bus := b.l.e.Events
	if bus == nil {
		return
	}
	e := b.l.event(event.FileUploadFailed)
	e.Error = cause.Error()
	if op.Kind != 0 {
		e.Operation = op.Kind.String()
	}
	if bus.Wants(e.Type) {
		e.Path = b.l.pathOfItem(it)
	}
	bus.Publish(e)
}

// pathOfItem is itemPath outside a transaction; "": nobody can tell.
func (l *leg) pathOfItem(it cache.Item) (p string) {
	err := l.e.Cache.View(func(tx *cache.Tx) (err error) {
		p, err = l.itemPath(tx, it)
		return err
	})
	if err != nil {
		return ""
	}
	return p
}

// tellLeft tells of an observed object that could not be brought into the drive.
func (l *leg) tellLeft(one *objectError) {
	bus := l.e.Events
	if bus == nil {
		return
	}
	e := l.event(event.FileDownloadFailed)
	e.Error = one.cause.Error()
	if bus.Wants(e.Type) {
		e.Path = l.pathOfItem(cache.Item{Leg: l.id, RemoteID: one.remoteID})
	}
	bus.Publish(e)
}

// changes are what operations of the drive are to those who follow the events.
var changes = map[plan.OpKind]event.Type{
	plan.OpCreateLocal: event.FileAdded, plan.OpRestoreLocal: event.FileAdded,
	plan.OpUpdateLocal: event.FileModified, plan.OpSplitLoser: event.FileModified, plan.OpSetLocalMeta: event.FileModified,
	plan.OpMoveLocal: event.FileMoved, plan.OpDeleteLocal: event.FileDeleted,

	plan.OpPut: event.FileAdded, plan.OpMkdir: event.FileAdded, plan.OpSymlink: event.FileAdded, plan.OpRestoreRemote: event.FileAdded,
	plan.OpReplace: event.FileModified, plan.OpSetRemoteMeta: event.FileModified,
	plan.OpMoveRemote: event.FileMoved, plan.OpDeleteRemote: event.FileDeleted,
}

// change begins to tell of an operation, and is called before it: afterwards nobody knows where what it moves or deletes was.
// tell is called after it, in the same transaction, and has the event published when that is committed. What the
// first contact brings was there before, and is not told of.
func (t *step) change(op plan.Op) (tell func() error, err error) {
	quiet := func() error { return nil }
	what, some := changes[op.Kind]
	if !some || !t.l.e.Events.Wants(what) {
		return quiet, nil
	}
	if row, ok, err := t.tx.Leg(t.l.id); err != nil || !ok || !row.Contact {
		return quiet, err
	}
	was := ""
	if op.Dentry != 0 {
		if was, err = t.pathIfAny(cache.DentryID(op.Dentry)); err != nil {
			return quiet, err
		}
	}
	return func() error {
		e := t.l.event(what)
		e.Kind, e.Origin, e.Path = kindName(op.Object), "remote", was
		if e.Type != event.FileDeleted {
			d := cache.DentryID(op.Dentry)
			if d == 0 {
				d = t.met.winner
			}
			now, err := t.pathIfAny(d)
			if err != nil {
				return err
			}
			if e.Path = now; was != "" && was != now {
				e.OtherPath = was
			}
		}
		t.publish(e)
		return nil
	}, nil
}

// tellSentChange is change for an operation that was done at the endpoint, whose base is being written.
func (t *step) tellSentChange(it cache.Item, op plan.Op) error {
	what, some := changes[op.Kind]
	if !some || !t.l.e.Events.Wants(what) {
		return nil
	}
	e := t.l.event(what)
	e.Kind, e.Origin = kindName(op.Object), "local"
	it.Leg = t.l.id
	if it.Binding == 0 {
		it.Binding = cache.BindingID(op.Binding)
	}
	if op.Dentry != 0 && !removes(op) {
		it = cache.Item{Leg: t.l.id, Dentry: cache.DentryID(op.Dentry)}
	}
	var err error
	if e.Path, err = t.l.itemPath(t.tx, it); err != nil {
		return err
	}
	t.publish(e)
	return nil
}

// publish tells of something when the transaction is committed.
func (t *step) publish(e event.Event) {
	l := t.l
	t.tx.AfterCommit(func() {
		l.news.begin()
		l.e.Events.Publish(e)
	})
}

// pathIfAny is where a dentry is in this transaction; "": it is nowhere.
func (t *step) pathIfAny(d cache.DentryID) (string, error) {
	if d == 0 {
		return "", nil
	}
	p, err := t.tx.Path(d)
	if errors.Is(err, cache.ErrNotFound) {
		return "", nil
	}
	return p, err
}

func kindName(k plan.Kind) string {
	switch k {
	case plan.Dir:
		return "dir"
	case plan.Symlink:
		return "symlink"
	}
	return "file"
}

// tellConflict tells of a conflict when its record is committed, and of its end where that has one.
func (e *Engine) tellConflict(tx *cache.Tx, conduit string, row cache.ConflictRow) {
	if e.Events == nil {
		return
	}
	ev := event.Event{
		Type: event.FileConflictDetected, Conduit: conduit, Path: row.Path, OtherPath: row.ConflictPath, Class: row.Type,
		Strategy: row.Strategy, Local: row.LocalInfo, Remote: row.RemoteInfo,
	}
	tx.AfterCommit(func() {
		e.Events.Publish(ev)
		if row.State == cache.ConflictResolved {
			ev.Type = event.FileConflictResolved
			e.Events.Publish(ev)
		}
	})
}

// tellResolved tells that a conflict was settled, and what was kept, when that is committed.
func (e *Engine) tellResolved(tx *cache.Tx, row cache.ConflictRow, kept string) {
	if e.Events == nil {
		return
	}
	ev := event.Event{Type: event.FileConflictResolved, Path: row.Path, OtherPath: row.ConflictPath, Class: row.Type, Strategy: kept}
	if l := e.leg(row.Leg); l != nil {
		ev.Conduit, ev.Endpoint = l.conduitRow().Name, l.target
	}
	tx.AfterCommit(func() { e.Events.Publish(ev) })
}

// tellConduit tells that a conduit was made, changed or deleted.
func (e *Engine) tellConduit(t event.Type, cd cache.Conduit) {
	e.Events.Publish(event.Event{Type: t, Conduit: cd.Name, To: cd.Policy})
	if t != event.ConduitDeleted {
		e.tellStates()
	}
}

// tellOnline tells that an endpoint is back, or why it is away. leg.mu is not held.
func (l *leg) tellOnline(why error) {
	e := l.event(event.ConnectivityChanged)
	if e.Online = why == nil; !e.Online {
		e.Error = why.Error()
	}
	l.e.Events.Publish(e)
	l.e.tellStates()
}

// states are those of the conduits that were told of last; one that was not is taken to be idle.
type states struct {
	mu  sync.Mutex
	was map[string]string
}

// tellStates tells which conduits are in another state than before. It is not called inside a transaction, nor with a lock held.
func (e *Engine) tellStates() {
	e.states.mu.Lock() // the looks are in order
	defer e.states.mu.Unlock()
	if !e.Events.Wants(event.SyncStateChanged) {
		e.states.was = nil // whoever comes later was told of nothing
		return
	}
	all, err := e.Status()
	if err != nil {
		e.log.Debug("states not told", "error", err)
		return
	}
	now := map[string]string{}
	for _, c := range all {
		now[c.Name] = c.State
		was := e.states.was[c.Name]
		if was == "" {
			was = StateIdle
		}
		if was != c.State {
			e.Events.Publish(event.Event{Type: event.SyncStateChanged, Conduit: c.Name, From: was, To: c.State, Error: c.Message})
		}
	}
	e.states.was = now
}

// queueRest is the least time between two looks at the queue for those who follow it.
const queueRest = 500 * time.Millisecond

// queueNews tells how long the queue is when that has changed and somebody wants to know. It belongs to one goroutine.
type queueNews struct {
	e     *Engine
	timer *time.Timer // nil until it is needed
	armed bool
	was   event.Queue
}

// stir is called when items were written.
func (q *queueNews) stir() {
	if q.armed || !q.e.Events.Wants(event.QueueStatusChanged) {
		return
	}
	q.armed = true
	if q.timer == nil {
		q.timer = time.NewTimer(queueRest)
	} else {
		q.timer.Reset(queueRest)
	}
}

// due has a value when it is time to tell.
func (q *queueNews) due() <-chan time.Time {
	if q.timer == nil {
		return nil
	}
	return q.timer.C
}

// QueueOf sums open items by their status.
func QueueOf(counts []cache.ItemCount) (q event.Queue) {
	for _, c := range counts {
		switch c.Status {
		case cache.ItemNew:
			q.New += c.Count
		case cache.ItemValidated:
			q.Validated += c.Count
		case cache.ItemProcessing:
			q.Processing += c.Count
		case cache.ItemConflicted:
			q.Conflicted += c.Count
		case cache.ItemError:
			q.Error += c.Count
		}
	}
	return q
}

func (q *queueNews) tell() {
	q.armed = false
	var now event.Queue
	err := q.e.Cache.Survey(func(tx *cache.Tx) error {
		counts, err := tx.CountItems()
		now = QueueOf(counts)
		return err
	})
	if err != nil {
		q.e.log.Debug("queue not told", "error", err)
		return
	}
	if now != q.was {
		q.was = now
		q.e.Events.Publish(event.Event{Type: event.QueueStatusChanged, Queue: &now})
	}
}

// tellRefreshed tells that a new version, which was fetched beside the old one, has taken its place.
func (t *step) tellRefreshed(o cache.Observed) error {
	if t.l.e.Events == nil {
		return nil
	}
	e := t.l.event(event.FileDownloadCompleted)
	e.Total, e.Hash = o.Size, hexHash(o.Hash)
	if t.l.e.Events.Wants(e.Type) {
		var err error
		if e.Path, err = t.l.itemPath(t.tx, cache.Item{Leg: t.l.id, RemoteID: o.RemoteID}); err != nil {
			return err
		}
	}
	t.publish(e)
	return nil
}
