package ignore

import "strings"

// result is what matching a pattern with a text came to.
type result uint8

const (
	match result = iota
	noMatch
	noLater   // nor does it fit anything that the text ends with
	noLonger  // nor can a star before it take more of the text, unless it takes slashes
	specials  = `*?[\`
	classNots = "!^"
)

// wild matches all of a pattern with all of a text, as git's wildmatch does with paths: "*", "?" and classes stay within a
// name, "**" between slashes does not. It knows bytes, not runes, as names are bytes.
func wild(p, text string) result {
	for i := 0; i < len(p); i++ {
		c := p[i]
		if text == "" && c != '*' {
			return noLater
		}
		switch c {
		case '?':
			if text[0] == '/' {
				return noMatch
			}
		case '*':
			next, deep := stars(p, i)
			switch {
			case deep && next < len(p) && p[next] == '/': // it may stand for nothing
				if r := wild(p[next+1:], text); r == match || r == noLater {
					return r
				}
			case next == len(p) && (deep || !strings.Contains(text, "/")):
				return match
			case next == len(p):
				return noMatch
			}
			if deep || p[next] != '/' {
				return afterStar(p[next:], text, deep)
			}
			slash := strings.IndexByte(text, '/')
			if slash < 0 {
				return noMatch
			}
			i, text = next, text[slash:]
		case '[':
			end, in := class(p, i, text[0])
			switch {
			case end < 0:
				return noLater
			case !in || text[0] == '/':
				return noMatch
			}
			i = end
		case '\\':
			if i++; i == len(p) || text[0] != p[i] {
				return noMatch
			}
		default:
			if text[0] != c {
				return noMatch
			}
		}
		text = text[1:]
	}
	if text != "" {
		return noMatch
	}
	return match
}

// stars returns where the stars that begin at i end, and whether they stand for any number of whole names.
func stars(p string, i int) (next int, deep bool) {
	for next = i; next < len(p) && p[next] == '*'; {
		next++
	}
	rest := p[next:]
	whole := (i == 0 || p[i-1] == '/') && (rest == "" || rest[0] == '/' || strings.HasPrefix(rest, `\/`))
	return next, next-i > 1 && whole
}

// afterStar matches what follows stars, which is not empty, with any end of the text.
func afterStar(p, text string, deep bool) result {
	for ; text != ""; text = text[1:] {
		if strings.IndexByte(specials, p[0]) < 0 {
			for text != "" && text[0] != p[0] && (deep || text[0] != '/') {
				text = text[1:]
			}
			if text == "" || text[0] != p[0] {
				if deep {
					return noLater
				}
				return noLonger
			}
		}
		r := wild(p, text)
		switch {
		case r == noMatch && !deep && text[0] == '/':
			return noLonger
		case r == match, r == noLater, r == noLonger && !deep:
			return r
		}
	}
	return noLater
}

// class tells whether a byte is in the class that begins at p[i], and where that ends; -1: nowhere.
func class(p string, i int, b byte) (end int, in bool) {
	at := func(i int) byte {
		if i < len(p) {
			return p[i]
		}
		return 0
	}
	i++
	not := at(i) != 0 && strings.IndexByte(classNots, at(i)) >= 0
	if not {
		i++
	}
	var last byte // what a range may begin with
	for first := true; first || at(i) != ']'; first = false {
		c := at(i)
		switch {
		case c == 0:
			return -1, false
		case c == '\\':
			if i++; at(i) == 0 {
				return -1, false
			}
			c = at(i)
			in = in || b == c
		case c == '-' && last != 0 && at(i+1) != 0 && at(i+1) != ']':
			if i++; at(i) == '\\' {
				i++
			}
			if at(i) == 0 {
				return -1, false
			}
			in = in || last <= b && b <= at(i)
			c = 0
		case c == '[' && at(i+1) == ':':
			close := strings.IndexByte(p[i+2:], ']')
			if close < 0 {
				return -1, false
			}
			name, ok := strings.CutSuffix(p[i+2:i+2+close], ":")
			if !ok {
				in = in || b == c
				break // an opening bracket like any other byte
			}
			has := named[name]
			if has == nil {
				return -1, false
			}
			in = in || has(b)
			i, c = i+2+close, 0
		default:
			in = in || b == c
		}
		last = c
		i++
	}
	return i, in != not
}

// named are the classes that have names. Only ASCII is in any.
var named = map[string]func(byte) bool{
	"alnum":  func(b byte) bool { return alpha(b) || digit(b) },
	"alpha":  alpha,
	"blank":  func(b byte) bool { return b == ' ' || b == '\t' },
	"cntrl":  func(b byte) bool { return b < ' ' || b == 0x7f },
	"digit":  digit,
	"graph":  func(b byte) bool { return ' ' < b && b < 0x7f },
	"lower":  func(b byte) bool { return 'a' <= b && b <= 'z' },
	"print":  func(b byte) bool { return ' ' <= b && b < 0x7f },
	"punct":  func(b byte) bool { return ' ' < b && b < 0x7f && !alpha(b) && !digit(b) },
	"space":  func(b byte) bool { return b == ' ' || b == '\t' || b == '\n' || b == '\r' },
	"upper":  func(b byte) bool { return 'A' <= b && b <= 'Z' },
	"xdigit": func(b byte) bool { return digit(b) || 'a' <= b|0x20 && b|0x20 <= 'f' },
}

func alpha(b byte) bool { return 'a' <= b|0x20 && b|0x20 <= 'z' }
func digit(b byte) bool { return '0' <= b && b <= '9' }
