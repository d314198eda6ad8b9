package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"vdfs/integration/drive"
)

// ofVdfs is what figures are of that have nothing beside them.
const ofVdfs = "vdfs"

// settledSession measures a drive and a directory that agree: what it costs to see that, and how changes get over.
type settledSession struct {
	*syncSession
	files fileSet
	at    string // the directory
	v     *vdfs
}

// step is a measurement of a settledSession.
type step struct {
	name string
	take func(context.Context) error
}

// settled takes what is wanted of the measurements. The files are left as firstSync has made them, if it has.
func (s *syncSession) settled(ctx context.Context, files fileSet) error {
	t := &settledSession{syncSession: s, files: files, at: filepath.Join(s.dir, "small")}
	steps := slices.DeleteFunc([]step{
		{"full reconcile", t.reconcile}, {"cycles", t.cycles}, {"rename of a directory", t.rename}, {"edits", t.edits},
	}, func(st step) bool { return !s.wants(st.name) })
	if len(steps) == 0 {
		return nil
	}
	if _, err := os.Lstat(t.at); errors.Is(err, fs.ErrNotExist) {
		if err := files.make(t.at); err != nil {
			return err
		}
	}
	return t.run(ctx, steps)
}

func (t *settledSession) run(ctx context.Context, steps []step) (err error) {
	if t.v, err = t.newDrive(filepath.Join(t.dir, "settled")); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.v.stop()) }()
	if err := errors.Join(t.syncDisk(), t.v.mount("--from", t.at)); err != nil {
		return err
	}
	took, err := t.v.await(ctx, toTheEnd)
	if err != nil {
		return err
	}
	peak, err := t.v.peakMemory()
	if err != nil {
		return err
	}
	contact := fmt.Sprintf("first contact with %d files", t.files.count)
	t.tell(line{name: contact, unit: "s"}, took.Seconds())
	t.tell(line{name: contact + ": peak memory", unit: "MiB"}, float64(peak)/(1<<20))
	for _, st := range steps {
		if err := errors.Join(ctx.Err(), st.take(ctx)); err != nil {
			return fmt.Errorf("%s: %w", st.name, err)
		}
	}
	return nil
}

// tell adds a figure of ours to the report.
func (t *settledSession) tell(l line, values ...float64) {
	t.note(newSyncLine(l, ofVdfs, values, nil, nil))
}

// rest waits until nothing is left to do.
func (t *settledSession) rest(ctx context.Context) error {
	_, err := t.v.await(ctx, toTheEnd)
	return err
}

// reconcile measures what looking at everything costs where nothing has changed, in a daemon that has done nothing else.
func (t *settledSession) reconcile(ctx context.Context) error {
	if _, err := t.v.Do("unmount", t.v.Mount); err != nil {
		return err
	}
	if err := errors.Join(t.v.mount(), t.rest(ctx)); err != nil {
		return err
	}
	var cpu, took []float64
	for range t.Rounds {
		values, err := t.v.cost(func() error {
			_, err := t.v.await(ctx, []string{"sync", "--wait", "--rescan"})
			return err
		})
		if err != nil {
			return err
		}
		cpu, took = append(cpu, values[0]), append(took, values[1])
	}
	peak, err := t.v.peakMemory()
	if err != nil {
		return err
	}
	name := fmt.Sprintf("full reconcile of %d files without changes", t.files.count)
	l := line{name: name, unit: "CPU s"}
	const goalFor = 100_000
	if t.files.count <= goalFor {
		l.goals = []goal{within(1)}
	}
	t.tell(l, cpu...)
	t.tell(line{name: name + ": duration", unit: "s"}, took...)
	t.tell(line{name: name + ": peak memory", unit: "MiB", goals: []goal{within(150)}}, float64(peak)/(1<<20))
	return nil
}

