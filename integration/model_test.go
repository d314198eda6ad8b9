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
	"time"

	"golang.org/x/sys/unix"
)

// modelFile is a file as the operations acknowledged so far made it.
type modelFile struct {
	data []byte
	// mtime is set by an explicit utimens and void after the next write.
	mtime time.Time
}

// model is the tree that one worker has built by acknowledged operations, and the
// one operation under way, of which nobody knows how far it came.
type model struct {
	root  string // the worker's own directory in the mount
	files map[string]modelFile
	dirs  map[string]bool
	// unsure holds the names the operation under way touches.
	unsure unsure
	open   map[string]*os.File
	// told is what happened to each name, for the message of a failure.
	told   map[string][]string
	rnd    *rand.Rand
	serial int
}

// begin notes that an operation begins, of which nobody knows yet how it ends.
func (m *model) begin(u unsure) {
	m.unsure = u
	note := fmt.Sprintf("%s(%d)", u.op, len(u.wrote))
	m.told[u.from] = append(m.told[u.from], note+"->"+u.to)
	if u.to != "" {
		m.told[u.to] = append(m.told[u.to], note+"<-"+u.from)
	}
}

// unsure describes the operation that had begun and was not acknowledged.
type unsure struct {
	op       string
	from, to string
	// wrote is what the file from may hold instead; of a write any beginning
	// of it that is longer than what was acknowledged.
	wrote []byte
}

func newModel(root string, seed uint64, worker uint64) *model {
	return &model{
		root: root, files: map[string]modelFile{}, dirs: map[string]bool{},
		open: map[string]*os.File{}, told: map[string][]string{}, rnd: rand.New(rand.NewPCG(seed, worker)),
	}
}

// step does one random operation. Its error means that the operation was not
// acknowledged: the model then keeps it as unsure.
func (m *model) step() error {
	names := slices.Sorted(maps.Keys(m.files))
	if len(names) < 3 {
		return m.create()
	}
	name := names[m.rnd.IntN(len(names))]
	switch n := m.rnd.IntN(100); {
	case n < 30:
		return m.create()
	case n < 55:
		return m.write(name)
	case n < 65:
		return m.closeOne()
	case n < 73:
		return m.rename(name, m.fresh())
	case n < 80:
		return m.rename(name, names[m.rnd.IntN(len(names))])
	case n < 85:
		return m.stamp(name)
	case n < 89:
		return m.truncate(name, 0)
	case n < 95:
		return m.remove(name)
	default:
		return m.mkdir()
	}
}

// fresh is a name nobody had before, in a random directory.
func (m *model) fresh() string {
	m.serial++
	name := fmt.Sprintf("f%05d", m.serial)
	dirs := slices.Sorted(maps.Keys(m.dirs))
	if len(dirs) > 0 && m.rnd.IntN(2) == 0 {
		name = filepath.Join(dirs[m.rnd.IntN(len(dirs))], name)
	}
	return name
}

func (m *model) path(name string) string { return filepath.Join(m.root, name) }

func (m *model) create() error { return m.createAt(m.fresh()) }

