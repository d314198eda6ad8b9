package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// publisher is another program: in a part of the directory behind the drive that nobody else changes it publishes one version
// after the other of some files. What it remembers tells which of them a reader in the mount may see.
type publisher struct {
	root string
	rnd  *rand.Rand
	hot  []string // names that the present burst works on
	warm []string // what was hot since all came to rest, and may still be on its way

	mu    sync.Mutex
	names map[string]*history
	sizes []int // by version
}

// history is what was published under one name.
type history struct {
	states []published
	seen   int // the latest of the states that anybody is known to have seen in the mount
}

// published is a state of a name: a version, or 0 if there is nothing.
type published struct {
	version int
	// inPlace: it was written over the one before, so that any beginning of it was there for a moment.
	inPlace bool
	// carried are earlier versions of a file that was moved here: the move may be seen before the change that came first.
	carried []int
}

// is tells whether a version may be seen in a state.
func (s published) is(version int) bool {
	return s.version == version || slices.Contains(s.carried, version)
}

const (
	publisherNames = 24
	// publisherHot is how many names are worked on in a burst; the others are as they were, and nothing excuses an error there.
	publisherHot = 8
	// publisherLarge files are more than what is fetched and verified in one piece.
	publisherLarge = 1200 << 10
)

// newPublisher fills a part of the directory behind a drive that is not mounted yet.
func newPublisher(root string, seed uint64) (*publisher, error) {
	p := &publisher{root: root, rnd: rand.New(rand.NewPCG(seed, 77)), names: map[string]*history{}, sizes: []int{0}}
	for _, dir := range []string{"even", "odd"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return nil, err
		}
	}
	for i := range publisherNames {
		name := fmt.Sprintf("%s/f%02d", []string{"even", "odd"}[i%2], i)
		p.names[name] = &history{states: make([]published, 1)}
		if err := p.replace(name); err != nil {
			return nil, err
		}
	}
	p.rests()
	return p, nil
}

func (p *publisher) path(name string) string { return filepath.Join(p.root, name) }

// all are the names in use, now or at other times.
func (p *publisher) all() []string { return slices.Sorted(maps.Keys(p.names)) }

// heat chooses what the next burst works on.
func (p *publisher) heat(except string) {
	names := slices.DeleteFunc(p.all(), func(name string) bool { return name == except })
	p.rnd.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	p.warm = append(p.warm, p.hot...)
	p.hot = names[:publisherHot]
}

// work publishes until it is over, at a pace that leaves something to the others.
func (p *publisher) work(over <-chan struct{}) error {
	tick := time.NewTicker(7 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return nil
		case <-tick.C:
			if err := p.step(); err != nil {
				return fmt.Errorf("another program in the directory: %w", err)
			}
		}
	}
}

func (p *publisher) step() error {
	name := p.hot[p.rnd.IntN(len(p.hot))]
	switch n := p.rnd.IntN(100); {
	case n < 35:
		return p.rewrite(name)
	case n < 70:
		return p.replace(name)
	case n < 85:
		return p.move(name, p.hot[p.rnd.IntN(len(p.hot))])
	default:
		return p.remove(name)
	}
}

// next notes that the next version is being published, before anybody can see it.
func (p *publisher) next(name string, inPlace bool) []byte {
	size := stampLine + p.rnd.IntN(60_000)
	if p.rnd.IntN(8) == 0 {
		size += publisherLarge
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	version := len(p.sizes)
	p.sizes = append(p.sizes, size)
	p.note(name, published{version: version, inPlace: inPlace})
	return stamped(version, 0, size)
}

// note is called with mu held.
func (p *publisher) note(name string, s published) {
	h := p.names[name]
	h.states = append(h.states, s)
}

func (p *publisher) now(name string) published {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.names[name]
	return h.states[len(h.states)-1]
}

func (p *publisher) rewrite(name string) error {
	return os.WriteFile(p.path(name), p.next(name, true), 0o644)
}

func (p *publisher) replace(name string) error {
	return replace(p.path(name), string(p.next(name, false)))
}

func (p *publisher) move(from, to string) error {
	was := p.now(from)
	if was.version == 0 || from == to {
		return nil
	}
	p.mu.Lock()
	h := p.names[from]
	was.carried = nil
	for _, s := range h.states[h.seen:] {
		was.carried = append(append(was.carried, s.carried...), s.version)
	}
	p.note(to, was)
	p.note(from, published{})
	p.mu.Unlock()
	return os.Rename(p.path(from), p.path(to))
}

func (p *publisher) remove(name string) error {
	if p.now(name).version == 0 {
		return nil
	}
	p.mu.Lock()
	p.note(name, published{})
	p.mu.Unlock()
	return os.Remove(p.path(name))
}

// rests notes that the mount shows everything that was published so far.
func (p *publisher) rests() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hot, p.warm = nil, nil
	for _, h := range p.names {
		h.seen = len(h.states) - 1
	}
}

