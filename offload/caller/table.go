package caller

import (
	"path"
	"sync"
)

// Caller is what is known of a process that needs something.
type Caller struct {
	Program string // name of the program; "": unknown
	Class   Class
	Denied  bool // the person's own list has it
	Service bool // no session of a person started it
}

// Limited reports whether the caller gets only the head of a file that is not here.
func (c Caller) Limited() bool { return c.Denied || c.Class == Thumbnailer || c.Class == Indexer }

// Uses reports whether what the caller reads counts as used: a person wanted it, or it cannot be told.
func (c Caller) Uses() bool { return !c.Denied && (c.Class == Person || c.Class == Unknown) }

// Background reports whether the caller reads by itself, without a person who wants each file.
func (c Caller) Background() bool { return !c.Uses() || c.Service }

// Options are what a Table is made with. Names are those of programs, and may be patterns of path.Match.
type Options struct {
	Proc  string   // where the process file system is; "": /proc
	Deny  []string // programs that are limited as thumbnailers are
	Allow []string // programs that never are; before Deny
}

// Table classifies processes and remembers them. It is safe for concurrent use.
type Table struct {
	o     Options
	mu    sync.Mutex
	known map[uint32]remembered
}

type remembered struct {
	start, exe string
	caller     Caller
}

// knownMax bounds how many processes are remembered: then all are forgotten.
const knownMax = 1024

// ancestors is how far up the parents of a worker are looked at.
const ancestors = 3

// New makes a Table. It looks at nothing before it is asked.
func New(o Options) *Table {
	if o.Proc == "" {
		o.Proc = "/proc"
	}
	return &Table{o: o, known: make(map[uint32]remembered)}
}

// Of classifies a process, or one thread of it. 0 is one of a PID namespace that cannot be seen into.
func (t *Table) Of(pid uint32) Caller {
	c, _ := t.of(pid)
	return c
}

// Was is Of for a process that was there some seconds ago. One that is gone is what it was when Of was last asked.
func (t *Table) Was(pid uint32) Caller {
	c, here := t.of(pid)
	if here {
		return c
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known[pid].caller
}

func (t *Table) of(pid uint32) (c Caller, here bool) {
	if pid == 0 {
		return Caller{}, true
	}
	p, err := identify(t.o.Proc, pid)
	if err != nil {
		return Caller{}, false
	}
	t.mu.Lock()
	was, ok := t.known[pid]
	t.mu.Unlock()
	if ok && was.start == p.start && was.exe == p.exe {
		return was.caller, true
	}
	if p, err = read(t.o.Proc, pid); err != nil {
		return Caller{}, false
	}
	c = t.classify(&p)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.known) >= knownMax {
		clear(t.known)
	}
	t.known[pid] = remembered{p.start, p.exe, c}
	return c, true
}

// classify goes by the program, then by who started it: workers of a known program, such as the filters of an indexer, are
// what it is. A program that a person started by typing its name works for the person. The person's own lists come first.
func (t *Table) classify(p *process) Caller {
	c := Caller{Program: p.name(), Service: p.service()}
	if c.Program == "" {
		return c
	}
	if c.Class = Person; listed(p, t.o.Allow) {
		return c
	}
	if c.Class, c.Denied = classOf(c.Program, p.args), listed(p, t.o.Deny); c.Denied {
		return c
	}
	for n, up := 0, p.parent; n < ancestors && up > 1; n++ {
		parent, err := read(t.o.Proc, up)
		switch {
		case err != nil:
			return c
		case parent.typedAt():
			if n == 0 {
				c.Class = Person
			}
			return c
		case c.Class == Person && !listed(&parent, t.o.Allow):
			c.Class, c.Denied = classOf(parent.name(), parent.args), listed(&parent, t.o.Deny)
		}
		up = parent.parent
	}
	return c
}

// listed reports whether a list has the program, by its own name or that of its executable.
func listed(p *process, names []string) bool {
	return fits(p.name(), names) || p.exe != "" && fits(path.Base(p.exe), names)
}
