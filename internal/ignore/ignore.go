// Package ignore tells which names a person does not want to be looked at, by patterns as git has them in .gitignore. It says
// what `git check-ignore` says, which a test compares it with.
//
// A [List] is the patterns of one source. A [Dir] is a directory on the way from a root, where lists may join: those of nearer
// directories are stronger, and of one list the last pattern that fits decides. What is in an ignored directory is ignored, and
// no pattern below brings it back.
package ignore

import "strings"

// Pattern is one line of a list.
type Pattern struct {
	Text string // as it was written, without what does not count at its end
	Line int    // from 1 on

	glob    string
	plain   int // so many bytes of glob, at its beginning, stand for themselves
	negated bool
	dirOnly bool
	anyDir  bool // it is of a name, wherever that is
}

// Negated reports whether the pattern brings back what others ignore.
func (p *Pattern) Negated() bool { return p.negated }

// List is the patterns of one source, in their order. A nil list is empty.
type List struct {
	// Source names where the patterns are from, for people.
	Source   string
	text     string
	patterns []Pattern
}

// Parse reads the text of an ignore file. Every text is one: what is no pattern fits nothing.
func Parse(source, text string) *List {
	l := &List{Source: source, text: text}
	text = strings.TrimPrefix(text, "\ufeff")
	for i, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		line, _, _ = strings.Cut(strings.TrimSuffix(line, "\r"), "\x00")
		if p, ok := parseLine(trimSpaces(line)); ok {
			p.Line = i + 1
			l.patterns = append(l.patterns, p)
		}
	}
	return l
}

// Text is what the list was made from.
func (l *List) Text() string { return l.text }

// Len is how many patterns there are.
func (l *List) Len() int {
	if l == nil {
		return 0
	}
	return len(l.patterns)
}

// Negates reports whether some pattern brings back what others ignore.
func (l *List) Negates() bool {
	for i := range l.Len() {
		if l.patterns[i].negated {
			return true
		}
	}
	return false
}

// trimSpaces cuts off the spaces at the end, but for one behind a backslash.
func trimSpaces(line string) string {
	end := 0
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case ' ':
			continue
		case '\\':
			i++
		}
		end = i + 1
	}
	return line[:min(end, len(line))]
}

func parseLine(text string) (p Pattern, ok bool) {
	p.Text = text
	p.glob, p.negated = strings.CutPrefix(text, "!")
	p.glob, p.dirOnly = strings.CutSuffix(p.glob, "/")
	p.anyDir = !strings.Contains(p.glob, "/")
	if !p.anyDir {
		p.glob = strings.TrimPrefix(p.glob, "/")
	}
	if p.plain = strings.IndexAny(p.glob, specials); p.plain < 0 {
		p.plain = len(p.glob)
	}
	return p, p.glob != ""
}

// fits tells whether a pattern fits a path, which is relative to the directory of its list.
func (p *Pattern) fits(path string, dir bool) bool {
	if p.dirOnly && !dir {
		return false
	}
	if p.anyDir {
		path = path[strings.LastIndexByte(path, '/')+1:]
	}
	rest, ok := strings.CutPrefix(path, p.glob[:p.plain])
	if !ok {
		return false
	}
	glob := p.glob[p.plain:]
	if glob == "" {
		return rest == ""
	}
	if p.anyDir && p.plain > 0 { // so that stars behind it do not begin a name
		return wild(p.glob, path) == match
	}
	return wild(glob, rest) == match
}

// find is the last pattern that fits, nil if none does.
func (l *List) find(path string, dir bool) *Pattern {
	for i := l.Len() - 1; i >= 0; i-- {
		if p := &l.patterns[i]; p.fits(path, dir) {
			return p
		}
	}
	return nil
}

// Hit is the pattern by which something is ignored.
type Hit struct {
	List    *List
	Pattern *Pattern
}

// Dir is a directory as the lists above it and its own see it. It never changes.
type Dir struct {
	up    *Dir
	name  string
	lists []*List // its own, the strongest last
	hit   *Hit    // by which it is ignored, with all that is in it
}

// Root is a directory above which no lists are. Of several lists the last is the strongest.
func Root(lists ...*List) *Dir { return &Dir{lists: lists} }

// Enter is the directory of a name in d, with a list of its own or nil.
func (d *Dir) Enter(name string, own *List) *Dir {
	sub := &Dir{up: d, name: name, hit: d.Match(name, true)}
	if own.Len() > 0 {
		sub.lists = []*List{own}
	}
	return sub
}

// Ignored reports whether d is ignored, and with it all that is in it.
func (d *Dir) Ignored() bool { return d.hit != nil }

// Match tells by what a name in d is ignored, nil if it is not. dir: it is a directory.
func (d *Dir) Match(name string, dir bool) *Hit {
	if d.hit != nil {
		return d.hit
	}
	for path := name; d != nil; d = d.up {
		for i := len(d.lists) - 1; i >= 0; i-- {
			p := d.lists[i].find(path, dir)
			switch {
			case p == nil:
				continue
			case p.negated:
				return nil
			}
			return &Hit{d.lists[i], p}
		}
		if d.up != nil {
			path = d.name + "/" + path
		}
	}
	return nil
}