// cycles measures what a cycle costs that is told what has changed.
func (t *settledSession) cycles(ctx context.Context) error {
	const changes = 10
	next := 0
	change := func(root string) func() error {
		return func() error {
			for range changes {
				// None twice: a file that is written again soon rests longer.
				path := t.files.path(root, next%t.files.count)
				next++
				if err := os.WriteFile(path, []byte("changed"), 0o644); err != nil {
					return err
				}
			}
			return nil
		}
	}
	repeats := 20 // the daemon's time is counted in hundredths of a second
	if t.Small {
		repeats = 2
	}
	for _, c := range []struct {
		name  string
		work  func() error
		goals []goal
	}{
		{"cycle without changes", func() error { return nil }, []goal{within(10)}},
		{fmt.Sprintf("cycle with %d files changed at the endpoint", changes), change(t.at), nil},
		{fmt.Sprintf("cycle with %d files changed in the drive", changes), change(t.v.root()), nil},
	} {
		values, err := t.v.cost(func() error {
			for range repeats {
				if err := errors.Join(c.work(), t.rest(ctx)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		t.tell(line{name: c.name, unit: "CPU ms", goals: c.goals}, values[0]*1e3/float64(repeats))
	}
	return nil
}

// rename measures what becomes of the rename of a large directory in the drive.
func (t *settledSession) rename(ctx context.Context) error {
	name := fmt.Sprintf("rename of a directory with %d files in the drive", min(t.files.count, inDirectory*atTop))
	old := topDir(0)
	var seen, done, counted, sent []float64
	for round := range t.Rounds {
		now := fmt.Sprintf("renamed%d", round)
		r, err := t.renameOnce(ctx, old, now)
		if err != nil {
			return err
		}
		seen, done = append(seen, r.seen.Seconds()), append(done, r.done.Seconds())
		counted, sent = append(counted, float64(r.operations)), append(sent, float64(r.bytes))
		old = now
	}
	t.tell(line{name: name + ": until it is seen at the endpoint", unit: "s"}, seen...)
	t.tell(line{name: name + ": until sync --wait returns", unit: "s"}, done...)
	t.tell(line{name: name + ": operations at the endpoint", goals: []goal{within(1)}}, counted...)
	t.tell(line{name: name + ": bytes sent", goals: []goal{within(0)}}, sent...)
	return nil
}

// renamed is what was found out about one rename.
type renamed struct {
	seen, done time.Duration
	operations int
	bytes      int64
}

func (t *settledSession) renameOnce(ctx context.Context, from, to string) (r renamed, err error) {
	before, err := t.generations()
	if err != nil {
		return r, err
	}
	w, err := watchDirs([]string{t.at}, filepath.Join(t.at, from))
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if err := os.Rename(filepath.Join(t.v.root(), from), filepath.Join(t.v.root(), to)); err != nil {
		return r, err
	}
	start := time.Now()
	var all []happening
	arrived := func(h happening) bool { return h.path == filepath.Join(t.at, to) }
	for !slices.ContainsFunc(all, arrived) {
		some, err := w.wait(100 * time.Millisecond)
		if all = append(all, some...); err != nil {
			return r, err
		}
		if err := overdue(ctx, start); err != nil {
			return r, err
		}
	}
	r.seen = time.Since(start)
	if err := t.rest(ctx); err != nil {
		return r, err
	}
	r.done = time.Since(start)
	late, err := w.wait(0)
	if err != nil {
		return r, err
	}
	r.operations = countOperations(append(all, late...))
	after, err := t.generations()
	for _, g := range after {
		if len(before) == 0 || g.Generation > before[0].Generation {
			r.bytes += g.Bytes
		}
	}
	return r, err
}

// generations are the latest ones of the drive, the last one first.
func (t *settledSession) generations() (all []drive.Generation, err error) {
	err = t.v.JSON(&all, "history", "--json")
	return all, err
}

// overdue is an error when what was begun at that time should have been seen long ago.
func overdue(ctx context.Context, start time.Time) error {
	const limit = time.Minute
	if time.Since(start) > limit {
		return fmt.Errorf("not seen within %v", limit)
	}
	return ctx.Err()
}

// quietPeriod is how long a short file rests after its first close before vdfs sends it.
const quietPeriod = 50 * time.Millisecond

// edits measures how long after close(2) on the one side the new bytes are seen on the other.
func (t *settledSession) edits(ctx context.Context) (err error) {
	here, there := filepath.Join(t.v.root(), "edits"), filepath.Join(t.at, "edits")
	if err := os.Mkdir(there, 0o755); err != nil {
		return err
	}
	for i := range t.editCount() {
		if err := os.WriteFile(smallFile(there, i), []byte("before"), 0o644); err != nil {
			return err
		}
	}
	if err := t.rest(ctx); err != nil {
		return err
	}
	w, err := watchDirs([]string{there})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	out, err := t.editAll(ctx, here, there, "in the drive", func() error {
		_, err := w.wait(100 * time.Millisecond)
		return err
	})
	if err != nil {
		return err
	}
	// The kernel tells nobody of changes made elsewhere, so the drive has to be asked.
	in, err := t.editAll(ctx, there, here, "at the endpoint", func() error {
		time.Sleep(time.Millisecond)
		return nil
	})
	if err != nil {
		return err
	}
	beyond := make([]float64, len(out))
	for i, v := range out {
		beyond[i] = v - quietPeriod.Seconds()
	}
	const name = "edit in the drive, seen at the endpoint"
	t.tell(line{name: name, unit: "s", goals: []goal{within(0.1)}}, out...)
	t.tell(line{name: name + ": beyond the quiet period", unit: "s"}, beyond...)
	t.tell(line{name: "edit at the endpoint, seen in the drive", unit: "s", goals: []goal{within(0.1)}}, in...)
	return nil
}

func (t *settledSession) editCount() int {
	if t.Small {
		return 3
	}
	return 50
}

// editAll edits each file once, as one that is written again soon rests longer, and returns what edit does, in seconds.
func (t *settledSession) editAll(ctx context.Context, at, other, text string, next func() error) (took []float64, err error) {
	for i := range t.editCount() {
		d, err := t.edit(ctx, smallFile(at, i), smallFile(other, i), text, next)
		if err != nil {
			return nil, err
		}
		took = append(took, d.Seconds())
	}
	return took, nil
}

// edit writes a file and measures from its close how long it takes until a reader of the other side has the new bytes. next
// returns when it may be worth a look.
func (t *settledSession) edit(ctx context.Context, path, other, text string, next func() error) (time.Duration, error) {
	body := bytes.Repeat([]byte(text+"\n"), 4<<10/(len(text)+1))
	if err := os.WriteFile(path, body, 0o644); err != nil {
		return 0, err
	}
	start := time.Now()
	for {
		same, err := holds(other, body)
		if err != nil {
			return 0, err
		}
		if same {
			break
		}
		if err := errors.Join(next(), overdue(ctx, start)); err != nil {
			return 0, err
		}
	}
	took := time.Since(start)
	return took, t.rest(ctx)
}

// holds reports whether a file has these bytes. Its size is looked at first: the kernel has that, while to read asks the drive.
func holds(path string, body []byte) (bool, error) {
	info, err := os.Lstat(path)
	if err != nil || info.Size() != int64(len(body)) {
		return false, err
	}
	got, err := os.ReadFile(path)
	return bytes.Equal(got, body), err
}
