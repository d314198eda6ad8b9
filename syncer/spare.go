package syncer

// Spare says how much of what nobody waits for is left for later, as the machine runs on its battery or on a network that costs.
type Spare uint8

// The degrees of sparing.
const (
	SpareNothing Spare = iota
	SpareSlow          // endpoints are looked at rarely
	SparePause         // nothing begins by itself: readers and people are served
)

// Spare has the engine spare the machine from now on; why is told to people. Opening files goes on, and so does what somebody
// asks for.
func (e *Engine) Spare(s Spare, why string) {
	e.mu.Lock()
	was := e.spare
	e.spare, e.spareWhy = s, why
	e.mu.Unlock()
	if was == s {
		return
	}
	e.log.Info("sparing", "how", s.String(), "because", why)
	for _, l := range e.current() {
		if s == SparePause && l.awaited.Load() == 0 {
			l.interrupt()
		}
		l.setDue()
		l.wake()
	}
	e.runs.wake()
}

// String is its name for people.
func (s Spare) String() string { return []string{"nothing", "slow", "pause"}[min(s, SparePause)] }

func (e *Engine) spared() Spare {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.spare
}

// sparesBecause is why nothing begins by itself; "": it does.
func (e *Engine) sparesBecause() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.spare != SparePause {
		return ""
	}
	return e.spareWhy
}
