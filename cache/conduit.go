package cache

import (
	"errors"
	"fmt"
)

const (
	conduitCols = `id, uuid, name, place, source, target, policy, policy_config, strategy, cadence, enabled, parallel, bandwidth,
	use_index_rules, generation, last_sync, last_error, last_error_at, total_syncs, files_synced, bytes_transferred, drift, created, updated`
	legCols = "id, conduit, place, role, endpoint, identity, cursor, last_seq, contact, state, message, last_scan, scan_cost"
)

func scanConduit(r *row) Conduit {
	return Conduit{
		ID: ConduitID(r.int()), UUID: r.str(), Name: r.str(), Place: PlaceID(r.int()), Source: r.str(), Target: r.str(), Policy: r.str(),
		PolicyConfig: r.str(), Strategy: r.str(), Cadence: r.str(), Enabled: r.flag(), Parallel: int(r.int()), Bandwidth: r.int(),
		UseIndexRules: r.flag(), Generation: r.int(), LastSync: r.int(), LastError: r.str(), LastErrorAt: r.int(), TotalSyncs: r.int(),
		FilesSynced: r.int(), BytesTransferred: r.int(), Drift: r.int(), Created: r.int(), Updated: r.int(),
	}
}

func scanLeg(r *row) Leg {
	return Leg{
		ID: LegID(r.int()), Conduit: ConduitID(r.int()), Place: PlaceID(r.int()), Role: Role(r.str()), Endpoint: r.str(), Identity: r.str(), Cursor: r.str(),
		LastSeq: r.int(), Contact: r.flag(), State: r.str(), Message: r.str(), LastScan: r.int(), ScanCost: r.int(),
	}
}

// CreateConduit adds a conduit with its legs. Its ID and times, and the legs' ID, Conduit and Place, are set in the
// arguments. A name or UUID that is taken is ErrExists.
func (tx *Tx) CreateConduit(cd *Conduit, legs []Leg) error {
	if cd.PolicyConfig == "" {
		cd.PolicyConfig = "{}"
	}
	cd.Created, cd.Updated = tx.Now(), tx.Now()
	id, err := tx.insert(`INSERT INTO conduits(uuid, name, place, source, target, policy, policy_config, strategy, cadence, enabled, parallel, bandwidth,
		use_index_rules, created, updated) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)`,
		cd.UUID, cd.Name, cd.Place, cd.Source, cd.Target, cd.Policy, cd.PolicyConfig, cd.Strategy, cd.Cadence, cd.Enabled, cd.Parallel, cd.Bandwidth,
		cd.UseIndexRules, cd.Created, cd.Updated)
	if isUnique(err) {
		err = ErrExists
	}
	if err != nil {
		return fmt.Errorf("create conduit %q: %w", cd.Name, err)
	}
	cd.ID = ConduitID(id)
	for i := range legs {
		legs[i].Conduit, legs[i].Place = cd.ID, cd.Place
		if err := tx.insertLeg(&legs[i]); err != nil {
			return fmt.Errorf("create conduit %q: %w", cd.Name, err)
		}
	}
	return nil
}

func (tx *Tx) insertLeg(l *Leg) error {
	if l.Role == "" {
		l.Role = RoleTarget
	}
	id, err := tx.insert(`INSERT INTO legs(conduit, place, role, endpoint, identity, cursor, last_seq, contact, state, message, last_scan, scan_cost)
		VALUES(?,?,?,?,?,?,?,?,?,?,?,?)`,
		l.Conduit, l.Place, string(l.Role), l.Endpoint, l.Identity, l.Cursor, l.LastSeq, l.Contact, l.State, l.Message, l.LastScan, l.ScanCost)
	l.ID = LegID(id)
	tx.legsChanged()
	return err
}

// Conduits reads all conduits.
func (tx *Tx) Conduits() ([]Conduit, error) {
	return list(tx, scanConduit, "SELECT "+conduitCols+" FROM conduits ORDER BY id")
}

// Conduit reads a conduit; false: there is none.
func (tx *Tx) Conduit(id ConduitID) (Conduit, bool, error) {
	return get(tx, scanConduit, "SELECT "+conduitCols+" FROM conduits WHERE id = ?", id)
}

// ConduitByName finds a conduit by its name or its UUID; false: there is none.
func (tx *Tx) ConduitByName(name string) (Conduit, bool, error) {
	return get(tx, scanConduit, "SELECT "+conduitCols+" FROM conduits WHERE name = ?1 OR uuid = ?1 ORDER BY name = ?1 DESC LIMIT 1", name)
}

// UpdateConduit writes a conduit's settings and counters; its place stays.
func (tx *Tx) UpdateConduit(cd Conduit) error {
	ok, err := tx.changed(`UPDATE conduits SET name=?, source=?, target=?, policy=?, policy_config=?, strategy=?, cadence=?, enabled=?, parallel=?,
		bandwidth=?, use_index_rules=?, generation=?, last_sync=?, last_error=?, last_error_at=?, total_syncs=?, files_synced=?,
		bytes_transferred=?, drift=?, updated=? WHERE id=?`,
		cd.Name, cd.Source, cd.Target, cd.Policy, cd.PolicyConfig, cd.Strategy, cd.Cadence, cd.Enabled, cd.Parallel, cd.Bandwidth, cd.UseIndexRules,
		cd.Generation, cd.LastSync, cd.LastError, cd.LastErrorAt, cd.TotalSyncs, cd.FilesSynced, cd.BytesTransferred, cd.Drift, tx.Now(), cd.ID)
	switch {
	case isUnique(err):
		err = ErrExists
	case err == nil && !ok:
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("update conduit %q: %w", cd.Name, err)
	}
	tx.marked = true
	return nil
}