// check compares a copy of what was published with the present versions. One name may be hidden there.
func (p *publisher) check(root, hidden string) error {
	there := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			var name string
			name, err = filepath.Rel(root, path)
			there[name] = true
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range p.all() {
		now := p.now(name)
		switch {
		case name == hidden:
			if there[name] {
				return fmt.Errorf("%s in %s is excluded and shown: %w", name, root, errModel)
			}
		case there[name] != (now.version != 0):
			return fmt.Errorf("%s in %s is there: %v, version %d was published: %w", name, root, there[name], now.version, errModel)
		case now.version != 0:
			got, err := os.ReadFile(filepath.Join(root, name))
			if err != nil {
				return err
			}
			if want := stamped(now.version, 0, p.sizes[now.version]); !bytes.Equal(got, want) {
				return fmt.Errorf("%s in %s, version %d: %s: %w", name, root, now.version, differ(got, want), errModel)
			}
		}
		delete(there, name)
	}
	if len(there) > 0 {
		return fmt.Errorf("in %s are %v, which nobody published: %w", root, slices.Sorted(maps.Keys(there)), errModel)
	}
	return nil
}

// look is what one reader has seen so far of a published file, through one open handle.
type look struct {
	p       *publisher
	name    string
	since   int // the state that was seen last when it was opened
	version int // 0: not known yet
	end     int // where the file ends; -1: not known yet
}

// look begins one, before the file is opened.
func (p *publisher) look(name string) *look {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &look{p: p, name: name, since: p.names[name].seen, end: -1}
}

// piece takes in what was read at off: all of it is of one version, the same each time, and of one that may be seen.
func (l *look) piece(data []byte, off int) error {
	version, err := stampedVersion(data, off)
	if err != nil {
		return l.wrong("%v", err)
	}
	if l.version == 0 {
		if version == 0 {
			return nil
		}
		if !l.recognise(version) {
			return l.wrong("from %d on it is of version %d", off, version)
		}
		if l.end >= 0 && !l.mayEnd(l.end) {
			return l.wrong("it ended at %d, and is of version %d", l.end, version)
		}
	}
	if want := stamped(l.version, off, len(data)); !bytes.Equal(data, want) {
		return l.wrong("from %d on: %s", off, differ(data, want))
	}
	return nil
}

// recognise takes over the version that is seen, if it may be.
func (l *look) recognise(version int) bool {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	h := l.p.names[l.name]
	for i := l.since; i < len(h.states); i++ {
		if version != 0 && h.states[i].is(version) {
			l.version = version
			h.seen = max(h.seen, i)
			return true
		}
	}
	return false
}

// ends takes in that the file ends at a place, which stays where it is. As long as nothing was read of a file that was
// overtaken, it need not be right: it has to be that of the bytes that are read.
func (l *look) ends(at int) error {
	unknown := l.version == 0 && l.overtaken()
	if l.end >= 0 && at != l.end || !unknown && !l.mayEnd(at) {
		return l.wrong("it ends at %d, and did at %d", at, l.end)
	}
	l.end = at
	return nil
}

// mayEnd tells whether a version that may be seen ends at a place. Of one that was written in place any beginning may be seen.
func (l *look) mayEnd(at int) bool {
	return l.any(func(s published) bool {
		version := l.version
		if version == 0 {
			version = s.version
		}
		size := l.p.sizes[version]
		return s.is(version) && (at == size || (s.inPlace || version != s.version) && at < size)
	})
}

// any tells whether any state that may be seen is so.
func (l *look) any(so func(published) bool) bool {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	return slices.ContainsFunc(l.p.names[l.name].states[l.since:], so)
}

// failed takes in an error; nil: something that was published meanwhile excuses it. Nobody has the bytes of what was overtaken.
func (l *look) failed(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist) && l.any(func(s published) bool { return s.version == 0 }):
		return nil
	case (errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ENETUNREACH)) && l.overtaken():
		return nil
	}
	return fmt.Errorf("%w; %v", err, l)
}

// overtaken tells whether anything was published since what was seen last.
func (l *look) overtaken() bool {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	return len(l.p.names[l.name].states)-1 > l.since
}

// String tells what was published before and since, and what was seen of it.
func (l *look) String() string {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	var text strings.Builder
	fmt.Fprintf(&text, "%s, of which version %d was seen, was", l.name, l.version)
	for i, s := range l.p.names[l.name].states {
		fmt.Fprintf(&text, " %d(%d bytes)", s.version, l.p.sizes[s.version])
		if i == l.since {
			text.WriteString(", seen last, and then")
		}
	}
	return text.String()
}

// wrong is what is wrong with what was seen.
func (l *look) wrong(format string, args ...any) error {
	return fmt.Errorf("%s: %w; %v", fmt.Sprintf(format, args...), errModel, l)
}
