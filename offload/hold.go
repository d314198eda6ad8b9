package offload

import "sync"

// adoptions counts those under way: what they bring need not be fetched for a pin.
type adoptions struct {
	mu    sync.Mutex // a leaf
	n     int
	ended chan struct{} // cap 1
}

// HoldPins has nothing fetched for pins until the function that it returns is called: what they want may be about to come
// in another way. Nobody's reads wait, nor does what a person fetches.
func (m *Manager) HoldPins() (end func()) { return m.adoptions.begin() }

func (a *adoptions) begin() (end func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n++
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.n--
		select {
		case a.ended <- struct{}{}:
		default:
		}
	}
}

func (a *adoptions) on() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n > 0
}
