package event

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// tap keeps what it sees.
type tap struct {
	mu    sync.Mutex
	types []Type
	moved map[Way]int64
}

func (t *tap) Take(e *Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.types = append(t.types, e.Type)
}

func (t *tap) Moved(w Way, n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.moved == nil {
		t.moved = map[Way]int64{}
	}
	t.moved[w] += n
}

// drain takes all that waits.
func drain(s *Subscription) (all []Event) {
	for e, ok := s.Take(); ok; e, ok = s.Take() {
		all = append(all, e)
	}
	return all
}

func TestEveryTypeHasANameOfItsOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for i := range lastType {
		name := i.String()
		if name == "" || seen[name] {
			t.Errorf("type %d is called %q", i, name)
		}
		seen[name] = true
		if got, ok := Parse(name); !ok || got != i {
			t.Errorf("%q is %v, %v", name, got, ok)
		}
	}
	if _, ok := Parse("Unknown"); ok || lastType.String() != "Unknown" {
		t.Error("what is no type has a name")
	}
	if lastType > 64 {
		t.Error("a Set has no room for the types")
	}
}

func TestASubscriberHearsItsTypesInOrder(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_700_000_000, 0)
	b := New(Options{Now: func() time.Time { return at }})
	some, all := b.Subscribe(Of(FileAdded, SyncFailed), 10), b.Subscribe(All, 10)
	defer some.Close()
	defer all.Close()
	for _, e := range []Event{{Type: FileAdded, Path: "/a"}, {Type: FileDeleted, Path: "/b"}, {Type: SyncFailed, Error: "x"}} {
		b.Publish(e)
	}
	var got []string
	for _, e := range drain(some) {
		got = append(got, fmt.Sprint(e.Type, e.Path, e.Error, e.Seq-uint64(at.UnixMicro()), e.At.Equal(at)))
	}
	if want := []string{"FileAdded/a1 true", "SyncFailedx3 true"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := len(drain(all)); n != 3 {
		t.Errorf("the other one heard %d", n)
	}
}

func TestWhatNobodyWantsIsOnlyTapped(t *testing.T) {
	t.Parallel()
	seen := &tap{}
	b := New(Options{Tap: seen})
	b.Publish(Event{Type: FileAdded})
	b.Moved(Up, 7)
	b.Moved(Down, 0)
	s := b.Subscribe(Of(FileAdded), 4)
	if !b.Wants(FileAdded) || b.Wants(FileDeleted) || b.Subscribers() != 1 {
		t.Error("it does not want what it subscribed to")
	}
	b.Publish(Event{Type: FileDeleted})
	s.Close()
	if b.Wants(FileAdded) || b.Subscribers() != 0 {
		t.Error("it still wants something")
	}
	if !slices.Equal(seen.types, []Type{FileAdded, FileDeleted}) || seen.moved[Up] != 7 || len(seen.moved) != 1 {
		t.Errorf("tapped %v, %v", seen.types, seen.moved)
	}
	if len(drain(s)) != 0 {
		t.Error("it heard what it did not want")
	}
}

func TestPublishingForNobodyAllocatesNothing(t *testing.T) {
	b := New(Options{Tap: discard{}})
	s := b.Subscribe(Of(SyncFailed), 1)
	defer s.Close()
	if n := testing.AllocsPerRun(100, func() {
		if b.Wants(FileAdded) {
			t.Error("somebody wants it")
		}
		b.Publish(Event{Type: FileAdded})
		b.Moved(Up, 1)
	}); n > 1 { // the copy that the tap is shown
		t.Errorf("%v allocations", n)
	}
}

type discard struct{}

func (discard) Take(*Event)      {}
func (discard) Moved(Way, int64) {}

func TestANilBusCarriesNothing(t *testing.T) {
	t.Parallel()
	var b *Bus
	b.Publish(Event{Type: FileAdded})
	b.Moved(Up, 1)
	b.Progress(Event{}, nil).Reached(5)
	if b.Wants(FileAdded) || b.Steady() != 0 {
		t.Error("a nil bus wants something")
	}
}

func TestASlowSubscriberLosesTheOldestAndIsToldHowMany(t *testing.T) {
	t.Parallel()
	b := New(Options{})
	slow, quick := b.Subscribe(All, 20), b.Subscribe(All, 1000)
	defer slow.Close()
	defer quick.Close()
	for i := range 100 {
		b.Publish(Event{Type: FileAdded, Bytes: int64(i)}) // it would hang here if it waited
	}
	got := drain(slow)
	if len(got) != 20 || got[0].Bytes != 80 || got[0].Dropped != 80 || got[19].Bytes != 99 || got[1].Dropped != 0 {
		t.Errorf("%d events, the first %+v, the last %+v", len(got), got[0], got[len(got)-1])
	}
	if n := len(drain(quick)); n != 100 || b.Lost() != 80 {
		t.Errorf("the quick one has %d, %d were lost", n, b.Lost())
	}
	b.Publish(Event{Type: FileAdded})
	if e, ok := slow.Take(); !ok || e.Dropped != 0 {
		t.Errorf("what was told of is told again: %+v", e)
	}
}

