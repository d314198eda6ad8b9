package integration

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"vdfs/integration/drive"
)

// TestRandomResidency has programs read and change files that come and go: by commands, by themselves as there is little room,
// and with a daemon that is killed, while another program publishes versions of files at the endpoint. It demands that what
// is read is of one version, that bytes go only when the endpoint has them, and that metadata bring none.
func TestRandomResidency(t *testing.T) {
	t.Parallel()
	x := newRandomResidency(t)
	for round := range 6 * soak(t) {
		x.say("round %d", round)
		x.burst(round%3 == 1)
		x.dropped("after a burst")
		if round%2 == 1 {
			x.rest()
		}
	}
	x.finish()
}

// randomResidency is a drive, what works on it, and what that is known to have done.
type randomResidency struct {
	*fixture
	seed      uint64
	rnd       *rand.Rand
	published *publisher
	residents []resident
	viewers   []*viewer
	hidden    string   // the published file that is excluded; "": none is
	told      []string // what a person said, for the message of a failure

	// How often the interesting cases came up. A test that never meets them tests nothing.
	placeholders, overtaken int
}

const (
	residencyBudget = 1 << 20 // a quarter of what is published
	residencyTold   = 60
)

func newRandomResidency(t *testing.T) *randomResidency {
	t.Helper()
	seed := testSeed(t)
	x := &randomResidency{fixture: newFixture(t, ""), seed: seed, rnd: rand.New(rand.NewPCG(seed, 0))}
	write(t, filepath.Join(x.Home, "config.toml"), fmt.Sprintf("[cache]\nmax_size = %d\n[offload]\nfree_low = 0\n", residencyBudget))
	var err error
	x.published, err = newPublisher(x.behind("published"), seed)
	must(t, err)
	x.mount()
	for _, m := range x.workers(seed, 2) {
		x.residents = append(x.residents, resident{m})
	}
	for i := range uint64(3) {
		x.viewers = append(x.viewers, &viewer{p: x.published, root: x.path("published"), rnd: rand.New(rand.NewPCG(seed, 100+i))})
	}
	t.Cleanup(func() {
		x.closeAll() // before the drive is unmounted
		if t.Failed() {
			t.Logf("seed %d, after:\n%s", seed, strings.Join(x.told, "\n"))
		}
	})
	return x
}

// say notes what is about to be done.
func (x *randomResidency) say(format string, args ...any) {
	x.told = append(x.told, fmt.Sprintf(format, args...))
	x.told = x.told[max(0, len(x.told)-residencyTold):]
}

// tell runs a command that may be refused in part.
func (x *randomResidency) tell(args ...string) {
	x.t.Helper()
	x.say("vdfs %s", strings.Join(args, " "))
	if r := x.run(args...); r.Code != 0 && r.Code != 3 {
		x.t.Fatalf("command failed: %s", r)
	}
}

func (x *randomResidency) closeAll() {
	for _, v := range x.viewers {
		v.crash()
	}
	for _, r := range x.residents {
		r.crash()
	}
}

// burst lets everybody loose while a person says what is to be here. In the end the daemon may be killed.
func (x *randomResidency) burst(kill bool) {
	x.t.Helper()
	x.published.heat(x.hidden)
	over := make(chan struct{})
	failures := make(chan error, len(x.residents)+len(x.viewers)+1)
	var killed atomic.Bool
	var running sync.WaitGroup
	stop := sync.OnceFunc(func() { close(over); running.Wait() })
	defer stop()
	start := func(work func() error) {
		running.Go(func() {
			if err := work(); err != nil && !(killed.Load() && diedWithDaemon(err)) {
				failures <- err
			}
		})
	}
	steps := func(step func() error) {
		start(func() (err error) {
			for err == nil && !closed(over) {
				err = step()
			}
			return err
		})
	}
	start(func() error { return x.published.work(over) })
	for _, r := range x.residents {
		steps(r.step)
	}
	for _, v := range x.viewers {
		v.hidden = x.hidden
		steps(v.step)
	}
	for range 6 {
		x.wish()
	}
	if kill {
		x.say("kill")
		killed.Store(true)
		must(x.t, x.Kill())
	}
	stop()
	close(failures)
	for err := range failures {
		x.t.Error(err)
	}
	if x.t.Failed() {
		x.t.FailNow()
	}
	if kill {
		x.closeAll()
		x.mount()
		checkAll(x.t, x.models(), "after a kill")
	}
}

