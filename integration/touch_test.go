package integration

import (
	"os"
	"testing"
	"time"
)

// TestATouchInTheDirectoryKeepsWhatIsHere gives files another time, or the same bytes once more, behind the drive: nothing of
// them has to come again, and against an edit it is no conflict.
func TestATouchInTheDirectoryKeepsWhatIsHere(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	names := []string{"read", "made here", "written anew", "edited"}
	for _, name := range names {
		if name != "made here" {
			write(t, f.behind(name), "the bytes of "+name)
		}
	}
	f.mount()
	write(t, f.path("made here"), "the bytes of made here")
	for _, name := range names {
		wants(t, f.path(name), "the bytes of "+name)
	}
	f.becomesFull(names)
	f.sync()

	f.do("pause")
	later := time.Unix(2_000_000_000, 0)
	for _, name := range names {
		if name == "written anew" {
			must(t, replace(f.behind(name), "the bytes of "+name))
		}
		must(t, os.Chtimes(f.behind(name), later, later))
	}
	write(t, f.path("edited"), "an edit of another length than what was there before")
	f.do("resume")
	f.settled()

	for i, is := range f.info(names...) {
		if is.Residency != "full" {
			t.Errorf("%s is %s after a touch", names[i], is.Residency)
		}
	}
	for _, name := range names[:3] {
		if at, err := os.Stat(f.path(name)); err != nil || !at.ModTime().Equal(later) {
			t.Errorf("%s does not have the time that it was given: %v, %v", name, at, err)
		}
	}
	wants(t, f.behind("edited"), "an edit of another length than what was there before")
	if extra := f.conflictFiles(f.dir, names...); len(extra) > 0 {
		t.Errorf("conflict files %q", extra)
	}
}
