package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"vdfs/cmd/control"
)

const (
	// watchRest is the least time between two looks of a watch.
	watchRest = 500 * time.Millisecond
	// watchMax is the longest: times grow older, and the disk below fills, without an event.
	watchMax = 10 * time.Second
	// watchEvents is how many of the last events are shown.
	watchEvents = 6

	cursorHide = "\x1b[?25l"
	cursorShow = "\x1b[?25h"
	clearAll   = "\x1b[2J"
	home       = "\x1b[H"
	clearLine  = "\x1b[K"
	clearBelow = "\x1b[J"
)

// statusWatch is a status that stays up to date: it is asked for anew when the daemon tells that something has happened, at most
// twice a second.
type statusWatch struct {
	a        *app
	client   *control.Client
	screen   bool // redrawn in place; else what has changed is printed below
	flags    statusFlags
	events   chan control.Event
	last     []control.Event // to be shown, the newest first
	progress map[string]control.Event
	drawn    string
}

// watchStatus shows the status until the person has seen enough.
func (a *app) watchStatus(ctx context.Context, args []string, f statusFlags) (err error) {
	if len(args) > 0 {
		return a.repeatStatus(ctx, args, f)
	}
	client, err := a.own(ctx)
	if err != nil {
		return err
	}
	w := &statusWatch{
		a: a, client: client, flags: f, screen: terminal(a.Out) && !f.json && !f.state,
		events: make(chan control.Event, 64), progress: map[string]control.Event{},
	}
	if w.screen {
		if err := a.print(cursorHide + clearAll); err != nil {
			return err
		}
		defer func() { err = first(err, a.print(cursorShow)) }()
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.listen(gctx) })
	g.Go(func() error { return w.show(gctx) })
	err = g.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return a.whyDown(err)
}

// repeatStatus is a watch of paths, which no event tells of completely.
func (a *app) repeatStatus(ctx context.Context, args []string, f statusFlags) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if terminal(a.Out) {
			if err := a.print(home + clearAll); err != nil {
				return err
			}
		}
		if err := a.runStatus(ctx, args, f); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// listen takes the events of the daemon until it ends.
