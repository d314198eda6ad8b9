package syncer

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"vdfs/cache"
	"vdfs/cache/event"
	"vdfs/internal/fault"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote"
)

// A copy is announced, put, proved and recorded, in this order. What that costs for a small file is little but what many can
// share: the sync of the index that makes an announcement durable, those of the endpoint that do so for bytes and names, the
// transactions. So small files travel in groups, each step done for a whole group before the next. Each file has an error of
// its own, and one that fails is left out of what follows.

const (
	// groupFile is the size up to which a file that comes from another endpoint travels in a group. Of each as many bytes may
	// be in memory.
	groupFile = 32 << 10
	// gatherFile is that size for a file that is here, and groupBytes what the files of a group have together: they share the
	// wait for the endpoint's disk, which is longer than they take.
	gatherFile = 1 << 20
	groupBytes = 8 << 20
	// opensAtOnce is how many files of a group are opened at a time: their bytes may have to come from far away.
	opensAtOnce = 8
	// announceMax and commitMax are how many files share a transaction: file operations wait that long.
	announceMax = 64
	commitMax   = 16
	// syncTogether is how many copies it takes that making everything durable at once is cheaper than each file by itself.
	syncTogether = 8
	// lookTogether is how many it takes that a snapshot is cheaper than to look beside the writer.
	lookTogether = 8
)

// sending is a write on its way, with what has to be known for it.
type sending struct {
	job
	own   int64 // the item, if it has a generation of its own; else 0
	to    where
	node  cache.Node // of a copy
	body  body       // of a copy; nil: not opened
	entry remote.Entry
	proof remote.Proof
	part  part  // of the progress, while it is on its way
	err   error // why it came to nothing

	begun    time.Duration   // when it was told of, of the bus's time
	progress *event.Progress // nil: nobody is told of it
}

// left are those that have not failed yet.
func left(all []*sending) []*sending {
	return slices.DeleteFunc(slices.Clone(all), func(s *sending) bool { return s.err != nil })
}

// eachLeft does a step for those that have not failed yet.
func eachLeft(all []*sending, step func(*sending) error) {
	for _, s := range all {
		if s.err == nil {
			s.err = step(s)
		}
	}
}

// inParts does a transaction for at most so many at a time of those that have not failed yet. Where it fails, all of its part
// have.
func inParts(all []*sending, most int, transact func([]*sending) error) {
	for part := range slices.Chunk(left(all), most) {
		if err := transact(part); err != nil {
			eachLeft(part, func(*sending) error { return err })
		}
	}
}

