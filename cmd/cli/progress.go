package cli

import (
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
}

func (a *app) bar(what string) *bar { return &bar{app: a, as: what} }

// report is a control.Report.
func (b *bar) report(p control.Progress) {
	if !terminal(b.app.Err) || p.Total <= 0 {
		return
	}
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
	b.all = mpb.New(mpb.WithOutput(b.app.Err), mpb.WithWidth(48))
	b.bar = b.all.AddBar(p.Total, mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(b.as, decor.WCSyncSpaceR), decor.Percentage(decor.WC{W: 5})),
		mpb.AppendDecorators(counts, decor.Name("  "), decor.AverageETA(decor.ET_STYLE_GO)))
}

// end takes the bar away. It must be called before anything else is printed.
func (b *bar) end() {
	if b.bar == nil {
		return
	}
	b.bar.Abort(true)
	b.all.Wait()
}
