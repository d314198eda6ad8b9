package cache

// Exclude keeps everybody from opening a node until the transaction ends, and counts those who have it open already;
// they keep what they have. It may be called inside a transaction because it never waits: whoever comes meanwhile does.
// What the transaction then does with the node is up to the caller: with readers it may get another name's node, with
// writers it must be left alone.
func (tx *Tx) Exclude(ino Ino) Use {
	use, release := tx.c.files.freeze(ino)
	tx.onEnd(func() {
		if st := release(); st != nil {
			if err := tx.c.letGo(st); err != nil {
				tx.c.log.Error("close a node's files", "ino", ino, "error", err)
			}
		}
	})
	return use
}

// freeze shuts a node's lease against newcomers. release opens it again and, if the freeze counted as a holder, returns
// the state to let go of.
func (t *fileTable) freeze(ino Ino) (use Use, release func() *fileState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	st := t.get(ino)
	if st.excl != nil {
		// The transaction froze it before, or a drop holds it: that one looks at the version again in its own transaction.
		return Use{max(0, st.readers-1), st.writers, st.brief}, func() *fileState { return nil }
	}
	use = st.use()
	done := make(chan struct{})
	st.excl = done
	if use == (Use{}) {
		return use, func() *fileState {
			t.endExclusive(st)
			return nil
		}
	}
	st.readers++
	return use, func() *fileState {
		t.mu.Lock()
		defer t.mu.Unlock()
		st.excl = nil
		close(done)
		return st
	}
}