func (b *batch) copyAll(ctx context.Context, jobs []job) error {
	if len(jobs) >= syncTogether {
		if err := b.l.e.Cache.SyncContents(ctx); err != nil {
			return err
		}
	}
	all, err := b.transfers(jobs)
	if err != nil {
		return err
	}
	b.l.news.begin()
	for _, part := range inBounds(all) {
		if err := b.copyPart(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// copyPart copies files of one generation, or large ones, which have one each.
func (b *batch) copyPart(ctx context.Context, all []*sending) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(b.l.parallel())
	for _, group := range b.l.groups(all) {
		g.Go(func() error {
			leave, err := b.l.e.transfers.enter(gctx)
			if err != nil {
				return err
			}
			defer leave()
			b.send(gctx, group)
			b.tellSent(group)
			return b.account(gctx, group)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if all[0].own != 0 {
		return b.l.complete(b.counts, nil, func(g cache.Generation) bool { return g.Item != 0 })
	}
	var bytes int64
	for _, s := range all {
		bytes += s.node.Size
	}
	return b.l.more(b.counts, 0, bytes) // its page counts as objects
}

// parallel is how many transfers of the leg run at once: what its conduit says, as far as the endpoint bears it. Files that
// travel in a group are one.
func (l *leg) parallel() int {
	return max(1, min(l.conduitRow().Parallel, cmp.Or(l.caps.Parallel, maxParallel)))
}

// groups puts together what travels together: files that are not large, if the endpoint takes several. Those that are here do
// not wait for those that come from another endpoint.
func (l *leg) groups(all []*sending) (out [][]*sending) {
	var here, away []*sending
	for _, s := range all {
		is := s.node.Residency == cache.Full
		switch {
		case l.caps.Together <= 1, s.node.Size > gatherFile, !is && s.node.Size > groupFile:
			out = append(out, []*sending{s})
		case is:
			here = append(here, s)
		default:
			away = append(away, s)
		}
	}
	for _, small := range [][]*sending{here, away} {
		for len(small) > 0 {
			n, size := 0, int64(0)
			for n < min(l.caps.Together, len(small)) && (n == 0 || size+small[n].node.Size <= groupBytes) {
				size += small[n].node.Size
				n++
			}
			out = append(out, small[:n:n])
			small = small[n:]
		}
	}
	return out
}

// transfers looks up what copies need, of many in one snapshot.
func (b *batch) transfers(jobs []job) ([]*sending, error) {
	return b.lookUp(jobs, func(tx *cache.Tx, s *sending) (err error) {
		s.node, err = toSend(tx, s.Op)
		s.own = ownItem(s.item.ID, s.node.Size)
		return err
	})
}

// places looks up where operations take place.
func (b *batch) places(jobs []job) ([]*sending, error) {
	return b.lookUp(jobs, func(*cache.Tx, *sending) error { return nil })
}

func (b *batch) lookUp(jobs []job, more func(*cache.Tx, *sending) error) (out []*sending, err error) {
	look := b.l.e.Cache.View
	if len(jobs) >= lookTogether {
		look = b.l.e.Cache.Survey
	}
	err = look(func(tx *cache.Tx) error {
		for _, j := range jobs {
			s := &sending{job: j}
			if s.to, s.err = b.l.where(tx, j.Op); s.err == nil {
				s.err = more(tx, s)
			}
			out = append(out, s)
		}
		return nil
	})
	return out, err
}

// toSend is the node that a copy was decided for, perhaps as it was while it was open. errOvertaken: it has another version by now,
// or the name is gone.
func toSend(tx *cache.Tx, op plan.Op) (cache.Node, error) {
	e, err := tx.Entry(cache.DentryID(op.Dentry))
	switch {
	case errors.Is(err, cache.ErrNotFound):
		return cache.Node{}, errOvertaken
	case err != nil || e.Node.Version == op.Expect.LocalVersion:
		return e.Node, err
	}
	if n, ok := tx.Live(e.Node); ok && n.Version == op.Expect.LocalVersion {
		return n, nil
	}
	return cache.Node{}, errOvertaken
}

// send sends files and has the endpoint prove that it stores them.
func (b *batch) send(ctx context.Context, all []*sending) {
	b.l.e.puts.Add(int64(len(all)))
	defer b.l.e.puts.Add(-int64(len(all)))
	for _, s := range all {
		s.part.of, s.part.size = &b.l.progress, s.node.Size
	}
	defer func() {
		for _, s := range all {
			s.part.end(s.err == nil)
			if s.body != nil {
				_ = s.body.Close() // what was read of it has been proved, or has failed
			}
		}
	}()
	var opens errgroup.Group
	opens.SetLimit(opensAtOnce)
	for _, s := range left(all) {
		opens.Go(func() error {
			s.err = b.open(ctx, s)
			return nil
		})
	}
	_ = opens.Wait() // each has its own error
	b.announceAll(all)
	eachLeft(all, func(s *sending) error { return fault.Point(faultBefore[s.Op.Kind]) })
	b.tellStarted(all)
	b.store(ctx, all)
	b.commitAll(all)
	eachLeft(all, func(s *sending) error {
		fault.Cut(faultSent)
		return b.l.e.Cache.MarkSent(s.node.Ino, s.node.Version)
	})
}

// open opens a file that is to be sent, and makes it durable here: else a power cut could leave the whole of it there and less
// of it here, and what is here would replace it.
func (b *batch) open(ctx context.Context, s *sending) (err error) {
	if err := b.l.keepsLoser(s.Op); err != nil {
		return err
	}
	s.body, err = b.l.openBody(ctx, s.node)
	if err != nil {
		s.body = nil
		if errors.Is(err, cache.ErrNotFound) || errors.Is(err, cache.ErrStale) {
			err = errOvertaken
		}
		return err
	}
	if !b.l.streams(s.node, s.body, s.to.binding) {
		if s.Hash, err = s.body.Sum(ctx); err != nil {
			return err
		}
	}
	if old := s.to.binding; old.ID != 0 && s.Hash.Known() && old.Hash == s.Hash && old.Content == s.Op.Expect.RemoteContent {
		if _, err := s.body.EnsureHash(ctx); err != nil {
			return err
		}
		return errOvertaken // now that the hash is known there are no bytes to send
	}
	return b.l.e.Cache.SyncContent(s.node.Ino)
}

// announceAll is announce for several, with the hashes that were not known.
func (b *batch) announceAll(all []*sending) []*sending {
	inParts(all, announceMax, func(part []*sending) error {
		data := make([][]byte, len(part))
		for i, s := range part {
			if data[i], s.err = s.write.encode(); s.err != nil {
				s.err = fmt.Errorf("announce %v: %w", s.Op.Kind, s.err)
			}
		}
		own := make([]error, len(part))
		err := b.transact(len(part), func(tx *cache.Tx) error {
			if _, err := b.l.claim(tx, part[0].own); err != nil { // one with a generation of its own is alone
				return err
			}
			for i, s := range part {
				if s.err != nil {
					continue
				}
				own[i] = b.announceOne(tx, s.item, s.Op, data[i])
				if own[i] == nil && isCopyOf(s.Op) && s.Hash.Known() && !s.node.Hash.Known() {
					own[i] = tx.SetHash(s.node.Ino, s.node.Version, s.Hash)
				}
				if own[i] != nil && !errors.Is(own[i], errOvertaken) && !errors.Is(own[i], errUnclear) {
					return own[i]
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for i, s := range part {
			s.err = errors.Join(s.err, own[i])
		}
		return nil
	})
	inParts(all, len(all), func([]*sending) error { return b.l.e.Cache.SyncIndex() })
	return all
}

// store has the endpoint store files and prove it.
func (b *batch) store(ctx context.Context, all []*sending) {
	live := left(all)
	var ups []*remote.Upload
	for _, s := range live {
		ups = append(ups, b.upload(s))
	}
	ctx = b.l.e.counted(ctx)
	outs := make([]remote.Stored, len(live))
	streamed := func(s *sending) bool { return !s.Hash.Known() }
	if g, ok := b.ep.(remote.Gatherer); ok && b.l.caps.Together > 0 && len(live) > 0 && !slices.ContainsFunc(live, streamed) {
		outs = g.PutAll(ctx, ups)
	} else {
		for i, s := range live {
			outs[i] = b.storeOne(ctx, s, ups[i])
		}
	}
	for i, out := range outs {
		live[i].entry, live[i].proof, live[i].err = out.Entry, out.Proof, out.Err
	}
	b.withdrawn(live)
}

// withdrawn takes back the announcements of those that the endpoint has just refused.
func (b *batch) withdrawn(asked []*sending) {
	for _, s := range asked {
		if s.err != nil {
			s.err = b.withdraw(s.item, s.err)
		}
	}
}

// storeOne is store for one file. Its hash, if that is not known, comes out of what passes.
func (b *batch) storeOne(ctx context.Context, s *sending, u *remote.Upload) remote.Stored {
	e, err := b.ep.Put(ctx, u)
	if err != nil {
		return remote.Stored{Err: err}
	}
	if !s.Hash.Known() {
		if s.Hash, err = s.body.EnsureHash(ctx); err != nil {
			return remote.Stored{Err: fmt.Errorf("learn what was sent: %w: %w", remote.ErrUnknown, err)}
		}
		u.Hashes = blakeOf(s.Hash)
	}
	return remote.Prove(ctx, b.ep, u, e)
}

// upload describes what is sent.
func (b *batch) upload(s *sending) *remote.Upload {
	up := &remote.Upload{
		Parent: s.to.parent, Name: s.Op.Name, Attr: b.l.attr(s.Op.Meta, plan.File), Size: s.node.Size, Body: metered{s.body, b.l, s.progress, &s.part}, Key: opKey(s.item, s.Op),
	}
	if s.Hash.Known() {
		up.Hashes = blakeOf(s.Hash)
	}
	if up.Attr.Mode == 0 {
		up.Attr.Mode = remote.KnownMode(s.node.Mode) // never more readable than the original
	}
	if s.Op.Kind == plan.OpReplace {
		up.ID, up.Pre = s.to.object, remote.Pre{Content: remote.Content(s.Op.Expect.RemoteContent)}
	}
	return up
}

// commitAll is commit for several. One that cannot be recorded does not stop the others.
func (b *batch) commitAll(all []*sending) []*sending {
	eachLeft(all, func(s *sending) error { return fault.Point(faultAfter[s.Op.Kind]) })
	inParts(all, commitMax, func(part []*sending) error {
		err := b.commitPart(part)
		if err == nil || len(part) == 1 {
			return err
		}
		eachLeft(part, func(s *sending) error { return b.commitPart([]*sending{s}) })
		return nil
	})
	return all
}

// commitPart writes bases in one transaction.
func (b *batch) commitPart(part []*sending) error {
	done := make([]counts, len(part))
	err := b.transact(len(part), func(tx *cache.Tx) error {
		t, err := b.l.work(tx, nil, part[0].own) // one with a generation of its own is alone
		if err != nil {
			return err
		}
		var sum counts
		for i, s := range part {
			done[i] = copiedOf(s.Op, s.node.Size)
			t.counts = &done[i]
			if err := b.record(t, s.item, s.write, s.entry, s.proof); err != nil {
				return err
			}
			if s.Drift {
				done[i].Drift++
			}
			sum = sum.plus(done[i])
			if err := tx.Settled(b.l.id, s.item.ID); err != nil {
				return err
			}
		}
		return t.count(sum)
	})
	if err != nil {
		return err
	}
	for i := range part {
		b.tally(done[i])
		fault.Cut(faultBased)
	}
	return nil
}

// transact runs a transaction for so many items; that of a single one is shared with others that come at the same time.
func (b *batch) transact(items int, fn func(*cache.Tx) error) error {
	if items > 1 {
		return b.l.e.Cache.Update(b.l.id, fn)
	}
	return b.l.e.Cache.UpdateJoint(b.l.id, fn)
}

// makeDirs makes new directories, which share what makes them durable as files do. done are those that it has dealt with, whatever
// came of them; moved: something did.
func (b *batch) makeDirs(ctx context.Context, jobs []job) (done map[int64]bool, moved bool, err error) {
	if len(jobs) < 2 {
		return nil, false, nil
	}
	all, err := b.places(jobs)
	if err != nil {
		return nil, false, err
	}
	b.announceAll(all)
	eachLeft(all, func(s *sending) error { return fault.Point(faultBefore[s.Op.Kind]) })
	var makes errgroup.Group
	makes.SetLimit(max(1, b.l.caps.Parallel))
	asked := left(all)
	for _, s := range asked {
		makes.Go(func() error {
			s.entry, s.err = b.ep.Mkdir(ctx, s.to.parent, s.Op.Name, b.l.attr(s.Op.Meta, s.Op.Object), opKey(s.item, s.Op))
			return nil
		})
	}
	_ = makes.Wait() // each has its own error
	b.withdrawn(asked)
	b.commitAll(all)
	done = make(map[int64]bool)
	for _, s := range all {
		done[s.item.ID] = true
		state := isDone
		if s.err != nil {
			if state, err = b.fail(ctx, s.item, s.Op, s.err); err != nil {
				return nil, false, err
			}
		}
		b.tell(state)
		moved = moved || state == isDone || state == isAgain
	}
	return done, moved, nil
}

// account counts what has come of files, and decides what becomes of those that failed.
func (b *batch) account(ctx context.Context, all []*sending) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.progress = b.progress || len(left(all)) > 0
	for _, s := range all {
		if s.err == nil {
			continue
		}
		state, err := b.fail(ctx, s.item, s.Op, s.err)
		b.tell(state)
		if err != nil {
			return err
		}
	}
	return nil
}

// blakeOf is a hash as endpoints are given it.
func blakeOf(h cache.Hash) remote.Hashes {
	return remote.Hashes{remote.BLAKE3: hex.EncodeToString(h[:])}
}
