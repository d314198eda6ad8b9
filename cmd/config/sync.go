package config

import "fmt"

// What sync.on_battery and sync.on_metered can be.
const (
	SpareNothing = "run"
	SpareSlow    = "slow"
	SparePause   = "pause"
)

// check refuses words that say nothing, naming the key.
func (s *Sync) check() error {
	for _, k := range []struct{ key, value string }{{"sync.on_battery", s.OnBattery}, {"sync.on_metered", s.OnMetered}} {
		switch k.value {
		case SpareNothing, SpareSlow, SparePause:
		default:
			return fmt.Errorf("%s: %q is not %s, %s or %s", k.key, k.value, SpareNothing, SpareSlow, SparePause)
		}
	}
	return nil
}
