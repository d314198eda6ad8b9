package cache

import "fmt"

// The index itself removes a decision with what it is about: when its dentry is unbound or gone, and when something else is
// agreed on than before.

// Decision reads the strategy that was chosen for the conflict of a dentry on a leg; false: none was.
func (tx *Tx) Decision(leg LegID, id DentryID) (Decision, bool, error) {
	return get(tx, func(r *row) Decision {
		return Decision{LegID(r.int()), DentryID(r.int()), uint64(r.int()), r.str(), r.str()}
	}, "SELECT leg, dentry, version, content, strategy FROM decisions WHERE leg = ? AND dentry = ?", leg, id)
}

// PutDecision writes a decision in the place of the one that the dentry had on the leg.
func (tx *Tx) PutDecision(d Decision) error {
	err := tx.exec("INSERT OR REPLACE INTO decisions(leg, dentry, version, content, strategy) VALUES(?,?,?,?,?)", d.Leg, d.Dentry, d.Version, d.Content, d.Strategy)
	if err != nil {
		return fmt.Errorf("put decision: %w", err)
	}
	return nil
}

// DeleteDecision forgets a decision; there need be none.
func (tx *Tx) DeleteDecision(leg LegID, id DentryID) error {
	return tx.exec("DELETE FROM decisions WHERE leg = ? AND dentry = ?", leg, id)
}
