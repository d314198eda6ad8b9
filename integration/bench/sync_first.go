package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	rsyncName  = "rsync"
	unisonName = "unison"
)

// firstPatience is how long a first sync may be measured before its rounds get fewer.
const firstPatience = 4 * time.Minute

// errLeftOut says that something cannot be measured here.
var errLeftOut = errors.New("left out")

// copying is one first sync to be measured.
type copying struct {
	files fileSet
	from  string // has the files
	to    string // does not exist yet
	base  string // a new directory for all else that is needed
	limit time.Duration
}

// timed does what is measured of the job, and gives it up when it takes longer than the limit.
func (j copying) timed(ctx context.Context, do func(context.Context) (time.Duration, error)) (time.Duration, error) {
	limited, cancel := context.WithTimeout(ctx, j.limit)
	defer cancel()
	took, err := do(limited)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return 0, fmt.Errorf("%w: not done within %v (-limit)", errLeftOut, j.limit)
	}
	return took, err
}

// commands is timed for commands of vdfs.
func (j copying) commands(ctx context.Context, v *vdfs, commands ...[]string) (time.Duration, error) {
	return j.timed(ctx, func(ctx context.Context) (time.Duration, error) { return v.await(ctx, commands...) })
}

// copier is a way to bring the files of a directory to a new one.
type copier struct {
	name string
	// copy returns how long that took. errLeftOut: it cannot be done here.
	copy func(context.Context, copying) (time.Duration, error)
	// compared says that it is held to the goals.
	compared bool
}

func (s *syncSession) copiers() []copier {
	return []copier{
		{name: rsyncName, copy: rsync},
		{name: unisonName, copy: unison},
		{name: "vdfs, into a drive", copy: s.intoDrive, compared: true},
		{name: "vdfs, out of a drive", copy: s.outOfDrive, compared: true},
		{name: "vdfs, between two directories", copy: s.twoLegs, compared: true},
	}
}

// firstSync lets every copier copy the files in every round, in turn. Nothing is deleted before all is measured.
func (s *syncSession) firstSync(ctx context.Context, name string, files fileSet, ofRsync float64) error {
	l := line{
		name: "first sync of " + files.String(), unit: "s",
		goals: []goal{{Of: rsyncName, Limit: ofRsync}, {Of: unisonName, Limit: 1}},
	}
	if !s.wants(l.name) {
		return nil
	}
	from := filepath.Join(s.dir, name)
	if err := errors.Join(files.make(from), s.syncDisk()); err != nil {
		return err
	}
	taken, leftOut := samples{}, map[string]string{}
	begun := time.Now()
	for round := range s.Rounds {
		for i, c := range s.copiers() {
			if leftOut[c.name] != "" {
				continue
			}
			base := filepath.Join(s.dir, fmt.Sprintf("%s%d-%d", name, round, i))
			took, err := s.copyOnce(ctx, c, copying{files, from, filepath.Join(base, "to"), base, s.Limit})
			switch {
			case errors.Is(err, errLeftOut):
				leftOut[c.name] = err.Error()
			case err != nil:
				return fmt.Errorf("%s: %s: %w", l.name, c.name, err)
			default:
				taken[c.name] = append(taken[c.name], took.Seconds())
			}
		}
		done := time.Duration(round + 1)
		if took := time.Since(begun); took+took/done > firstPatience {
			break
		}
	}
	for _, c := range s.copiers() {
		out := newSyncLine(line{name: l.name, unit: l.unit}, c.name, taken[c.name], nil, nil)
		if c.compared {
			out = newSyncLine(l, c.name, taken[c.name], taken[rsyncName], taken[unisonName])
		}
		out.LeftOut = leftOut[c.name]
		s.note(out)
	}
	return nil
}

// copyOnce is one copier's work of one round, with the disk at rest before and after.
func (s *syncSession) copyOnce(ctx context.Context, c copier, job copying) (time.Duration, error) {
	if err := errors.Join(ctx.Err(), os.Mkdir(job.base, 0o700)); err != nil {
		return 0, err
	}
	took, err := c.copy(ctx, job)
	if err == nil {
		fmt.Fprintf(s.talk, "first sync of %s: %s: %.1f s\n", job.files, c.name, took.Seconds())
	}
	return took, errors.Join(err, s.syncDisk())
}

// program runs a program of somebody else, with that added to its environment, and returns how long it took.
func (j copying) program(ctx context.Context, env []string, name string, args ...string) (time.Duration, error) {
	took, err := j.timed(ctx, func(ctx context.Context) (time.Duration, error) {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Env = append(os.Environ(), env...)
		if cmd.Err != nil {
			return 0, fmt.Errorf("%w: no Debian package %s is installed", errLeftOut, name)
		}
		start := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("%s: %w: %s", name, err, out)
		}
		return time.Since(start), nil
	})
	if err != nil {
		return 0, err
	}
	return took, j.files.check(j.to, 1)
}

