package daemon

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

// mount is one line of /proc/self/mountinfo.
type mount struct {
	major, minor uint32
	point        string
	kind, source string
}

// ours reports whether a vdfs daemon made the mount.
func (m *mount) ours() bool { return strings.HasPrefix(m.kind, "fuse") && m.source == "vdfs" }

// mountAt is the topmost mount on exactly this directory; nil: none.
func mountAt(dir string) (*mount, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	defer f.Close()
	return findMount(f, dir)
}

func findMount(r io.Reader, dir string) (*mount, error) {
	var found *mount
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if m, ok := parseMount(lines.Text()); ok && m.point == dir {
			found = &m
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	return found, nil
}

// parseMount reads one line as proc(5) describes it:
// id parent major:minor root point options [optional]… - kind source super.
func parseMount(line string) (mount, bool) {
	f := strings.Fields(line)
	if len(f) < 6 {
		return mount{}, false
	}
	var m mount
	if _, err := fmt.Sscanf(f[2], "%d:%d", &m.major, &m.minor); err != nil {
		return mount{}, false
	}
	m.point = unescapeOctal(f[4])
	for i := 6; i+2 < len(f); i++ {
		if f[i] == "-" {
			m.kind, m.source = f[i+1], unescapeOctal(f[i+2])
			return m, true
		}
	}
	return mount{}, false
}

// unescapeOctal undoes the \040 of the kernel's tables.
func unescapeOctal(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && octal(s[i+1]) && octal(s[i+2]) && octal(s[i+3]) {
			out.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

func octal(c byte) bool { return c >= '0' && c <= '7' }
