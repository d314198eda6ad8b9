package syncer

import (
	"errors"
	"fmt"
	"time"

	"vdfs/cache"
	"vdfs/cache/event"
)

// pauseKey is the setting that holds until when the drive is paused, in
// nanoseconds since 1970, and how long at the most from now on, should the clock
// have been set back; 0 and 0: until it is resumed.
const pauseKey = "sync.paused"

func (e *Engine) loadPause() error {
	var v []byte
	err := e.Cache.View(func(tx *cache.Tx) (err error) {
		v, err = tx.Setting(pauseKey)
		return err
	})
	if err != nil || v == nil {
		return err
	}
	var until, most int64
	if n, err := fmt.Sscan(string(v), &until, &most); n == 0 { // older ones end after the first
		return fmt.Errorf("setting %s: %w", pauseKey, err)
	}
	rest := time.Duration(until - e.now())
	if most > 0 {
		rest = min(rest, time.Duration(most))
	}
	e.setPause(until != 0, rest)
	return nil
}

// setPause pauses, and ends that by itself after a while.
func (e *Engine) setPause(ends bool, after time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.resume != nil {
		e.resume.Stop()
		e.resume = nil
	}
	e.paused = true
	if !ends {
		return
	}
	e.resume = time.AfterFunc(after, func() {
		if err := e.Resume(); err != nil {
			e.log.Error("resume", "error", err)
		}
	})
}

// Pause stops all runs, for a time or, with 0, until Resume. Opening files goes on. It survives a restart.
func (e *Engine) Pause(d time.Duration) error {
	var until int64
	if d > 0 {
		until = e.now() + int64(d)
	}
	err := e.Cache.Update(0, func(tx *cache.Tx) error {
		return tx.SetSetting(pauseKey, fmt.Appendf(nil, "%d %d", until, d))
	})
	if err != nil {
		return fmt.Errorf("pause: %w", err)
	}
	e.setPause(until != 0, d)
	for _, l := range e.current() {
		l.interrupt()
	}
	e.tellStates()
	return nil
}

// interrupt ends the cycle under way at the next safe point, and what is being fetched for later ones, and returns when all
// has ended.
func (l *leg) interrupt() {
	l.mu.Lock()
	stop, ended := l.stop, l.ended
	l.mu.Unlock()
	if stop == nil {
		return
	}
	stop()
	<-ended
	l.fetches.interrupt()
}

// Resume ends a pause.
func (e *Engine) Resume() error {
	if err := e.Cache.Update(0, func(tx *cache.Tx) error { return tx.SetSetting(pauseKey, nil) }); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	e.mu.Lock()
	e.paused = false
	if e.resume != nil {
		e.resume.Stop()
		e.resume = nil
	}
	e.mu.Unlock()
	for _, l := range e.current() {
		l.setDue()
		l.wake()
	}
	e.tellStates()
	e.runs.wake()
	return nil
}

// Paused reports whether all runs are stopped.
func (e *Engine) Paused() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.paused
}

// PauseConduit disables a conduit until ResumeConduit. It survives a restart.
func (e *Engine) PauseConduit(name string) error { return e.enable(name, false) }

// ResumeConduit enables a conduit again.
func (e *Engine) ResumeConduit(name string) error { return e.enable(name, true) }

func (e *Engine) enable(name string, on bool) error {
	var cd cache.Conduit
	err := e.Cache.Update(0, func(tx *cache.Tx) (err error) {
		var ok bool
		if cd, ok, err = tx.ConduitByName(name); err != nil || !ok {
			return errors.Join(err, ErrUnknownConduit)
		}
		cd.Enabled = on
		return tx.UpdateConduit(cd)
	})
	if err != nil {
		return fmt.Errorf("conduit %s: %w", name, err)
	}
	if err := e.reload(); err != nil {
		return err
	}
	for _, l := range e.current() {
		if l.conduitRow().Name != name {
			continue
		}
		if on {
			l.setDue()
			l.wake()
		} else {
			l.interrupt()
		}
	}
	e.tellConduit(event.ConduitUpdated, cd)
	return nil
}