// DeleteConduit forgets a conduit and what its legs knew. The drive's own tree is untouched; that bytes which are not
// here can come from nowhere then is for the caller to have checked.
func (tx *Tx) DeleteConduit(id ConduitID) error {
	legs, err := list(tx, (*row).int, "SELECT id FROM legs WHERE conduit = ?", id)
	if err != nil {
		return fmt.Errorf("delete conduit: %w", err)
	}
	for _, leg := range legs {
		for _, table := range []string{"items", "journal", "observed", "bindings", "conflicts", "decisions", "deletions", "transfers", "moves", "touched"} {
			if err := tx.exec("DELETE FROM "+table+" WHERE leg = ?", leg); err != nil {
				return fmt.Errorf("delete conduit: %w", err)
			}
		}
	}
	if err := tx.exec("DELETE FROM generations WHERE conduit = ?", id); err != nil {
		return fmt.Errorf("delete conduit: %w", err)
	}
	ok, err := tx.changed("DELETE FROM conduits WHERE id = ?", id) // its legs cascade
	if err == nil && !ok {
		err = ErrNotFound
	}
	tx.legsChanged()
	if err != nil {
		return fmt.Errorf("delete conduit %d: %w", id, err)
	}
	return nil
}

// Leg reads a leg; false: there is none.
func (tx *Tx) Leg(id LegID) (Leg, bool, error) {
	return get(tx, scanLeg, "SELECT "+legCols+" FROM legs WHERE id = ?", id)
}

// Legs reads all legs.
func (tx *Tx) Legs() ([]Leg, error) {
	return list(tx, scanLeg, "SELECT "+legCols+" FROM legs ORDER BY id")
}

// LegsOf reads the legs joined to a place.
func (tx *Tx) LegsOf(place PlaceID) ([]Leg, error) {
	return list(tx, scanLeg, "SELECT "+legCols+" FROM legs WHERE place = ? ORDER BY id", place)
}

// LegsOfConduit reads the legs of a conduit.
func (tx *Tx) LegsOfConduit(id ConduitID) ([]Leg, error) {
	return list(tx, scanLeg, "SELECT "+legCols+" FROM legs WHERE conduit = ? ORDER BY id", id)
}

// UpdateLeg writes a leg's state: all but its conduit, its place and its role.
func (tx *Tx) UpdateLeg(l Leg) error {
	ok, err := tx.changed(`UPDATE legs SET endpoint=?, identity=?, cursor=?, last_seq=?, contact=?, state=?, message=?, last_scan=?, scan_cost=?
		WHERE id=?`, l.Endpoint, l.Identity, l.Cursor, l.LastSeq, l.Contact, l.State, l.Message, l.LastScan, l.ScanCost, l.ID)
	if err == nil && !ok {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("update leg %d: %w", l.ID, err)
	}
	tx.marked = true
	return nil
}

// Rules reads what strategies a conduit has for patterns, in their order.
func (tx *Tx) Rules(id ConduitID) ([]Rule, error) {
	return list(tx, func(r *row) Rule { return Rule{r.str(), r.str()} }, "SELECT pattern, strategy FROM conduit_rules WHERE conduit = ? ORDER BY pos", id)
}

// SetRules writes a conduit's rules in the place of those it had.
func (tx *Tx) SetRules(id ConduitID, rules []Rule) error {
	tx.marked = true
	if err := tx.exec("DELETE FROM conduit_rules WHERE conduit = ?", id); err != nil {
		return fmt.Errorf("set rules: %w", err)
	}
	for i, r := range rules {
		err := tx.exec("INSERT INTO conduit_rules(conduit, pos, pattern, strategy) VALUES(?,?,?,?)", id, i, blob(r.Pattern), r.Strategy)
		if err != nil {
			return fmt.Errorf("set rules: %w", err)
		}
	}
	return nil
}

// Setting reads a value of the drive's own settings; nil: never set.
func (tx *Tx) Setting(key string) ([]byte, error) {
	v, _, err := get(tx, (*row).bytes, "SELECT value FROM meta WHERE key = ?", key)
	return v, err
}

// SetSetting writes a value of the drive's own settings; nil takes it away.
func (tx *Tx) SetSetting(key string, value []byte) error {
	if key == "" {
		return fmt.Errorf("set setting: %w", errors.Join(ErrInvalid, errors.New("empty key")))
	}
	tx.marked = true
	if value == nil {
		return tx.exec("DELETE FROM meta WHERE key = ?", key)
	}
	return tx.exec("INSERT OR REPLACE INTO meta(key, value) VALUES(?, ?)", key, value)
}