func (x *randomResidency) models() (all []*model) {
	for _, r := range x.residents {
		all = append(all, r.model)
	}
	return all
}

// wish is what a person says about files that nobody moves.
func (x *randomResidency) wish() {
	x.t.Helper()
	name := []string{"published", "published/even", "published/odd", "worker0", "worker1", ""}[x.rnd.IntN(6)]
	if name == "" {
		name = x.calm()
	}
	switch n := x.rnd.IntN(100); {
	case n < 20:
		x.tell("pin", x.path(name))
	case n < 45:
		x.tell("unpin", x.path(name))
	case n < 60:
		x.tell("online", x.path(name))
	case n < 70:
		x.tell("offload", "--include-pinned", x.path(name))
	case n < 90:
		x.tell("offload", x.path(name))
	default:
		x.tell("fetch", "--wait", x.path(x.calm()))
	}
}

// calm is a published file that is there and that no burst has touched since all came to rest.
func (x *randomResidency) calm() string {
	names := slices.DeleteFunc(x.published.all(), func(name string) bool {
		return name == x.hidden || slices.Contains(x.published.hot, name) || slices.Contains(x.published.warm, name) ||
			x.published.now(name).version == 0
	})
	return "published/" + names[x.rnd.IntN(len(names))]
}

// rest brings everything together and looks at what can be seen only when nobody works.
func (x *randomResidency) rest() {
	x.t.Helper()
	x.closeAll()
	x.sync()
	x.published.rests()
	x.dropped("at rest")
	x.metadata()
	x.overtake()
	x.converged()
	if x.hidden == "" {
		x.hide()
	} else {
		x.show()
	}
}

// dropped demands that the endpoint has what is not here of the files that only the mount changes.
func (x *randomResidency) dropped(when string) {
	x.t.Helper()
	var names []string
	var texts [][]byte
	for i, r := range x.residents {
		r.crash() // of a file that is open for writing it is not known how much is here
		for _, name := range slices.Sorted(maps.Keys(r.files)) {
			names, texts = append(names, fmt.Sprintf("worker%d/%s", i, name)), append(texts, r.files[name].data)
		}
	}
	var gone []string
	// What was closed in this moment, or is being moved at the endpoint, may be missed once.
	if !drive.Poll(patience, func() bool {
		gone = nil
		var stored map[[sha256.Size]byte]bool
		for i, info := range x.info(names...) {
			if info.LocalBytes >= int64(len(texts[i])) {
				continue
			}
			if stored == nil {
				stored = x.stored()
			}
			if !stored[sha256.Sum256(texts[i])] {
				gone = append(gone, names[i])
			}
		}
		return len(gone) == 0
	}) {
		x.t.Fatalf("%s the bytes of %v are neither here nor at the endpoint", when, gone)
	}
}

// stored are the contents that the endpoint has.
func (x *randomResidency) stored() map[[sha256.Size]byte]bool {
	x.t.Helper()
	all := map[[sha256.Size]byte]bool{}
	must(x.t, filepath.WalkDir(x.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == ".vdfs" {
			return fs.SkipDir // what was deleted is no copy
		}
		var data []byte
		if err == nil && d.Type().IsRegular() {
			data, err = os.ReadFile(path)
			all[sha256.Sum256(data)] = true
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it was moved
		}
		return err
	}))
	return all
}

// placeholder is a file of a resident of which nothing is here.
type placeholder struct {
	resident
	name string
}

// metadata demands that nothing but reading and writing brings bytes here.
func (x *randomResidency) metadata() {
	x.t.Helper()
	x.tell("offload", x.path("worker0"), x.path("worker1"))
	var all []placeholder
	var names []string
	for i, r := range x.residents {
		for _, name := range slices.Sorted(maps.Keys(r.files)) {
			all, names = append(all, placeholder{r, name}), append(names, fmt.Sprintf("worker%d/%s", i, name))
		}
	}
	away := map[uint64]string{}
	var some []placeholder
	for i, info := range x.info(names...) {
		if info.LocalBytes == 0 && info.Size > 0 && info.Pin != "pinned" {
			away[info.Ino] = names[i]
			some = append(some, all[i])
		}
	}
	x.placeholders += len(some)
	sh(x.t, x.at, "ls", "-lR", ".")
	for i, p := range some {
		x.say("placeholder %s, operation %d", p.name, i%7)
		must(x.t, p.use(i%7))
	}
	var after []string
	for i, r := range x.residents {
		for name := range r.files {
			after = append(after, fmt.Sprintf("worker%d/%s", i, name))
		}
	}
	for _, info := range x.info(after...) {
		if was, ok := away[info.Ino]; ok && info.LocalBytes != 0 {
			x.t.Errorf("%d bytes of %s came here, which was %s, by operations that need none", info.LocalBytes, info.Path, was)
		}
	}
}

