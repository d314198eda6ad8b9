package integration

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// farModel is another program that works in the directory behind the drive, in a part of it that nobody else changes, and
// what it has done.
type farModel struct {
	root   string
	files  map[string]string
	rnd    *rand.Rand
	serial int
	failed error
}

func newFarModel(root string, seed uint64) *farModel {
	return &farModel{root: root, files: map[string]string{}, rnd: rand.New(rand.NewPCG(seed, 99))}
}

// work works until it is over, at a pace that leaves something to the others.
func (m *farModel) work(over <-chan struct{}) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for m.failed == nil {
		select {
		case <-over:
			return
		case <-tick.C:
			m.failed = m.step()
		}
	}
}

// step does one thing: it writes a new file, in place or by way of another, moves one, or removes one.
func (m *farModel) step() error {
	m.serial++
	names := slices.Sorted(maps.Keys(m.files))
	text := fmt.Sprintf("version %d %s", m.serial, strings.Repeat("x", m.rnd.IntN(3000)))
	fresh := fmt.Sprintf("g%05d", m.serial)
	if len(names) < 5 {
		return m.write(fresh, text, os.WriteFile)
	}
	name := names[m.rnd.IntN(len(names))]
	switch n := m.rnd.IntN(100); {
	case n < 30:
		return m.write(fresh, text, os.WriteFile)
	case n < 50:
		return m.write(name, text, os.WriteFile)
	case n < 65:
		return m.write(name, text, func(path string, data []byte, _ os.FileMode) error { return replace(path, string(data)) })
	case n < 80:
		m.files[fresh] = m.files[name]
		delete(m.files, name)
		return os.Rename(filepath.Join(m.root, name), filepath.Join(m.root, fresh))
	default:
		delete(m.files, name)
		return os.Remove(filepath.Join(m.root, name))
	}
}

func (m *farModel) write(name, text string, how func(string, []byte, os.FileMode) error) error {
	m.files[name] = text
	return how(filepath.Join(m.root, name), []byte(text), 0o644)
}

// check compares what lies in a copy of the directory with what was done.
func (m *farModel) check(copy string) error {
	dir := filepath.Join(copy, filepath.Base(m.root))
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) != len(m.files) {
		return fmt.Errorf("%s has %d files, want the %d of another program", dir, len(entries), len(m.files))
	}
	for _, name := range slices.Sorted(maps.Keys(m.files)) {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if string(got) != m.files[name] {
			return fmt.Errorf("%s in %s holds %.20q, another program wrote %.20q", name, dir, got, m.files[name])
		}
	}
	return nil
}