// Whatever is taken in between, the queue is the end of what was published, in order and without a gap that is not told.
func TestAQueueIsAlwaysTheEndOfWhatWasPublished(t *testing.T) {
	t.Parallel()
	for _, room := range []int{1, 2, 15, 16, 17, 33} {
		b := New(Options{})
		s := b.Subscribe(All, room)
		next, published := int64(0), int64(0)
		for step := range 400 {
			for range step % 7 * room / 3 {
				b.Publish(Event{Type: FileAdded, Bytes: published})
				published++
			}
			for range step % 5 * room / 2 {
				e, ok := s.Take()
				if !ok {
					if next != published {
						t.Fatalf("room %d: nothing is left at %d of %d", room, next, published)
					}
					break
				}
				if next += int64(e.Dropped); e.Bytes != next {
					t.Fatalf("room %d: event %d came after %d lost, want %d", room, e.Bytes, e.Dropped, next)
				}
				next++
			}
		}
		s.Close()
	}
}

func TestNextWaitsForAnEventOrTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{})
		s := b.Subscribe(All, 4)
		defer s.Close()
		got := make(chan string)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for {
				e, err := s.Next(ctx)
				if err != nil {
					got <- fmt.Sprint(errors.Is(err, context.Canceled))
					return
				}
				got <- e.Path
			}
		}()
		synctest.Wait()
		b.Publish(Event{Type: FileAdded, Path: "/a"})
		b.Publish(Event{Type: FileAdded, Path: "/b"})
		if a, b := <-got, <-got; a != "/a" || b != "/b" {
			t.Errorf("got %q, %q", a, b)
		}
		synctest.Wait()
		cancel()
		if end := <-got; end != "true" {
			t.Errorf("it ended with %q", end)
		}
	})
}

func TestEverySubscriberSeesOneOrder(t *testing.T) {
	t.Parallel()
	b := New(Options{})
	one, two := b.Subscribe(All, 10_000), b.Subscribe(All, 10_000)
	defer one.Close()
	defer two.Close()
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for range 500 {
				b.Publish(Event{Type: FileAdded})
			}
		})
	}
	work.Wait()
	a, c := drain(one), drain(two)
	if len(a) != 4000 || len(c) != 4000 {
		t.Fatalf("%d and %d events", len(a), len(c))
	}
	for i := range a {
		if a[i].Seq != c[i].Seq || i > 0 && a[i].Seq != a[i-1].Seq+1 {
			t.Fatalf("event %d has the numbers %d and %d", i, a[i].Seq, c[i].Seq)
		}
	}
}

func TestProgressIsToldFiveTimesASecondAtMost(t *testing.T) {
	t.Parallel()
	now := time.Duration(0)
	b := New(Options{Steady: func() time.Duration { return now }})
	s := b.Subscribe(Of(FileChunkReceived), 1000)
	defer s.Close()
	paths := 0
	path := func() string { paths++; return "/big" }
	p := b.Progress(Event{Way: Up, Total: 3000}, path)
	for i := range 3000 { // a second and a half, in steps of half a millisecond
		now = time.Duration(i) * 500 * time.Microsecond
		p.Reached(int64(i + 1))
	}
	got := drain(s)
	if len(got) != 7 || paths != 7 {
		t.Fatalf("%d events, %d paths looked up", len(got), paths)
	}
	for i, e := range got {
		if e.Bytes != int64(400*(i+1)+1) || e.Total != 3000 || e.Path != "/big" || e.Way != Up {
			t.Errorf("event %d is %+v", i, e)
		}
	}
	now += time.Second
	p.Reached(10) // sent again from the beginning
	if again := drain(s); len(again) != 0 {
		t.Errorf("it goes back: %+v", again)
	}
	s.Close()
	p.Reached(3001)
	if paths != 7 {
		t.Error("a path was looked up for nobody")
	}
}

func TestWhatIsShortIsNotToldOf(t *testing.T) {
	t.Parallel()
	now := time.Hour
	b := New(Options{Steady: func() time.Duration { return now }})
	s := b.Subscribe(All, 1000)
	defer s.Close()
	for range 100 { // small files, a burst of them
		p := b.Progress(Event{Total: 10}, func() string { return "/small" })
		p.Reached(5)
		now += tellEvery - 1
		p.Reached(10)
	}
	if got := drain(s); len(got) != 0 {
		t.Errorf("%d events", len(got))
	}
}