// use does an operation that needs no bytes.
func (p placeholder) use(operation int) error {
	switch path := p.path(p.name); operation {
	case 0:
		return p.rename(p.name, p.fresh())
	case 1:
		return p.stamp(p.name)
	case 2:
		return os.Chmod(path, 0o600)
	case 3:
		return p.truncate(p.name, 0)
	case 4:
		return p.remove(p.name)
	case 5:
		h, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
		if err != nil {
			return err
		}
		p.files[p.name] = modelFile{}
		return h.Close()
	default:
		h, err := os.Open(path)
		if err != nil {
			return err
		}
		return h.Close()
	}
}

// overtake has the endpoint change files without the drive knowing of it, and demands that what is here of them stays: nobody
// else has that version any more.
func (x *randomResidency) overtake() {
	x.t.Helper()
	x.tell("unpin", x.path("published"), x.path("published/even"), x.path("published/odd"))
	x.do("pause")
	old := map[string]string{}
	for range 4 {
		name := x.calm()
		h, err := os.Open(x.path(name)) // as long as it is open nothing of it goes
		must(x.t, err)
		text, err := io.ReadAll(h)
		must(x.t, err)
		if old[name] == "" && x.info(name)[0].Residency == "full" {
			old[name] = string(text)
			x.say("overtake %s", name)
			publish := x.published.rewrite
			if x.rnd.IntN(2) == 0 {
				publish = x.published.replace
			}
			must(x.t, publish(strings.TrimPrefix(name, "published/")))
		}
		must(x.t, h.Close())
	}
	x.tell("offload", x.path("published"))
	for name, text := range old {
		if i := x.info(name)[0]; i.LocalBytes != int64(len(text)) {
			x.t.Errorf("%d of %d bytes of %s are here, and no endpoint has them", i.LocalBytes, len(text), name)
		}
		wants(x.t, x.path(name), text)
	}
	x.overtaken += len(old)
	x.do("resume")
}

// converged demands that the drive, the endpoint and the models are equal.
func (x *randomResidency) converged() {
	x.t.Helper()
	x.sync()
	x.published.rests()
	must(x.t, x.published.check(x.behind("published"), ""))
	must(x.t, x.published.check(x.path("published"), x.hidden))
	checkAll(x.t, x.models(), "at rest")
	for _, m := range x.models() {
		there := *m
		there.root = x.behind(filepath.Base(m.root))
		must(x.t, there.check())
	}
}

// hide excludes a published file.
func (x *randomResidency) hide() {
	x.t.Helper()
	name := x.calm()
	x.do("unpin", x.path(name))
	x.say("exclude %s", name)
	x.do("exclude", x.path(name))
	x.found(name, false)
	x.hidden = strings.TrimPrefix(name, "published/")
}

// show ends that.
func (x *randomResidency) show() {
	x.t.Helper()
	name := "published/" + x.hidden
	x.say("unpin %s", name)
	x.do("unpin", x.path(name))
	x.found(name, true)
	x.hidden = ""
}

// evictions counts how often the daemon made room by itself.
func (x *randomResidency) evictions() int {
	x.t.Helper()
	return strings.Count(read(x.t, filepath.Join(x.Home, "data", "daemon.log")), "dropped local bytes to make room")
}

// finish demands that everything comes together in the end, and that the test has met what it is for.
func (x *randomResidency) finish() {
	x.t.Helper()
	if x.hidden != "" {
		x.show()
	}
	x.tell("unpin", x.path("published"), x.path("published/even"), x.path("published/odd"), x.path("worker0"), x.path("worker1"))
	x.closeAll()
	x.settled()
	x.converged()
	eventually(x.t, "room is made", func() bool { return x.evictions() > 0 })
	x.dropped("in the end")
	x.do("doctor")
	if x.placeholders == 0 || x.overtaken == 0 {
		x.t.Errorf("%d placeholders were used, %d files overtaken: want some of each", x.placeholders, x.overtaken)
	}
	x.t.Logf("%d placeholders were used, %d files overtaken, %d versions published, room was made %d times",
		x.placeholders, x.overtaken, len(x.published.sizes)-1, x.evictions())
}