func (m *model) createAt(name string) error {
	m.begin(unsure{op: "create", from: name})
	h, err := os.OpenFile(m.path(name), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	m.files[name], m.open[name], m.unsure = modelFile{}, h, unsure{}
	return m.write(name)
}

// write appends random bytes through a handle that may have been open for long.
func (m *model) write(name string) error {
	f := m.files[name]
	add := make([]byte, 1+m.rnd.IntN(20_000))
	for i := range add {
		add[i] = byte(m.rnd.Uint32())
	}
	m.begin(unsure{op: "write", from: name, wrote: append(bytes.Clone(f.data), add...)})
	h := m.open[name]
	if h == nil {
		var err error
		if h, err = os.OpenFile(m.path(name), os.O_RDWR, 0); err != nil {
			return err
		}
		m.open[name] = h
	}
	if _, err := h.WriteAt(add, int64(len(f.data))); err != nil {
		return err
	}
	m.files[name], m.unsure = modelFile{data: m.unsure.wrote}, unsure{}
	return nil
}

func (m *model) closeOne() error {
	for _, name := range slices.Sorted(maps.Keys(m.open)) {
		h := m.open[name]
		delete(m.open, name)
		return h.Close()
	}
	return nil
}

func (m *model) rename(from, to string) error {
	if from == to {
		return nil
	}
	m.begin(unsure{op: "rename", from: from, to: to})
	if err := os.Rename(m.path(from), m.path(to)); err != nil {
		return err
	}
	m.files[to] = m.files[from]
	delete(m.files, from)
	m.forget(to)
	if h := m.open[from]; h != nil {
		m.open[to] = h
		delete(m.open, from)
	}
	m.unsure = unsure{}
	return nil
}

// link gives a file a further name. Model and drive agree only until one of the two is written to.
func (m *model) link(from, to string) error {
	m.begin(unsure{op: "link", from: from, to: to})
	if err := os.Link(m.path(from), m.path(to)); err != nil {
		return err
	}
	m.files[to], m.unsure = m.files[from], unsure{}
	return nil
}

// swap exchanges two files.
func (m *model) swap(from, to string) error {
	m.begin(unsure{op: "swap", from: from, to: to})
	if err := unix.Renameat2(unix.AT_FDCWD, m.path(from), unix.AT_FDCWD, m.path(to), unix.RENAME_EXCHANGE); err != nil {
		return err
	}
	m.files[from], m.files[to], m.unsure = m.files[to], m.files[from], unsure{}
	return nil
}

// moveDir renames a directory with all that is in it.
func (m *model) moveDir(from, to string) error {
	m.begin(unsure{op: "movedir", from: from, to: to})
	if err := os.Rename(m.path(from), m.path(to)); err != nil {
		return err
	}
	m.movedDir(from, to)
	m.unsure = unsure{}
	return nil
}

func (m *model) movedDir(from, to string) {
	moved := func(name string) (string, bool) {
		rest, ok := strings.CutPrefix(name+"/", from+"/")
		return strings.TrimSuffix(to+"/"+rest, "/"), ok
	}
	for name := range maps.Clone(m.dirs) {
		if now, ok := moved(name); ok {
			delete(m.dirs, name)
			m.dirs[now] = true
		}
	}
	for name, f := range maps.Clone(m.files) {
		if now, ok := moved(name); ok {
			delete(m.files, name)
			m.files[now] = f
		}
	}
	for name, h := range maps.Clone(m.open) {
		if now, ok := moved(name); ok {
			delete(m.open, name)
			m.open[now] = h
		}
	}
}

func (m *model) rmdir(name string) error {
	m.begin(unsure{op: "rmdir", from: name})
	if err := os.Remove(m.path(name)); err != nil {
		return err
	}
	delete(m.dirs, name)
	m.unsure = unsure{}
	return nil
}

func (m *model) remove(name string) error {
	m.begin(unsure{op: "remove", from: name})
	if err := os.Remove(m.path(name)); err != nil {
		return err
	}
	delete(m.files, name)
	m.forget(name)
	m.unsure = unsure{}
	return nil
}

// forget closes the handle of a file that has no name any more.
func (m *model) forget(name string) {
	if h := m.open[name]; h != nil {
		// What close says about a file without a name is nobody's loss.
		_ = h.Close()
		delete(m.open, name)
	}
}

// stamp sets a time long past, as cp -p and tar do.
func (m *model) stamp(name string) error {
	f := m.files[name]
	when := time.Unix(1_000_000_000+int64(m.rnd.IntN(1_000_000)), int64(m.rnd.IntN(1_000_000_000)))
	m.begin(unsure{op: "stamp", from: name, wrote: f.data})
	if err := os.Chtimes(m.path(name), when, when); err != nil {
		return err
	}
	m.files[name], m.unsure = modelFile{data: f.data, mtime: when}, unsure{}
	return nil
}

// truncate makes a file shorter.
func (m *model) truncate(name string, size int) error {
	m.begin(unsure{op: "truncate", from: name, wrote: m.files[name].data[:size:size]})
	if err := os.Truncate(m.path(name), int64(size)); err != nil {
		return err
	}
	m.files[name], m.unsure = modelFile{data: m.unsure.wrote}, unsure{}
	return nil
}

func (m *model) mkdir() error {
	m.serial++
	return m.mkdirAt(fmt.Sprintf("d%05d", m.serial))
}

func (m *model) mkdirAt(name string) error {
	m.begin(unsure{op: "mkdir", from: name})
	if err := os.Mkdir(m.path(name), 0o755); err != nil {
		return err
	}
	m.dirs[name], m.unsure = true, unsure{}
	return nil
}

// crash forgets the handles that died with the daemon.
func (m *model) crash() {
	for name, h := range m.open {
		// They are dead: only the descriptor has to be given back.
		_ = h.Close()
		delete(m.open, name)
	}
}

// check compares the mount with the model: everything acknowledged is there and
// nothing else, the operation under way aside, whose outcome the model takes over.
func (m *model) check() error {
	var wrong []string
	files, dirs, err := m.survey()
	if err != nil {
		return err
	}
	if err := m.settleUnsure(files, dirs); err != nil {
		wrong = append(wrong, err.Error())
	}
	for name, f := range m.files {
		got, ok := files[name]
		switch {
		case !ok:
			wrong = append(wrong, fmt.Sprintf("%s is lost: %v", name, m.told[name]))
		case !bytes.Equal(got.data, f.data):
			wrong = append(wrong, fmt.Sprintf("%s holds %d bytes, not the %d acknowledged ones: %v", name, len(got.data), len(f.data), m.told[name]))
		case !f.mtime.IsZero() && !got.mtime.Equal(f.mtime):
			wrong = append(wrong, fmt.Sprintf("%s has the time %v, acknowledged was %v: %v", name, got.mtime, f.mtime, m.told[name]))
		}
	}
	for name, got := range files {
		if _, ok := m.files[name]; !ok {
			wrong = append(wrong, fmt.Sprintf("%s is there with %d bytes, though removed or never made: %v",
				name, len(got.data), m.told[name]))
		}
	}
	if a, b := slices.Sorted(maps.Keys(m.dirs)), slices.Sorted(maps.Keys(dirs)); !slices.Equal(a, b) {
		wrong = append(wrong, fmt.Sprintf("directories are %v, acknowledged were %v", b, a))
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		return fmt.Errorf("%s: %w:\n%s", m.root, errModel, strings.Join(wrong, "\n"))
	}
	return nil
}

var errModel = errors.New("not what was acknowledged")

// settleUnsure takes over what became of the operation under way, if it is one
// of the outcomes it may have.
func (m *model) settleUnsure(files map[string]modelFile, dirs map[string]bool) error {
	u := m.unsure
	m.unsure = unsure{}
	got, there := files[u.from]
	switch u.op {
	case "create":
		if there && len(got.data) == 0 {
			m.files[u.from] = modelFile{}
		}
	case "write":
		was := m.files[u.from]
		if !there || len(got.data) < len(was.data) || !bytes.HasPrefix(u.wrote, got.data) {
			return fmt.Errorf("%s: an interrupted write left neither the old bytes nor a beginning of the new", u.from)
		}
		m.files[u.from] = modelFile{data: got.data}
	case "stamp":
		m.files[u.from] = modelFile{data: u.wrote}
	case "truncate":
		if there && bytes.Equal(got.data, u.wrote) {
			m.files[u.from] = modelFile{data: u.wrote}
		} else if f, ok := m.files[u.from]; ok {
			// The time may have moved without the size.
			m.files[u.from] = modelFile{data: f.data}
		}
	case "rename":
		if !there {
			m.files[u.to] = m.files[u.from]
			delete(m.files, u.from)
		}
	case "remove":
		if !there {
			delete(m.files, u.from)
		}
	case "mkdir":
		if dirs[u.from] {
			m.dirs[u.from] = true
		}
	case "rmdir":
		if !dirs[u.from] {
			delete(m.dirs, u.from)
		}
	case "movedir":
		if dirs[u.to] {
			m.movedDir(u.from, u.to)
		}
	case "link":
		if _, made := files[u.to]; made {
			m.files[u.to] = m.files[u.from]
		}
	case "swap":
		if there && bytes.Equal(got.data, m.files[u.to].data) {
			m.files[u.from], m.files[u.to] = m.files[u.to], m.files[u.from]
		}
	}
	return nil
}

// survey reads the worker's tree as it is now.
func (m *model) survey() (map[string]modelFile, map[string]bool, error) {
	files, dirs := map[string]modelFile{}, map[string]bool{}
	err := filepath.WalkDir(m.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == m.root {
			return err
		}
		name := strings.TrimPrefix(path, m.root+"/")
		if d.IsDir() {
			dirs[name] = true
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files[name] = modelFile{data: data, mtime: info.ModTime()}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("survey %s: %w", m.root, err)
	}
	return files, dirs, nil
}
