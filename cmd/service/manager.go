package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"vdfs/internal/durable"
)

const (
	answerMax = 30 * time.Second // for what the service manager does at once
	pipeMax   = 5 * time.Second  // for the output of a systemctl that has ended
)

// Manager is the systemd of the owner's session.
type Manager struct {
	systemctl string
	dir       string // where the owner's units lie
}

// Find returns the manager that reads its units from dir, when it answers.
func Find(ctx context.Context, dir string) (*Manager, error) {
	program, err := exec.LookPath("systemctl")
	if err != nil {
		return nil, fmt.Errorf("this needs systemd: %w", err)
	}
	m := &Manager{program, dir}
	if _, err := m.ask(ctx, "show", "--property=Version"); err != nil {
		return nil, fmt.Errorf("this needs the systemd of your session (sudo and su have none; `loginctl enable-linger` makes one without a login): %w", err)
	}
	return m, nil
}

// Installed reports whether the unit is there. A file of that name that somebody else wrote is an error.
func (m *Manager) Installed(name string) (bool, error) {
	text, err := os.ReadFile(m.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read unit: %w", err)
	}
	if !strings.HasPrefix(string(text), mark) {
		return false, fmt.Errorf("%s was not written by `vdfs service install`: move it away first", m.file(name))
	}
	return true, nil
}

// MainPID is the process of a unit; 0: it does not run.
func (m *Manager) MainPID(ctx context.Context, name string) (int, error) {
	out, err := m.ask(ctx, "show", "--property=MainPID", "--value", name)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		return 0, fmt.Errorf("find the process of %s: %w", name, err)
	}
	return pid, nil
}

// Install has the unit started at every login and, if it is asked to, now. Of a unit that was not there before and cannot be
// started nothing stays. Installing or removing again completes what was cut off anywhere.
func (m *Manager) Install(ctx context.Context, u Unit, start bool) error {
	text, err := u.text()
	if err != nil {
		return err
	}
	before, err := m.Installed(u.Name)
	if err != nil {
		return err
	}
	// 1. The file, whole or not at all. 2. The manager reads it. 3. It is enabled and started.
	if err := m.write(u.Name, text); err != nil {
		return err
	}
	if err := m.enable(ctx, u.Name, start); err != nil {
		if !before {
			err = errors.Join(err, m.Remove(context.WithoutCancel(ctx), u.Name))
		}
		return err
	}
	return nil
}

func (m *Manager) enable(ctx context.Context, name string, start bool) error {
	if _, err := m.ask(ctx, "daemon-reload"); err != nil {
		return err
	}
	if !start {
		_, err := m.ask(ctx, "enable", "--quiet", name)
		return err
	}
	// A start takes as long as the drive needs to be mounted.
	if _, err := m.run(ctx, "enable", "--quiet", "--now", name); err != nil {
		return fmt.Errorf("%w (journalctl --user --unit %s says why)", err, name)
	}
	return nil
}

// Remove stops the unit and makes the manager forget it.
func (m *Manager) Remove(ctx context.Context, name string) error {
	// 1. It is stopped and starts no more. 2. The file goes. 3. The manager reads that.
	if _, err := m.run(ctx, "disable", "--quiet", "--now", name); err != nil {
		return err
	}
	if err := os.Remove(m.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove unit: %w", err)
	}
	if err := durable.SyncDir(m.dir); err != nil {
		return fmt.Errorf("remove unit: %w", err)
	}
	_, err := m.ask(ctx, "daemon-reload")
	return err
}

func (m *Manager) file(name string) string { return filepath.Join(m.dir, name) }

// write replaces a unit file. systemd does not look at files without the ending of a unit.
func (m *Manager) write(name, text string) error {
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return fmt.Errorf("write unit: %w", err)
	}
	temp, err := os.CreateTemp(m.dir, ".vdfs-*")
	if err != nil {
		return fmt.Errorf("write unit: %w", err)
	}
	_, err = temp.WriteString(text)
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = durable.Rename(temp.Name(), m.file(name))
	}
	if err != nil {
		rm := os.Remove(temp.Name())
		if errors.Is(rm, fs.ErrNotExist) { // it has its name already
			rm = nil
		}
		return fmt.Errorf("write unit: %w", errors.Join(err, rm))
	}
	return nil
}

// ask runs a systemctl that has to answer at once.
func (m *Manager) ask(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerMax, errors.New("the service manager does not answer"))
	defer cancel()
	return m.run(ctx, args...)
}

// run runs systemctl and returns what it printed; the error is what it complained about.
func (m *Manager) run(ctx context.Context, args ...string) (string, error) {
	var out, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, m.systemctl, append([]string{"--user", "--no-ask-password"}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "SYSTEMD_COLORS=0")
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &complaint, pipeMax
	err := cmd.Run()
	if err == nil {
		return out.String(), nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	} else if text := strings.TrimSpace(complaint.String()); text != "" {
		err = errors.New(text)
	}
	return "", fmt.Errorf("systemctl --user %s: %w", strings.Join(args, " "), err)
}
