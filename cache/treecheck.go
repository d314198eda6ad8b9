package cache

import "fmt"

// TreeVerified is the result of a look at all that an endpoint has, after which nothing was left to do.
const TreeVerified = "verified"

// TreeCheck is the last look at all that a leg's endpoint has, and what came of planning it. Times are nanoseconds since 1970.
type TreeCheck struct {
	Leg      LegID
	Checked  int64
	Verified int64  // when nothing was left to do; 0: never
	Result   string // TreeVerified, or failed:REASON
}

// TreeCheck reads it; the zero TreeCheck: there was none yet.
func (tx *Tx) TreeCheck(leg LegID) (TreeCheck, error) {
	c, _, err := get(tx, func(r *row) TreeCheck {
		return TreeCheck{Leg: LegID(r.int()), Checked: r.int(), Verified: r.int(), Result: r.str()}
	}, "SELECT leg, checked, verified, result FROM tree_checks WHERE leg = ?", leg)
	return c, err
}

// PutTreeCheck records what came of a look that ends now.
func (tx *Tx) PutTreeCheck(leg LegID, result string) error {
	err := tx.exec(`INSERT INTO tree_checks(leg, checked, verified, result) VALUES(?1, ?2, iif(?3 = ?4, ?2, 0), ?3)
		ON CONFLICT(leg) DO UPDATE SET checked = ?2, verified = iif(?3 = ?4, ?2, verified), result = ?3`, leg, tx.Now(), result, TreeVerified)
	if err != nil {
		return fmt.Errorf("record a look at all of leg %d: %w", leg, err)
	}
	return nil
}
