package syncer

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"vdfs/syncer/remote"
	"vdfs/syncer/remote/faulty"
	"vdfs/syncer/remote/memory"
)

// drops has a file made, sent and deleted there again.
func (r *rig) drops(name, data string) {
	r.t.Helper()
	r.write(name, data)
	r.settle()
	r.remove(name)
	r.settle()
}

// keptNames are the paths of what is in an endpoint's trash.
func (r *rig) keptNames() string {
	return strings.Join(slices.Sorted(maps.Keys(r.keptThere(0))), " ")
}

func TestTheTrashOfAnEndpointIsKeptForATimeAndWithinASize(t *testing.T) {
	eachKept(t, plainSync, func(t *testing.T, r *rig, f *far) {
		r.e.TrashKept = 72 * time.Hour
		tidy := func(want string) {
			t.Helper()
			r.e.TidyTrash(t.Context())
			if got := r.keptNames(); got != want {
				t.Errorf("the trash has %q, want %q", got, want)
			}
		}
		r.drops("a", "old")
		r.stores[0].Age(48 * time.Hour)
		r.drops("b", "12345")
		tidy("a b")
		r.stores[0].Age(25 * time.Hour) // a is of three days ago now
		tidy("a b")                     // nothing says that it can come to something
		r.drops("c", "1234567")
		tidy("b c")
		r.e.TrashMost = 3
		r.stores[0].Age(2 * time.Hour)
		r.drops("d", "what went within the last day stays")
		tidy("c d")
		r.stores[0].Age(24 * time.Hour)
		r.drops("e", "likewise")
		tidy("e")
		wantTree(t, r.agree(), map[string]string{})
	})
}

func TestALargeTrashIsTidiedPageByPage(t *testing.T) {
	t.Parallel()
	r := newPolicyRig(t, plainSync, memory.New(memory.Options{PageSize: 7, Now: time.Now}))
	r.settle()
	for i := range 40 {
		r.write(fmt.Sprint(i), "12345")
	}
	r.settle()
	for i := range 40 {
		r.remove(fmt.Sprint(i))
	}
	r.settle()
	r.stores[0].Age(25 * time.Hour)
	r.e.TrashMost = 100
	r.e.TidyTrash(t.Context())
	if n := len(r.keptThere(0)); n != 20 {
		t.Errorf("%d versions of 5 bytes are left of 100 bytes", n)
	}
	uses, err := r.e.TrashUses(t.Context())
	r.must(err)
	if len(uses) != 1 || uses[0].Files != 20 || uses[0].Bytes != 100 || uses[0].Conduit != "home" || uses[0].Err != nil {
		t.Errorf("counted are %+v", uses)
	}
}

func TestATrashThatCannotBeTidiedIsTriedAgain(t *testing.T) {
	t.Parallel()
	r := newPolicyRig(t, plainSync, memory.New(memory.Options{Now: time.Now}))
	r.settle()
	r.drops("f", "x")
	r.stores[0].Age(31 * 24 * time.Hour)
	r.script.Add(faulty.Rule{Method: faulty.Purge, Nth: 1, Err: remote.ErrUnavailable})
	r.e.TidyTrash(t.Context())
	if got := r.keptNames(); got != "f" {
		t.Fatalf("the trash has %q", got)
	}
	r.must(r.e.Pause(0))
	r.e.TidyTrash(t.Context())
	if got := r.keptNames(); got != "f" {
		t.Errorf("during a pause it was emptied")
	}
	r.must(r.e.Resume())
	r.settle()
	r.e.TidyTrash(t.Context())
	if got := r.keptNames(); got != "" {
		t.Errorf("the trash still has %q", got)
	}
	r.stores[0].SetOffline(true)
	if err := r.alone(r.legs()[0]); !errors.Is(err, ErrUnreachable) {
		t.Fatal(err)
	}
	if uses, err := r.e.TrashUses(t.Context()); err != nil || len(uses) != 1 || !errors.Is(uses[0].Err, ErrUnreachable) {
		t.Errorf("of an endpoint that is away: %+v, %v", uses, err)
	}
}

// TestNothingThatIsLiveIsInATrashAlone gives a placeholder a name that is never sent, which deletes it at the endpoint.
func TestNothingThatIsLiveIsInATrashAlone(t *testing.T) {
	eachKept(t, Spec{Source: "drive:/", Target: "mem:0", Policy: PolicyOffload}, func(t *testing.T, r *rig, f *far) {
		r.write("f", "precious")
		r.settle()
		n := r.find("f").Node
		if _, err := r.c.Drop(n.Ino, n.Version); err != nil {
			t.Fatal(err)
		}
		r.move("f", "f~")
		r.settle()
		r.stores[0].Age(31 * 24 * time.Hour)
		r.e.TidyTrash(t.Context())
		if got := r.keptNames(); got != "" {
			t.Errorf("the trash has %q", got)
		}
		r.stores[0].SetOffline(true)
		r.has("f~", "precious")
	})
}

func TestTheOldestGoFirst(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	at := func(hours, size int) remote.Trashed {
		return remote.Trashed{Entry: remote.Entry{Size: int64(size)}, When: now.Add(-time.Duration(hours) * time.Hour)}
	}
	all := []remote.Trashed{at(1, 100), at(30, 5), at(40, 5), at(40, 5), at(50, 5), at(60, 0)}
	for excess, want := range map[int64][]int{
		-1: nil, 0: nil,
		1:   {4, 5},
		5:   {4, 5},
		6:   {2, 4, 5},
		11:  {2, 3, 4, 5},
		16:  {1, 2, 3, 4, 5},
		500: {1, 2, 3, 4, 5},
	} {
		sum := trashSum{hours: map[int64]int64{}, fresh: now.Add(-trashFresh)}
		for _, it := range all {
			sum.add(it)
		}
		var got []int
		if cut := sum.cut(excess); cut != nil {
			for i, it := range all {
				if cut(it) {
					got = append(got, i)
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("of %d bytes too much %v go, want %v", excess, got, want)
		}
	}
}
