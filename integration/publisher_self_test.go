package integration

import (
	"errors"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
)

// A random test is only as good as what judges its readers: in a plain directory that has to agree, and whatever a drive could
// do wrong it has to see.
func TestTheJudgeOfReadersAgreesWithAPlainDirectory(t *testing.T) {
	t.Parallel()
	seed := testSeed(t)
	p, err := newPublisher(t.TempDir(), seed)
	must(t, err)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 5 {
		p.heat("")
		for range 20 {
			must(t, p.step())
			must(t, openAny(p, rnd))
		}
		p.rests()
		must(t, p.check(p.root, ""))
	}
}

// openAny reads one published file, or finds that it is not there.
func openAny(p *publisher, rnd *rand.Rand) error {
	name := p.all()[rnd.IntN(publisherNames)]
	l := p.look(name)
	h, err := os.Open(p.path(name))
	if err != nil {
		return l.failed(err)
	}
	info, err := h.Stat()
	if err == nil {
		err = readAny(h, int(info.Size()), rnd, l.piece, l.ends)
	}
	return errors.Join(err, h.Close())
}

func TestTheJudgeOfReadersSeesWhatIsWrong(t *testing.T) {
	t.Parallel()
	p, err := newPublisher(t.TempDir(), testSeed(t))
	must(t, err)
	const name = "even/f00"
	publish := func() (version, size int) {
		must(t, p.replace(name))
		version = p.now(name).version
		return version, p.sizes[version]
	}
	first, _ := publish()
	before := p.look(name)
	must(t, before.piece(stamped(first, 0, stampLine), 0))
	second, size := publish()
	text := stamped(second, 0, size)
	for what, see := range map[string]func(*look) error{
		"zeros":                    func(l *look) error { return l.piece(make([]byte, size), 0) },
		"zeros in the end":         func(l *look) error { return l.piece(append(stamped(second, 0, size-1), 0), 0) },
		"bytes of another place":   func(l *look) error { return l.piece(text[stampLine/2:], 0) },
		"a version that never was": func(l *look) error { return l.piece(stamped(second+1, 0, size), 0) },
		"another version":          func(l *look) error { return errors.Join(l.piece(text, 0), l.piece(stamped(first, 0, stampLine), 0)) },
		"a piece of another":       func(l *look) error { return errors.Join(l.piece(text, 0), l.piece(stamped(first, 10, 20), 10)) },
		"another end":              func(l *look) error { return errors.Join(l.piece(text, 0), l.ends(size-1)) },
		"an end of another":        func(l *look) error { return errors.Join(l.ends(size+1), l.piece(text, 0)) },
		"a stale handle":           func(l *look) error { return l.failed(syscall.ESTALE) },
	} {
		if see(p.look(name)) == nil {
			t.Errorf("%s is not seen", what)
		}
	}
	must(t, before.failed(syscall.EIO))
	seen := p.look(name)
	must(t, errors.Join(seen.ends(size), seen.piece(text, 0), seen.ends(size)))
	if p.look(name).piece(stamped(first, 0, stampLine), 0) == nil {
		t.Error("it is not seen that a version comes back that was replaced")
	}
	for _, err := range []error{syscall.EIO, syscall.ENETUNREACH, os.ErrNotExist} {
		if p.look(name).failed(err) == nil {
			t.Errorf("it is not seen that nothing excuses the error %v", err)
		}
	}
	must(t, p.check(p.root, ""))
	must(t, os.Truncate(p.path(name), 1))
	if p.check(p.root, "") == nil {
		t.Error("a file that is cut is not seen")
	}
}