func rsync(ctx context.Context, job copying) (time.Duration, error) {
	return job.program(ctx, nil, rsyncName, "-a", job.from+"/", job.to)
}

// unison is told to be as silent as rsync. Its archives are the round's own, so that it knows nothing beforehand, and both roots
// have one mode, which would be a conflict otherwise.
func unison(ctx context.Context, job copying) (time.Duration, error) {
	if err := os.Mkdir(job.to, 0o755); err != nil {
		return 0, err
	}
	env := []string{"HOME=" + job.base, "UNISON=" + filepath.Join(job.base, "archives")}
	return job.program(ctx, env, unisonName, "-batch", "-silent", job.from, job.to)
}

// inDrive does work with an empty drive.
func (s *syncSession) inDrive(job copying, work func(*vdfs) (time.Duration, error)) (took time.Duration, err error) {
	v, err := s.emptyDrive(job.base)
	if v != nil {
		defer func() { err = errors.Join(err, v.stop()) }()
	}
	if err != nil {
		return 0, err
	}
	return work(v)
}

// attach is the command that joins an endpoint to the whole of an empty drive.
func attach(endpoint string) []string {
	return []string{"conduit", "create", "all", "--source", "drive:/", "--target", endpoint, "--policy", "synchronize"}
}

// toTheEnd is the command that returns when nothing is left to be synced.
var toTheEnd = []string{"sync", "--wait"}

// intoDrive measures how long a new drive takes until it has the files, all bytes included.
func (s *syncSession) intoDrive(ctx context.Context, job copying) (time.Duration, error) {
	return s.inDrive(job, func(v *vdfs) (time.Duration, error) {
		// What is synchronized is pinned by itself: the last command only waits for the bytes.
		took, err := job.commands(ctx, v, attach(job.from), toTheEnd, []string{"pin", "--wait", v.Mount})
		if err == nil {
			err = v.hasAll(job.files)
		}
		if err != nil {
			return 0, err
		}
		const looks = 1000 // reading 100 000 would take longer than what is measured
		return took, job.files.check(v.root(), max(1, job.files.count/looks))
	})
}

// hasAll asserts that all bytes of the files are here.
func (v *vdfs) hasAll(files fileSet) error {
	var pins []struct {
		Files   int64 `json:"files"`
		Missing int64 `json:"missing_bytes"`
	}
	if err := v.JSON(&pins, "pins", "--json"); err != nil {
		return err
	}
	if len(pins) != 1 || pins[0].Files != int64(files.count) || pins[0].Missing != 0 {
		return fmt.Errorf("look for %d files in the drive: it has %+v", files.count, pins)
	}
	return nil
}

// outOfDrive measures how long what was written while the drive was paused takes until the directory has it and proved it.
func (s *syncSession) outOfDrive(ctx context.Context, job copying) (time.Duration, error) {
	return s.inDrive(job, func(v *vdfs) (time.Duration, error) {
		if err := os.Mkdir(job.to, 0o700); err != nil {
			return 0, err
		}
		if _, err := v.await(ctx, attach(job.to), toTheEnd, []string{"pause"}); err != nil {
			return 0, err
		}
		if err := errors.Join(job.files.make(v.root()), s.syncDisk()); err != nil {
			return 0, err
		}
		if _, err := os.Lstat(filepath.Join(job.to, topDir(0))); !errors.Is(err, fs.ErrNotExist) {
			return 0, errors.Join(errors.New("a paused drive has sent something"), err)
		}
		took, err := job.commands(ctx, v, []string{"resume"}, toTheEnd)
		if err != nil {
			return 0, err
		}
		return took, job.files.check(job.to, 1)
	})
}

// twoLegs measures a conduit of two directories.
func (s *syncSession) twoLegs(ctx context.Context, job copying) (time.Duration, error) {
	return s.inDrive(job, func(v *vdfs) (time.Duration, error) {
		if err := os.Mkdir(job.to, 0o700); err != nil {
			return 0, err
		}
		start := time.Now()
		r, err := v.RunContext(ctx, "conduit", "create", "all", "--source", job.from, "--target", job.to, "--policy", "synchronize", "--at", "/all")
		const usage = 2 // the exit code
		switch {
		case err != nil:
			return 0, err
		case r.Code == usage:
			return 0, fmt.Errorf("%w, as this version refuses it: %s", errLeftOut, strings.TrimPrefix(strings.TrimSpace(r.Stderr), "vdfs: "))
		case r.Code != 0:
			return 0, fmt.Errorf("join two directories: %s", r)
		}
		if _, err := job.commands(ctx, v, toTheEnd); err != nil {
			return 0, err
		}
		took := time.Since(start)
		return took, job.files.check(job.to, 1)
	})
}
