package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// What can be wrong with contents. The names are those of Problem.What.
const (
	wrongUnowned  = "content that nobody has"
	wrongMissing  = "content without its file"
	wrongSize     = "content of another size than its file"
	wrongRanges   = "content with wrong ranges"
	wrongOwner    = "file that says something else of its bytes than they are"
	wrongStray    = "backing file without a content"
	contentPageOf = 512
)

// held is a row of contents with what its node says, and its backing file.
type held struct {
	id             ContentID
	size, present  int64
	encoded        []byte
	owned, trashed bool
	full, writing  bool
	ino            Ino
	fileSize       int64
	fileMissing    bool
}

// checkContents looks for contents that do not fit their nodes or their files. What is in use is passed over: its rows are
// ahead of or behind its file by design.
func (c *Cache) checkContents(ctx context.Context) ([]Problem, error) {
	var out []Problem
	err := c.eachContent(ctx, func(h held) error {
		if what := h.wrong(); what != "" {
			mendable := what == wrongUnowned || what == wrongRanges || what == wrongMissing
			out = append(out, Problem{what, fmt.Sprintf("content %d of node %d", h.id, h.ino), mendable})
		}
		return nil
	})
	if err != nil {
		return out, err
	}
	owners, err := c.checkOwners()
	if err != nil {
		return out, err
	}
	out = append(out, owners...)
	strays, err := c.checkStrays(ctx)
	return append(out, strays...), err
}

// checkStrays looks for backing files that nothing is left of but themselves. Until the sweep of this process is through, such
// files are the work it is there for; one whose row went a moment ago is about to follow it.
func (c *Cache) checkStrays(ctx context.Context) (out []Problem, err error) {
	if !c.store.swept.Load() {
		return nil, nil
	}
	err = c.sweepAll(ctx, c.store.older, func(path string) error {
		id, err := strconv.ParseInt(filepath.Base(path), 16, 64)
		if err != nil || c.files.uses(ContentID(id)) || c.store.removals.has(ContentID(id)) {
			return nil
		}
		// Looked at last: what was leaving when its row was missed is gone by now.
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			return nil
		}
		out = append(out, Problem{wrongStray, path, true})
		return nil
	})
	return out, err
}

// wrong names what is wrong with a content; "": nothing.
func (h *held) wrong() string {
	switch {
	case !h.owned && !h.trashed:
		return wrongUnowned
	case h.fileMissing:
		return wrongMissing
	case h.writing || h.trashed:
		return ""
	case h.full && h.fileSize != h.size:
		return wrongSize
	case h.full:
		return ""
	}
	var b backing
	if err := b.present.UnmarshalBinary(h.encoded); err != nil || b.present.Bytes() != h.present {
		return wrongRanges
	}
	// A partial file must reach as far as the ranges that it is said to have.
	if all := b.present.Ranges(); len(all) > 0 && (all[len(all)-1].End() > h.size || all[len(all)-1].End() > h.fileSize) {
		return wrongRanges
	}
	return ""
}

