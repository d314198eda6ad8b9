package cache
import ("testing";"time")
func TestZ(t *testing.T) {
	x := newIndexTest(t)
	x.touch(RootIno, "f")
	tm := func(label string) {
		x.update(0, func(tx *Tx) error { tx.EntryAt(RootIno,"f"); t0:=time.Now(); for range 2000 { tx.EntryAt(RootIno, "f") }; t.Log(label, time.Since(t0)/2000); return nil })
	}
	x.read(func(tx *Tx) error { return tx.query("PRAGMA compile_options", func(r *row) { t.Log(r.str()) }) })
	tm("before")
	for _, ix := range []string{"nodes_unlisted","nodes_orphan","nodes_writing","dentries_intent"} {
		x.no(x.writer.conn.script("DROP INDEX "+ix)); tm(ix)
	}
	for _, q := range []string{
		"SELECT d.id, n.kind FROM dentries d JOIN nodes n ON n.ino = d.ino WHERE d.parent = ? AND d.name = ?",
		"SELECT d.id, n.kind FROM dentries d CROSS JOIN nodes n ON n.ino = d.ino WHERE d.parent = ? AND d.name = ?",
		"SELECT d.id, n.kind FROM dentries d INDEXED BY dentries_name CROSS JOIN nodes n ON n.ino = d.ino WHERE d.parent = ? AND d.name = ?",
	} {
		x.update(0, func(tx *Tx) error { t0:=time.Now(); for range 2000 { tx.query(q, func(*row){}, 1, []byte("f")) }; t.Log(q, time.Since(t0)/2000); return nil })
	}
}
