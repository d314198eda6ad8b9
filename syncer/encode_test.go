package syncer

import (
	"bytes"
	"encoding/gob"
	"reflect"
	"testing"

	"vdfs/cache"
	"vdfs/syncer/plan"
)

// TestAWriteIsAnnouncedInAFormOfItsOwn compares with what an encoder makes that has made nothing before.
func TestAWriteIsAnnouncedInAFormOfItsOwn(t *testing.T) {
	t.Parallel()
	for _, w := range []write{
		{},
		{Op: plan.Op{Kind: plan.OpPut, Object: plan.File, Name: "any \xff\xfe bytes", Dentry: 7, After: plan.Binding{RemoteHash: "\x00\x80"}}, Hash: cache.Hash{1, 2, 255}},
		{Op: plan.Op{Kind: plan.OpReplace, Binding: 9}, Conflict: &plan.Conflict{Class: plan.ModifyOnModify, Winner: "r"}, Drift: true},
		{},
	} {
		got, err := w.encode()
		if err != nil {
			t.Fatal(err)
		}
		var alone bytes.Buffer
		if err := gob.NewEncoder(&alone).Encode(w); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, alone.Bytes()) {
			t.Errorf("%+v is announced as\n%x, want\n%x", w, got, alone.Bytes())
		}
		if back, err := decodeWrite(got); err != nil || !reflect.DeepEqual(back, w) {
			t.Errorf("%+v is read as %+v, %v", w, back, err)
		}
	}
}
