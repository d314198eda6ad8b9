package dir

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"vdfs/syncer/remote"
)

const (
	pageSize    = 4096 // entries of a page
	maxListings = 8    // unfinished listings that are remembered
)

// List implements remote.Endpoint. A directory larger than a page is listed
// from the names it had at first; unfinished listings beyond maxListings are
// forgotten, the oldest first, and give ErrChanged.
func (d *Endpoint) List(ctx context.Context, dir remote.ItemID, page string) ([]remote.Entry, string, error) {
	r, err := d.enter(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("list directory: %w", err)
	}
	defer r.close()
	a, err := parseID(dir)
	if err != nil {
		return nil, "", fail("list directory", err)
	}
	path := a.Path
	p, err := d.openAt(r, a, unix.O_RDONLY)
	if errors.Is(err, unix.EACCES) {
		d.watch.keepOut(path)
	}
	if err != nil {
		return nil, "", fail("list directory", err)
	}
	defer p.close()
	var names []string
	if page == "" {
		// Watched first, read then: what changes from here on comes as a hint.
		d.watch.collect()
		d.watch.add(p.fd, path)
		if names, err = readNames(ctx, p.fd); err != nil {
			return nil, "", fail("list directory", err)
		}
	}
	names, next, err := d.listings.page(path, names, page)
	if err != nil {
		return nil, "", fmt.Errorf("list directory: %w", err)
	}
	entries, err := d.entries(ctx, p, path, names)
	if err != nil {
		return nil, "", fail("list directory", err)
	}
	return entries, next, nil
}

// entries looks at each name; one that has gone meanwhile is left out.
func (d *Endpoint) entries(ctx context.Context, p dirFD, path string, names []string) ([]remote.Entry, error) {
	entries := make([]remote.Entry, 0, len(names))
	for i, name := range names {
		if i%256 == 0 {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			remote.Progress(ctx)
		}
		if reserved(path == "", name) {
			continue
		}
		f, err := d.factsAt(p.fd, name)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return nil, err
		}
		entries = append(entries, f.entry(path, name))
	}
	return entries, nil
}

// readNames reads a directory from its beginning. It tells of its progress and ends when it is done.
func readNames(ctx context.Context, fd int) ([]string, error) {
	if _, err := unix.Seek(fd, 0, 0); err != nil {
		return nil, err
	}
	p := chunks.Get().(*[]byte)
	defer chunks.Put(p)
	buf := (*p)[:64<<10]
	var names []string
	for {
		n, err := unix.ReadDirent(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			return names, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
		remote.Progress(ctx)
	}
}

// storedName finds how a folding directory spells a name.
func storedName(p dirFD, name string) (string, error) {
	fd, err := unix.Openat(p.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var it unix.Stat_t
	if err := unix.Fstat(fd, &it); err != nil {
		return "", err
	}
	dir, err := unix.Openat(p.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(dir)
	names, err := readNames(context.Background(), dir)
	if err != nil {
		return "", err
	}
	if slices.Contains(names, name) {
		return name, nil
	}
	for _, n := range names {
		var st unix.Stat_t
		if strings.EqualFold(n, name) && unix.Fstatat(dir, n, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Ino == it.Ino {
			return n, nil
		}
	}
	return name, nil
}

// listings remembers the names of directories whose listing is under way.
type listings struct {
	mu   sync.Mutex
	made uint64
	open []*listing // oldest first
}

type listing struct {
	number uint64
	path   string
	names  []string
}

// page cuts one page. names is the whole directory for the first one; later
// ones are remembered under the token "<number>/<offset>".
func (l *listings) page(path string, names []string, token string) ([]string, string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if token == "" {
		if len(names) <= pageSize {
			return names, "", nil
		}
		l.made++
		if len(l.open) == maxListings {
			l.open = slices.Delete(l.open, 0, 1)
		}
		l.open = append(l.open, &listing{number: l.made, path: path, names: names})
		return names[:pageSize], fmt.Sprintf("%d/%d", l.made, pageSize), nil
	}
	number, offset, _ := strings.Cut(token, "/")
	from, err := strconv.Atoi(offset)
	i := slices.IndexFunc(l.open, func(o *listing) bool { return strconv.FormatUint(o.number, 10) == number && o.path == path })
	if err != nil || i < 0 || from < 0 || from > len(l.open[i].names) {
		return nil, "", remote.ErrChanged
	}
	names = l.open[i].names
	to := from + pageSize
	if to >= len(names) {
		l.open = slices.Delete(l.open, i, i+1)
		return names[from:], "", nil
	}
	return names[from:to], fmt.Sprintf("%s/%d", number, to), nil
}