func (w *statusWatch) listen(ctx context.Context) error {
	all := control.EventsRequest{Follow: true}
	_, err := control.Items[control.Event, control.None](ctx, w.client, "/v1/events", all, func(e control.Event) error {
		select {
		case w.events <- e:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err == nil {
		err = errors.New("the daemon tells no more events")
	}
	return err
}

// show draws again and again.
func (w *statusWatch) show(ctx context.Context) error {
	for {
		s, err := control.Get[control.Status](ctx, w.client, "/v1/status")
		if err != nil {
			return err
		}
		if err := w.draw(s); err != nil {
			return err
		}
		if err := w.rest(ctx); err != nil {
			return err
		}
	}
}

// rest returns when something has happened, or some time has passed.
func (w *statusWatch) rest(ctx context.Context) error {
	least, most := time.NewTimer(watchRest), time.NewTimer(watchMax)
	defer least.Stop()
	defer most.Stop()
	some, may := false, false
	for !some || !may {
		select {
		case e := <-w.events:
			w.take(e)
			some = true
		case <-least.C:
			may = true
		case <-most.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// take keeps what of an event is shown.
func (w *statusWatch) take(e control.Event) {
	switch e.Type {
	case "SyncProgress":
		w.progress[e.Conduit] = e
		return
	case "SyncCompleted", "SyncFailed":
		delete(w.progress, e.Conduit)
		if e.Type == "SyncCompleted" && e.Generation == 0 {
			return
		}
	case "SyncStarted", "SyncStateChanged", "VerificationComplete", "QueueStatusChanged",
		"FileUploadStarted", "FileHydrated", "FileChunkReceived":
		return // the numbers show it
	}
	w.last = append([]control.Event{e}, w.last[:min(len(w.last), watchEvents-1)]...)
}

func (w *statusWatch) draw(s control.Status) error {
	switch {
	case w.flags.json:
		return w.a.printJSON(s)
	case w.flags.state:
		return w.once(s.State + "\n")
	case !w.screen:
		return w.once(w.text(s))
	}
	width, height := 80, 24
	if f, ok := w.a.Out.(*os.File); ok {
		if cols, rows, err := term.GetSize(int(f.Fd())); err == nil && cols > 0 && rows > 0 {
			width, height = cols, rows
		}
	}
	lines := strings.Split(strings.TrimSuffix(w.text(s), "\n"), "\n")
	lines = lines[:min(len(lines), max(height-1, 1))]
	var out strings.Builder
	out.WriteString(home)
	for _, line := range lines {
		out.WriteString(cut(line, width) + clearLine + "\n")
	}
	out.WriteString(clearBelow)
	return w.a.print(out.String())
}

// once prints what is not as it was printed last.
func (w *statusWatch) once(text string) error {
	if text == w.drawn {
		return nil
	}
	w.drawn = text
	return w.a.print(text)
}

// text is the view: a line for each conduit, and a few for all.
func (w *statusWatch) text(s control.Status) string {
	a := w.a
	var out strings.Builder
	fmt.Fprintf(&out, "%s  %s\n", a.paint(bold, a.shown(string(s.Mountpoint))), a.paint(stateColour(s.State), s.State))
	t := table{colour: func(_, column int, text string) string {
		if column == 1 {
			return a.paint(stateColour(text), text)
		}
		return text
	}}
	for _, c := range s.Conduits {
		t.add(c.Name, c.State, w.conduitText(c))
	}
	out.WriteString(t.String())
	here := size(s.Cache.Bytes) + " here"
	if s.Cache.Budget > 0 {
		here += " of " + size(s.Cache.Budget)
	}
	fmt.Fprintf(&out, "cache  %s, %s not sent yet, %s free on the disk\n", here, size(s.Cache.Dirty), size(s.Cache.Free))
	fmt.Fprintf(&out, "queue  %s\n", queueText(s.Queue))
	m := s.Metrics
	fmt.Fprintf(&out, "speed  %s/s up, %s/s down; in 24 h %s up, %s down, %s, %s\n", size(m.UpNow), size(m.DownNow),
		size(m.Day.BytesUp), size(m.Day.BytesDown), plural(m.Day.Conflicts, "conflict"), plural(m.Day.Errors, "error"))
	for _, note := range s.Notes {
		out.WriteString(a.shown(note) + "\n")
	}
	for _, e := range w.last {
		out.WriteString(a.eventText(e) + "\n")
	}
	return out.String()
}

// conduitText is what one conduit is doing.
func (w *statusWatch) conduitText(c control.ConduitStatus) string {
	var parts []string
	if p, ok := w.progress[c.Name]; ok && c.State == "syncing" && p.TotalBytes != nil && p.Bytes != nil {
		text := size(*p.Bytes) + " of " + size(*p.TotalBytes)
		if *p.TotalBytes > 0 {
			text = fmt.Sprintf("%d%%, ", 100**p.Bytes / *p.TotalBytes) + text
		}
		if p.Rate > 0 {
			text += ", " + size(p.Rate) + "/s"
		}
		if p.ETA >= 1 {
			text += ", " + span(time.Duration(p.ETA*float64(time.Second))) + " left"
		}
		parts = append(parts, text)
	}
	if c.PendingLocal+c.PendingRemote > 0 {
		parts = append(parts, fmt.Sprintf("%d up, %d down", c.PendingLocal, c.PendingRemote))
	}
	if c.Conflicts > 0 {
		parts = append(parts, plural(c.Conflicts, "conflict"))
	}
	if c.Message != "" {
		parts = append(parts, w.a.shown(c.Message))
	}
	if len(parts) == 0 {
		synced := "never"
		if c.LastSync != nil {
			synced = ago(w.a.Now(), *c.LastSync)
			if !w.screen {
				synced = c.LastSync.Local().Format("15:04:05") // it is to be printed again only if it changes
			}
		}
		parts = append(parts, "last sync "+synced)
	}
	return strings.Join(parts, "; ")
}

// cut shortens a line to a number of characters. Colours take no room, and do not go on behind it.
func cut(line string, width int) string {
	n := 0
	for i := 0; i < len(line); {
		if line[i] == '\x1b' {
			for i < len(line) && line[i] != 'm' {
				i++
			}
			i++
			continue
		}
		if n == width {
			return line[:i] + "\x1b[0m"
		}
		_, size := utf8.DecodeRuneInString(line[i:])
		i += size
		n++
	}
	return line
}
