package faulty_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"vdfs/syncer/remote"
	"vdfs/syncer/remote/faulty"
	"vdfs/syncer/remote/memory"
)

func put(ep remote.Endpoint, root remote.ItemID, name string) error {
	_, err := ep.Put(context.Background(), &remote.Upload{Parent: root, Name: name, Body: strings.NewReader("x"), Size: 1})
	return err
}

func open(t *testing.T) (*memory.Store, *faulty.Script, remote.Endpoint, remote.ItemID) {
	t.Helper()
	store, s := memory.New(memory.Options{}), &faulty.Script{}
	ep := faulty.Wrap(store.Open(), s)
	st, err := ep.Check(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return store, s, ep, st.Root
}

func TestOnlyTheNthCallFails(t *testing.T) {
	t.Parallel()
	store, s, ep, root := open(t)
	s.Add(faulty.Rule{Method: faulty.Put, Nth: 2, Err: remote.ErrUnavailable})
	for i, want := range []error{nil, remote.ErrUnavailable, nil} {
		if err := put(ep, root, string(rune('a'+i))); !errors.Is(err, want) {
			t.Fatalf("call %d: %v", i+1, err)
		}
	}
	if n := len(store.Tree()); n != 2 {
		t.Fatalf("%d files", n)
	}
	if calls := s.Calls(faulty.Put); len(calls) != 3 || calls[1].Name != "b" || calls[1].ID != root {
		t.Fatalf("calls %v", calls)
	}
}

func TestALostReplyHasTakenEffect(t *testing.T) {
	t.Parallel()
	store, s, ep, root := open(t)
	s.Add(faulty.Rule{Method: faulty.Put, Match: func(c faulty.Call) bool { return c.Name == "b" }, After: remote.ErrUnknown})
	if err := errors.Join(put(ep, root, "a"), put(ep, root, "b")); !errors.Is(err, remote.ErrUnknown) {
		t.Fatal(err)
	}
	if n := len(store.Tree()); n != 2 {
		t.Fatalf("%d files", n)
	}
}

func TestAHeldCallGoesOnWhenReleasedOrEndsWithItsContext(t *testing.T) {
	t.Parallel()
	store, s, ep, root := open(t)
	release := make(chan struct{})
	ran := false
	s.Add(faulty.Rule{Method: faulty.Put, Hold: release, Before: func() { ran = true }})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	u := &remote.Upload{Parent: root, Name: "a", Body: strings.NewReader("x"), Size: 1}
	if _, err := ep.Put(ctx, u); !errors.Is(err, context.Canceled) || ran {
		t.Fatalf("got %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- put(ep, root, "b") }()
	close(release)
	if err := <-done; err != nil || !ran {
		t.Fatalf("got %v", err)
	}
	if _, ok := store.Tree()["b"]; !ok {
		t.Fatal("it was not put")
	}
}
