package cache

// memo remembers single rows that were looked up in one snapshot, where they stay what they are: to decide about many objects
// asks again and again for the directories that they have in common. Its zero value, nil, remembers nothing.
type memo map[question]any

// question is a statement with its values.
type question struct {
	sql    string
	values [memoValues]any
}

const (
	memoValues = 3
	// memoMax bounds what is remembered, as a look at a whole drive may be one snapshot.
	memoMax = 4096
)

// absent is remembered where there is no such row.
type absent struct{}

// ask makes the question of a statement; false: nothing is remembered of it.
func (m memo) ask(sql string, args []any) (q question, ok bool) {
	if m == nil || len(args) > memoValues {
		return q, false
	}
	q.sql = sql
	for i, a := range args {
		if b, is := a.([]byte); is {
			a = string(b)
		}
		q.values[i] = a
	}
	return q, true
}

func (m memo) keep(q question, answer any) {
	if len(m) >= memoMax {
		clear(m)
	}
	m[q] = answer
}

// remembered is get with a memo.
func remembered[T any](tx *Tx, scan func(*row) T, sql string, args []any) (T, bool, error) {
	q, ok := tx.memo.ask(sql, args)
	if ok {
		switch was := tx.memo[q].(type) {
		case T:
			return was, true, nil
		case absent:
			var none T
			return none, false, nil
		}
	}
	var out T
	found, err := tx.queryRow(sql, func(r *row) { out = scan(r) }, args...)
	switch {
	case err != nil || !ok:
	case found:
		tx.memo.keep(q, out)
	default:
		tx.memo.keep(q, absent{})
	}
	return out, found, err
}

// rememberedList is list with a memo, for what are a few rows.
func rememberedList[T any](tx *Tx, scan func(*row) T, sql string, args ...any) ([]T, error) {
	q, ok := tx.memo.ask(sql, args)
	if ok {
		if was, known := tx.memo[q].([]T); known {
			return was, nil
		}
	}
	out, err := list(tx, scan, sql, args...)
	if err == nil && ok {
		tx.memo.keep(q, out)
	}
	return out, err
}
