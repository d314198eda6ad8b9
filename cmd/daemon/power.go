package daemon

import (
	"context"
	"fmt"

	"vdfs/cmd/config"
	"vdfs/internal/power"
	"vdfs/syncer"
)

// watchPower has the syncer spare the machine while that runs on its battery, or its network costs, as far as the owner wants.
func (d *daemon) watchPower(ctx context.Context) {
	conf := d.plan.conf.Sync
	if conf.OnBattery == config.SpareNothing && conf.OnMetered == config.SpareNothing {
		return
	}
	err := power.Watch(ctx, func(s power.State) { d.parts.engine.Spare(sparing(conf, s)) })
	if err != nil {
		d.log.Debug("nobody tells of battery and network", "error", err)
	}
}

// sparing is how much the machine is to be spared, and why, for people.
func sparing(c config.Sync, s power.State) (syncer.Spare, string) {
	how, because := syncer.SpareNothing, ""
	for _, k := range []struct {
		holds           bool
		what, key, says string
	}{
		{s.OnBattery, "the machine runs on its battery", "sync.on_battery", c.OnBattery},
		{s.Metered, "the network costs by the byte", "sync.on_metered", c.OnMetered},
	} {
		degree := map[string]syncer.Spare{config.SpareSlow: syncer.SpareSlow, config.SparePause: syncer.SparePause}[k.says]
		if k.holds && degree > how {
			how, because = degree, fmt.Sprintf("%s (%s = %q); `vdfs sync` goes on once", k.what, k.key, k.says)
		}
	}
	return how, because
}
