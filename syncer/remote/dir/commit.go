package dir

import (
	"sync"

	"golang.org/x/sys/unix"
)

// syncEach is how many files are synced one by one; more share one syncfs,
// which writes everything the file system holds back.
const syncEach = 3

// committer makes files durable in groups. Callers that come while a group is
// being synced form the next one, so a hundred writers at once cost a few disk
// flushes, and a lone writer waits for no one.
type committer struct {
	turn sync.Mutex // one group syncs at a time
	mu   sync.Mutex
	open *group
}

type group struct {
	fds    map[inode]int // one descriptor per file, open until done
	joined int           // commits that wait for it
	done   chan struct{}
	err    error
}

type inode struct{ dev, ino uint64 }

// commit returns when all fds are on the disk. They stay open meanwhile.
func (c *committer) commit(fds ...int) error {
	c.mu.Lock()
	g := c.open
	leads := g == nil
	if leads {
		g = &group{fds: map[inode]int{}, done: make(chan struct{})}
		c.open = g
	}
	g.joined++
	for _, fd := range fds {
		var st unix.Stat_t
		if err := retry(func() error { return unix.Fstat(fd, &st) }); err != nil {
			g.fds[inode{0, uint64(fd)}] = fd // unknown: synced for itself
			continue
		}
		g.fds[inode{st.Dev, st.Ino}] = fd
	}
	c.mu.Unlock()
	if !leads {
		<-g.done
		return g.err
	}
	c.turn.Lock()
	c.mu.Lock()
	c.open = nil // from here on, others form the next group
	c.mu.Unlock()
	g.err = g.sync()
	c.turn.Unlock()
	close(g.done)
	return g.err
}

// sync flushes the group. Directories of two file systems never meet in one:
// the root's and the staging directory's are the same.
func (g *group) sync() error {
	for _, fd := range g.fds {
		if len(g.fds) > syncEach {
			return retry(func() error { return unix.Syncfs(fd) })
		}
		if err := retry(func() error { return unix.Fsync(fd) }); err != nil {
			return err
		}
	}
	return nil
}
