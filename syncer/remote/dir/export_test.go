package dir

import "golang.org/x/sys/unix"

// Limit is the most that a file system is trusted to do, for tests of the
// fallbacks on one that can do everything.
type Limit struct{ Exchange, Noreplace, Tmpfile, Hardlink bool }

// OpenLimited is Open on a poorer file system.
func OpenLimited(root string, o Options, l Limit) (*Endpoint, error) {
	return open(root, o, abilities{exchange: l.Exchange, noreplace: l.Noreplace, tmpfile: l.Tmpfile, hardlink: l.Hardlink})
}

// LimitWatches makes the n-th watch hit the limit of the system.
func (d *Endpoint) LimitWatches(n int) { d.watch.limit = n }

// Watched is the number of directories that are watched.
func (d *Endpoint) Watched() int {
	d.watch.mu.Lock()
	defer d.watch.mu.Unlock()
	return len(d.watch.byWd)
}

// LeaveLifted leaves a directory as a kill does while its mode is lifted.
func (d *Endpoint) LeaveLifted(path string) error {
	r, err := d.openRoot()
	if err != nil {
		return err
	}
	defer r.close()
	p, err := d.openDir(r, path, unix.O_PATH)
	if err != nil {
		return err
	}
	defer p.close()
	tmp, err := d.openStaging(r, tempDir)
	if err != nil {
		return err
	}
	defer tmp.close()
	_, err = lift(tmp.fd, held{fd: p.fd, path: path}, mayChange)
	return err
}
