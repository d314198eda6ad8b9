package fs

import (
	"os"
	"os/exec"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"vdfs/cache"
)

func withMarkers(o *Options) { o.Markers = []string{".nomedia", ".trackerignore"} }

func (e *env) names() (names []string) {
	e.t.Helper()
	entries, err := os.ReadDir(e.mnt)
	must(e.t, err)
	for _, d := range entries {
		names = append(names, d.Name())
	}
	return names
}

func TestAMarkerIsFoundAndNotThere(t *testing.T) {
	t.Parallel()
	e := mounted(t, withMarkers)
	must(t, os.Mkdir(e.path("dir"), 0o755))
	for _, name := range []string{".nomedia", ".trackerignore"} {
		if st := e.stat(name); st.Mode != unix.S_IFREG|0o644 || st.Size != 0 || st.Nlink != 1 {
			t.Errorf("%s: mode %o, size %d, %d links", name, st.Mode, st.Size, st.Nlink)
		}
		e.wantContent(name, nil)
		must(t, exec.Command("cp", "-a", e.path(name), e.path("copy")).Run())
		must(t, os.Remove(e.path("copy")))
	}
	for _, name := range []string{".other", "dir/.nomedia"} {
		_, err := os.Lstat(e.path(name))
		wantErrno(t, err, unix.ENOENT)
	}
	wantErrno(t, os.Remove(e.path(".nomedia")), unix.ENOENT)
	if got := e.names(); !slices.Equal(got, []string{"dir"}) {
		t.Errorf("the root lists %q", got)
	}
	if _, err := e.cache.Lookup(cache.RootIno, ".nomedia"); err == nil {
		t.Error("the marker is in the index, and would be sent")
	}
}

func TestWithoutMarkersNothingIsFound(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	_, err := os.Lstat(e.path(".nomedia"))
	wantErrno(t, err, unix.ENOENT)
}

func TestAMarkerHidesNoRealFile(t *testing.T) {
	t.Parallel()
	e := mounted(t, withMarkers)
	e.stat(".nomedia")
	e.placeholder(cache.RootIno, ".nomedia", []byte("from elsewhere"))
	e.wantContent(".nomedia", []byte("from elsewhere"))
	must(t, os.Remove(e.path(".nomedia")))
	e.wantContent(".nomedia", nil)
}

func TestWritingToAMarkerMakesARealFile(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(e *env, path string) error{
		"open":   func(_ *env, path string) error { return os.WriteFile(path, []byte("mine"), 0o644) },
		"cp":     func(e *env, path string) error { return exec.Command("cp", e.path("source"), path).Run() },
		"mv":     func(e *env, path string) error { return os.Rename(e.path("source"), path) },
		"append": func(_ *env, path string) error { return exec.Command("sh", "-c", "printf mine >>"+path).Run() },
		"touch, then open": func(_ *env, path string) error {
			if err := exec.Command("touch", path).Run(); err != nil {
				return err
			}
			return os.WriteFile(path, []byte("mine"), 0o644)
		},
		"chmod, then open": func(_ *env, path string) error {
			if err := os.Chmod(path, 0o600); err != nil {
				return err
			}
			return os.WriteFile(path, []byte("mine"), 0o644)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := mounted(t, withMarkers)
			e.write("source", []byte("mine"))
			e.stat(".nomedia")
			before := e.names()
			must(t, write(e, e.path(".nomedia")))
			e.wantContent(".nomedia", []byte("mine"))
			if got := e.names(); !slices.Contains(got, ".nomedia") || slices.Contains(before, ".nomedia") {
				t.Errorf("the root lists %q", got)
			}
			if _, err := e.cache.Lookup(cache.RootIno, ".nomedia"); err != nil {
				t.Error(err)
			}
		})
	}
}
