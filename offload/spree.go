package offload

import (
	"fmt"
	"sync"
	"time"

	"vdfs/cache"
	"vdfs/offload/caller"
)

// What a program in the background may have fetched within the window without a person being told.
const (
	spreeFiles  = 200
	spreeBytes  = 2_000_000_000
	spreeWindow = time.Minute
)

const (
	spreeQuiet = 10 * time.Minute // between two reports about one program
	spreeKept  = noteKept         // how long a report is shown
	spreesMax  = 64               // programs that are watched at a time
)

// ActivitySpree is the kind of activity that says that a program in the background has many files fetched.
const ActivitySpree = "spree"

// sprees watches what programs in the background have fetched.
type sprees struct {
	mu sync.Mutex
	of map[string]*spree
}

// spree is what one program had fetched within a window.
type spree struct {
	since    int64
	files    map[cache.Ino]int64 // what was counted of each; no more than make a report
	bytes    int64
	reported int64 // when last; 0: never
	text     string
}

// note adds bytes of a file, of which counted is how many there are in all since the window began. It answers with a text
// when it is time to tell somebody.
func (s *sprees) note(who caller.Caller, ino cache.Ino, counted, now int64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.get(who.Program, now)
	if now < p.since { // the clock has been set back
		p.since, p.reported = 0, 0
	}
	if p.reported != 0 && now-p.reported < int64(spreeQuiet) {
		return ""
	}
	if now-p.since >= int64(spreeWindow) {
		p.since, p.bytes = now, 0
		clear(p.files)
	}
	p.bytes += counted
	p.files[ino] += counted
	if len(p.files) <= spreeFiles && p.bytes <= spreeBytes {
		return ""
	}
	p.reported = now
	p.text = fmt.Sprintf("%s (%s) had %d files (%d bytes) fetched within a minute; %s",
		who.Program, kindOf(who), len(p.files), p.bytes, remedy(who))
	clear(p.files)
	p.bytes = 0
	return p.text
}

func kindOf(who caller.Caller) string {
	if who.Class == caller.Person {
		return "service"
	}
	return who.Class.String()
}

func remedy(who caller.Caller) string {
	if who.Limited() {
		return "of larger files it gets only the first 64 KiB"
	}
	return "with its name in hydrate.deny of the configuration it gets only the first 64 KiB of each"
}

// get finds or makes the spree of a program. When there are too many, those that nobody was told of are forgotten first.
func (s *sprees) get(program string, now int64) *spree {
	if p := s.of[program]; p != nil {
		return p
	}
	if s.of == nil {
		s.of = make(map[string]*spree)
	}
	for _, all := range []bool{false, true} {
		for name, p := range s.of {
			if len(s.of) >= spreesMax && (all || p.reported == 0) {
				delete(s.of, name)
			}
		}
	}
	p := &spree{since: now, files: make(map[cache.Ino]int64)}
	s.of[program] = p
	return p
}

// Notes are the reports of the last hour, a sentence each, for people.
func (r *Readers) Notes() []string {
	now := r.m.now().UnixNano()
	out := r.m.notes.recent(now)
	r.spree.mu.Lock()
	defer r.spree.mu.Unlock()
	for _, p := range r.spree.of {
		if p.reported != 0 && now-p.reported < int64(spreeKept) {
			out = append(out, p.text)
		}
	}
	return out
}

// count watches what came of a wait. Where a quarter of a file is here the rest follows by itself.
func (r *Readers) count(who caller.Caller, ino cache.Ino, before int64, f *file) {
	now, size := f.coming(), f.fill.Size()
	if quarter := size / 4; !who.Limited() && now >= quarter {
		now = size
		if before >= quarter {
			before = size
		}
	}
	r.note(who, ino, max(now-before, 0))
}

// note counts bytes that come for a program in the background.
func (r *Readers) note(who caller.Caller, ino cache.Ino, n int64) {
	text := r.spree.note(who, ino, n, r.m.now().UnixNano())
	if text == "" {
		return
	}
	r.m.log.Warn("a program in the background has many files fetched", "program", who.Program, "report", text)
	if err := r.m.cache.Update(0, func(tx *cache.Tx) error { return tx.AddActivity(ActivitySpree, text) }); err != nil {
		r.m.log.Error("report not recorded", "error", err)
	}
}
