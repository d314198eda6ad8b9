package cache

// Reader is who wants bytes that are fetched. The zero Reader is nobody in particular.
type Reader struct {
	Program string
	Kind    string
	Unused  bool // it does not count as using the file
}

// Fetched is for whom and when bytes of a file were last fetched.
type Fetched struct {
	Reader
	At int64 // 0: nobody knows
}

// fetchedFor notes for whom bytes of a content were fetched now.
func (tx *Tx) fetchedFor(id ContentID, r Reader) error {
	return tx.exec(`UPDATE contents SET fetched=?2, reader=?3, reader_kind=?4, used=CASE WHEN ?5 THEN used ELSE max(used, ?2) END WHERE id=?1`,
		id, tx.Now(), r.Program, r.Kind, r.Unused)
}

// LastUse tells when a file whose bytes are here was last used, as far as it was written down; 0: never, or nothing is here.
func (tx *Tx) LastUse(ino Ino) (int64, error) {
	at, _, err := get(tx, (*row).int, `SELECT c.used FROM nodes n JOIN contents c ON c.id = n.content WHERE n.ino=?`, ino)
	return at, err
}

// LastFetch tells for whom bytes of a node that are here were last fetched. What was written here was never fetched.
func (tx *Tx) LastFetch(ino Ino) (Fetched, error) {
	f, _, err := get(tx, func(r *row) Fetched {
		return Fetched{At: r.int(), Reader: Reader{Program: r.str(), Kind: r.str()}}
	}, `SELECT c.fetched, c.reader, c.reader_kind FROM nodes n JOIN contents c ON c.id = n.content WHERE n.ino=?`, ino)
	return f, err
}