// eachContent calls f for every content that is not in use, outside of transactions.
func (c *Cache) eachContent(ctx context.Context, f func(held) error) error {
	var after ContentID
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		var page []held
		err := c.read(func(tx *Tx) (err error) {
			page, err = list(tx, func(r *row) held {
				return held{
					id: ContentID(r.int()), ino: Ino(r.int()), size: r.int(), present: r.int(), encoded: append([]byte(nil), r.bytes()...),
					owned: r.flag(), full: r.flag(), writing: r.flag(), trashed: r.flag(),
				}
			}, `SELECT c.id, c.ino, c.size, c.present, c.ranges, n.ino IS NOT NULL, c.ranges IS NULL, n.writing,
					EXISTS(SELECT 1 FROM trash t WHERE t.content = c.id)
				FROM contents c LEFT JOIN nodes n ON n.ino = c.ino AND n.content = c.id WHERE c.id > ? ORDER BY c.id LIMIT ?`, after, contentPageOf)
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		after = page[len(page)-1].id
		for _, h := range page {
			if err := c.look(h, f); err != nil {
				return err
			}
		}
	}
}

// look adds what the disk says of a content. Its node's lease is held meanwhile, as the file may be in use.
func (c *Cache) look(h held, f func(held) error) error {
	lease, err := c.files.exclusive(h.ino)
	if err != nil {
		return nil // in use: rows and file differ by design
	}
	defer c.files.endExclusive(lease)
	info, err := statPath(c.store.path(h.id))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	h.fileMissing, h.fileSize = err != nil, info.size
	// After the look at the file: a row goes before its file does.
	same := false
	err = c.read(func(tx *Tx) (err error) {
		same, err = tx.queryRow(`SELECT 1 FROM contents c LEFT JOIN nodes n ON n.ino=c.ino AND n.content=c.id
			WHERE c.id=? AND c.present=? AND c.size=? AND (n.ino IS NOT NULL)=?`, func(*row) {}, h.id, h.present, h.size, h.owned)
		return err
	})
	if err != nil || !same {
		return err // changed since the page was read
	}
	return f(h)
}

// checkOwners looks for nodes whose residency does not fit what they have. An empty file is whole without a content.
func (c *Cache) checkOwners() (out []Problem, err error) {
	err = c.read(func(tx *Tx) error {
		inos, err := list(tx, (*row).int, `SELECT n.ino FROM nodes n LEFT JOIN contents c ON c.id = n.content AND c.ino = n.ino
			WHERE n.kind = 1 AND CASE WHEN n.content IS NULL THEN n.residency = 1 OR n.residency = 2 AND n.size <> 0 OR n.writing
				ELSE c.id IS NULL OR n.residency = 0 OR (n.residency = 2) <> (c.ranges IS NULL) OR (n.residency = 2 AND NOT n.writing AND n.size <> c.size) END
			LIMIT ?`, problemsShown)
		for _, ino := range inos {
			out = append(out, Problem{wrongOwner, fmt.Sprintf("node %d", ino), true})
		}
		return err
	})
	return out, err
}

// uses reports whether a backing file belongs to a node in use: it may have no row yet.
func (t *fileTable) uses(id ContentID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, st := range t.m {
		if b := st.cur.Load(); b != nil && b.id == id {
			return true
		}
	}
	return false
}

// repairContents mends what checkContents finds and can be mended without a guess. Rows that promise bytes which are not
// there become placeholders: reading them asks an endpoint, and fails if none has them, instead of giving zeros.
func (c *Cache) repairContents(ctx context.Context) ([]Problem, error) {
	var mended []Problem
	err := c.eachContent(ctx, func(h held) error {
		what := h.wrong()
		if what != wrongUnowned && what != wrongRanges && what != wrongMissing {
			return nil
		}
		mended = append(mended, Problem{what, fmt.Sprintf("content %d of node %d", h.id, h.ino), true})
		return c.update(0, false, func(tx *Tx) error {
			err := tx.exec(`UPDATE nodes SET residency=0, content=NULL, writing=0 WHERE ino=? AND content=?`, h.ino, h.id)
			if err != nil {
				return err
			}
			return tx.forgetContent(h.id) // its file stays for the next Open, which saves what no endpoint has
		})
	})
	if err != nil {
		return mended, err
	}
	owners, err := c.checkOwners()
	if err != nil {
		return mended, err
	}
	mended = append(mended, owners...)
	return mended, c.update(0, false, func(tx *Tx) error { return errors.Join(tx.mendOwners(), tx.Salvage()) })
}

// forgetContent deletes a content's row and leaves its file.
func (tx *Tx) forgetContent(id ContentID) error {
	present, found, err := get(tx, (*row).int, `DELETE FROM contents WHERE id=? RETURNING present`, id)
	if found {
		tx.countBytes(-present)
	}
	return err
}

// mendOwners makes residency say what the rows have. Nodes in use are whole by their open files.
func (tx *Tx) mendOwners() error {
	for _, sql := range []string{
		`UPDATE nodes SET residency=0, content=NULL, writing=0 WHERE kind=1 AND content IS NOT NULL
			AND NOT EXISTS(SELECT 1 FROM contents c WHERE c.id=nodes.content AND c.ino=nodes.ino)`,
		`UPDATE nodes SET residency=0, writing=0 WHERE kind=1 AND content IS NULL AND (residency=1 OR residency=2 AND size<>0 OR writing)`,
		`UPDATE nodes SET residency=(SELECT CASE WHEN c.ranges IS NULL THEN 2 ELSE 1 END FROM contents c WHERE c.id=nodes.content)
			WHERE kind=1 AND content IS NOT NULL AND NOT writing
			AND residency<>(SELECT CASE WHEN c.ranges IS NULL THEN 2 ELSE 1 END FROM contents c WHERE c.id=nodes.content)`,
		`UPDATE contents SET size=(SELECT n.size FROM nodes n WHERE n.ino=contents.ino) WHERE id IN (
			SELECT n.content FROM nodes n JOIN contents c ON c.id=n.content WHERE n.residency=2 AND NOT n.writing AND n.size<>c.size)`,
	} {
		if err := tx.exec(sql); err != nil {
			return err
		}
	}
	return nil
}
