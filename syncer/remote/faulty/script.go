// Package faulty wraps an endpoint so that a test decides what goes wrong in
// it, and can look at what was asked of it.
package faulty

import (
	"context"
	"sync"

	"vdfs/syncer/remote"
)

// Method names a method of remote.Endpoint.
type Method string

// The methods that can be scripted.
const (
	Check   Method = "Check"
	Stat    Method = "Stat"
	Lookup  Method = "Lookup"
	List    Method = "List"
	Changes Method = "Changes"
	Read    Method = "Read"
	Put     Method = "Put"
	Mkdir   Method = "Mkdir"
	Update  Method = "Update"
	Delete  Method = "Delete"
	Verify  Method = "Verify"
	Trash   Method = "Trash"
	Purge   Method = "Purge"
)

// Call is one call that reached the wrapper.
type Call struct {
	Method Method
	ID     remote.ItemID // the item; of a new one: its parent
	Name   string        // of a new item or a lookup, the new name of a rename, the path of what is in the trash
	Key    remote.OpKey
}

// Rule says what happens to calls. Its fields act in the order Hold, Before,
// Err, the call itself, Then, After.
type Rule struct {
	Method Method            // "" matches every method
	Match  func(c Call) bool // further condition; nil: none
	// Nth acts only on the n-th matching call since the rule was added, from 1;
	// 0 on every one.
	Nth    int
	Hold   <-chan struct{} // the call waits until it is closed, or for its context
	Before func()          // runs before the call, without any lock
	Err    error           // returned instead of calling
	Then   func()          // runs when the call has taken effect, before its reply
	After  error           // returned although the call took effect: the reply is lost
	// Cut breaks a List off after that many entries (the next page gives
	// ErrUnavailable), a Read after that many bytes; 0: not at all. CutErr is what the read then gives; nil: ErrUnavailable.
	Cut    int64
	CutErr error
}

// Script holds rules and records calls. The zero Script lets everything pass.
// It may serve several endpoints, and may be changed while they work.
type Script struct {
	mu    sync.Mutex
	rules []*armed
	calls []Call
}

type armed struct {
	Rule
	seen int
}

// Add appends a rule; the first that acts on a call is the only one to do so.
func (s *Script) Add(r Rule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = append(s.rules, &armed{Rule: r})
}

// Clear removes all rules; the record of calls stays.
func (s *Script) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = nil
}

// Calls returns the calls so far, of one method or of all ("").
func (s *Script) Calls(m Method) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Call
	for _, c := range s.calls {
		if m == "" || c.Method == m {
			out = append(out, c)
		}
	}
	return out
}

// Forget empties the record of calls.
func (s *Script) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = nil
}

// meet records the call and runs what comes before it. The rule that acts on
// it is returned, an empty one when none does.
func (s *Script) meet(ctx context.Context, c Call) (Rule, error) {
	r := s.take(c)
	if r.Hold != nil {
		select {
		case <-r.Hold:
		case <-ctx.Done():
			return r, ctx.Err()
		}
	}
	if r.Before != nil {
		r.Before()
	}
	return r, r.Err
}

func (s *Script) take(c Call) Rule {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, c)
	var hit *armed
	for _, r := range s.rules {
		if r.Method != "" && r.Method != c.Method || r.Match != nil && !r.Match(c) {
			continue
		}
		r.seen++
		if hit == nil && (r.Nth == 0 || r.Nth == r.seen) {
			hit = r
		}
	}
	if hit == nil {
		return Rule{}
	}
	return hit.Rule
}
