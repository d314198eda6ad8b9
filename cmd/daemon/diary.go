package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"vdfs/cache"
	"vdfs/cache/event"
	"vdfs/cmd/control"
	resting "vdfs/internal/wait"
)

// diary are the events that are kept for later. What happens to each file on its way is not: that would cost the sync of many
// small files a good part of its time.
var diary = event.Of(
	event.FileUploadFailed, event.FileDownloadFailed, event.FileConflictDetected, event.FileConflictResolved, event.FileCorrupted,
	event.PinChanged, event.ConduitCreated, event.ConduitUpdated, event.ConduitDeleted,
	event.SyncCompleted, event.SyncFailed, event.ConnectivityChanged,
)

const (
	diaryRoom = 4096        // events that wait to be written
	diaryPart = 64          // events in one transaction: file operations wait that long
	diaryRest = time.Second // what comes within is written together
)

// hear has the diary and the log take what happens, until the function that it returns is called, which waits until they have
// taken all.
func (p *parts) hear(log *slog.Logger) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { p.keepDiary(ctx, log) })
	work.Go(func() { logEvents(ctx, p.logged, log) })
	return func() {
		cancel()
		work.Wait()
	}
}

// keepDiary writes events into the diary until ctx ends; the last ones too.
func (p *parts) keepDiary(ctx context.Context, log *slog.Logger) {
	for over := false; !over; {
		var all []event.Event
		first, err := p.diary.Next(ctx)
		if over = err != nil; !over {
			all = append(all, first)
			resting.For(ctx, diaryRest)
		}
		for e, ok := p.diary.Take(); ok; e, ok = p.diary.Take() {
			all = append(all, e)
		}
		if err := p.writeDiary(all); err != nil {
			log.Error("diary not written", "error", err)
		}
	}
}

func (p *parts) writeDiary(all []event.Event) error {
	for len(all) > 0 {
		n := min(len(all), diaryPart)
		err := p.cache.Update(0, func(tx *cache.Tx) error {
			for _, e := range all[:n] {
				if e.Type == event.SyncCompleted && e.Generation == 0 {
					continue // somebody asked, and there was nothing to do
				}
				text, err := json.Marshal(controlEvent(e))
				if err != nil {
					return fmt.Errorf("encode event: %w", err)
				}
				if err := tx.AddActivity(e.Type.String(), string(text)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// fromActivity is a line of the diary as an event. One that was written as a sentence is a message.
func fromActivity(a cache.Activity) control.Event {
	var e control.Event
	if _, is := event.Parse(a.Kind); is && json.Unmarshal([]byte(a.Text), &e) == nil {
		return e
	}
	return control.Event{At: time.Unix(0, a.At).UTC(), Type: diaryKind, Kind: a.Kind, Message: a.Text}
}

// logged are the events that the log tells of at a level of its own. The parts themselves log what fails, and what becomes of
// endpoints: so it is there once.
var (
	logged   = event.Of(event.FileConflictDetected, event.FileConflictResolved)
	loggedBy = event.Of(event.FileUploadFailed, event.FileDownloadFailed, event.FileCorrupted, event.SyncFailed, event.ConnectivityChanged)
)

// logTypes are the events that the log takes at its level.
func logTypes(log *slog.Logger) event.Set {
	if log.Enabled(context.Background(), slog.LevelDebug) {
		return event.All &^ loggedBy
	}
	return logged
}

// logEvents writes events into the log until ctx ends; the last ones too.
func logEvents(ctx context.Context, s *event.Subscription, log *slog.Logger) {
	for {
		e, err := s.Next(ctx)
		if err != nil {
			return
		}
		logEvent(log, e)
	}
}

func logEvent(log *slog.Logger, e event.Event) {
	args := []any{}
	add := func(name, value string) {
		if value != "" {
			args = append(args, name, value)
		}
	}
	add("conduit", e.Conduit)
	add("path", e.Path)
	switch e.Type {
	case event.FileConflictDetected:
		add("conflict_path", e.OtherPath)
		add("type", e.Class)
		add("strategy", e.Strategy)
		log.Info("conflict", args...)
		return
	case event.FileConflictResolved:
		add("kept", e.Strategy)
		log.Info("conflict resolved", args...)
		return
	}
	add("from", e.From)
	add("to", e.To)
	if e.Total > 0 || e.Bytes > 0 {
		args = append(args, "bytes", e.Bytes, "total_bytes", e.Total)
	}
	log.Debug("event", append([]any{"type", e.Type.String()}, args...)...)
}
