package cli

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"vdfs/cmd/control"
)

// bar shows the progress of one long request on a terminal and nothing elsewhere.
type bar struct {
	all *mpb.Progress
	bar *mpb.Bar
	app *app
	as  string
	run atomic.Pointer[control.RunProgress] // what a sync is at; nil: unknown
}

func (a *app) bar(what string) *bar { return &bar{app: a, as: what} }

// report is a control.Report.
func (b *bar) report(p control.Progress) {
	if !terminal(b.app.Err) || p.Total <= 0 {
		return
	}
	b.run.Store(p.Run)
	if b.bar == nil {
		b.start(p)
	}
	b.bar.SetTotal(p.Total, false)
	b.bar.SetCurrent(p.Done)
}

func (b *bar) start(p control.Progress) {
	counts := decor.CountersNoUnit("%d / %d", decor.WCSyncSpace)
	if p.Bytes {
		counts = decor.CountersKibiByte("% .1f / % .1f", decor.WCSyncSpace)
	}
	eta := decor.AverageETA(decor.ET_STYLE_GO)
	b.all = mpb.New(mpb.WithOutput(b.app.Err), mpb.WithWidth(48))
	b.bar = b.all.AddBar(p.Total, mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(b.as, decor.WCSyncSpaceR), decor.Percentage(decor.WC{W: 5})),
		mpb.AppendDecorators(decor.Any(func(s decor.Statistics) string {
			if run := b.run.Load(); run != nil {
				return " " + runText(*run)
			}
			text, _ := counts.Decor(s)
			left, _ := eta.Decor(s)
			return text + "  " + left
		})))
}

// runText says in a line what a run is at.
func runText(p control.RunProgress) string {
	text := fmt.Sprintf("%s %d of %s", p.Phase, p.Files, plural(p.FilesTotal, "file"))
	if p.BytesTotal > 0 {
		text += fmt.Sprintf(", %s of %s", size(p.Bytes), size(p.BytesTotal))
	}
	if p.Rate > 0 {
		text += fmt.Sprintf(", %s/s", size(p.Rate))
	}
	if p.ETA != nil && *p.ETA >= 1 {
		text += fmt.Sprintf(", %s left", span(time.Duration(*p.ETA*float64(time.Second))))
	}
	return text
}

// end takes the bar away. It must be called before anything else is printed.
func (b *bar) end() {
	if b.bar == nil {
		return
	}
	b.bar.Abort(true)
	b.all.Wait()
}
