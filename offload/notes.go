package offload

import (
	"slices"
	"sync"
	"time"
)

const (
	noteKept = time.Hour // how long a note is shown
	notesMax = 16        // how many are kept
)

// notes are what a person should know that happened a short while ago.
type notes struct {
	mu  sync.Mutex // a leaf
	all []note     // the oldest first
}

type note struct {
	at   int64
	text string
}

func (s *notes) add(text string, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, note{now, text})
	s.all = slices.Delete(s.all, 0, max(len(s.all)-notesMax, 0))
}

func (s *notes) recent(now int64) (texts []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.all {
		if now-n.at < int64(noteKept) {
			texts = append(texts, n.text)
		}
	}
	return texts
}
