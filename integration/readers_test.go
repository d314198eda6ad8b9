package integration

import (
	"bytes"
	"errors"
	"fmt"
	pictures "image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vdfs/integration/drive"
)

// head is what a thumbnailer gets of a file that is not here.
const head = 64 << 10

// as copies a program to another name, so that vdfs takes it for another.
func as(t *testing.T, program, name string) string {
	t.Helper()
	from, err := exec.LookPath(program)
	must(t, err)
	data, err := os.ReadFile(from)
	must(t, err)
	to := filepath.Join(t.TempDir(), name)
	must(t, os.WriteFile(to, data, 0o755))
	return to
}

// random is n bytes that no two files have in common.
func random(n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	return data
}

// why asks about one file.
func (f *fixture) why(name string) drive.Why {
	f.t.Helper()
	var whys []drive.Why
	must(f.t, f.JSON(&whys, "why", "--json", "--", f.path(name)))
	if len(whys) != 1 {
		f.t.Fatalf("why of one path has %d answers", len(whys))
	}
	return whys[0]
}

// becomesHead waits until the head of a file is here, as the index knows a moment later, and demands that nothing else is.
func (f *fixture) becomesHead(name string) {
	f.t.Helper()
	eventually(f.t, "the head of "+name+" is here", func() bool {
		i := f.info(name)[0]
		return i.Residency == "partial" && i.OpenHandles == 0
	})
	if i := f.info(name)[0]; i.LocalBytes != head || i.Size <= head {
		f.t.Errorf("after a thumbnailer %d of %d bytes of %s are here, want %d", i.LocalBytes, i.Size, name, head)
	}
}

// limited runs a program that prints a file and demands that it got the head and then a refusal.
func limited(t *testing.T, program, path string, data []byte) {
	t.Helper()
	cmd := command("/", program, path)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(stderr.String(), "not permitted") {
		t.Fatalf("%s: %v, %s; want that it is not permitted", program, err, &stderr)
	}
	if !bytes.Equal(stdout.Bytes(), data[:head]) {
		t.Fatalf("%s got %d bytes before the refusal, want the first %d", program, stdout.Len(), head)
	}
}

func TestAThumbnailerGetsTheHeadOnly(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	data := random(1 << 20)
	must(t, os.WriteFile(f.behind("film"), data, 0o644))
	small := random(head)
	must(t, os.WriteFile(f.behind("small"), small, 0o644))
	f.mount()
	thumbnailer := as(t, "cat", "ffmpegthumbnailer")

	limited(t, thumbnailer, f.path("film"), data)
	f.becomesHead("film")
	if w := f.why("film"); w.Fetched == nil || w.Fetched.Program != "ffmpegthumbnailer" || w.Fetched.Class != "thumbnailer" {
		t.Errorf("why after the thumbnailer: %+v", w.Fetched)
	}
	if out := sh(t, "/", "cat", f.path("film")); out != string(data) {
		t.Fatalf("right after the thumbnailer cat reads %d bytes that are not the file's", len(out))
	}
	f.becomesFull([]string{"film"})
	if w := f.why("film"); w.Fetched == nil || w.Fetched.Program != "cat" || w.Fetched.Class != "person" {
		t.Errorf("why after cat: %+v", w.Fetched)
	}
	if out := sh(t, "/", thumbnailer, f.path("film")); out != string(data) {
		t.Error("of a file that is here the thumbnailer does not get everything")
	}
	if out := sh(t, "/", thumbnailer, f.path("small")); out != string(small) {
		t.Error("of a file that is no larger than the head the thumbnailer does not get everything")
	}
	if out := f.do("why", f.path("film")); !strings.Contains(out, "for cat (person)") || !strings.Contains(out, "an endpoint proves first") {
		t.Errorf("vdfs why says %q", out)
	}
	f.settled()
}

func TestARealThumbnailer(t *testing.T) {
	t.Parallel()
	need(t, "gdk-pixbuf-thumbnailer")
	f := newFixture(t, "")
	picture := func(name string, side int) {
		m := pictures.NewGray(pictures.Rect(0, 0, side, side))
		for i := range m.Pix {
			m.Pix[i] = color.Gray{Y: uint8(rand.Uint32())}.Y // noise, which packs into nothing
		}
		file, err := os.Create(f.behind(name))
		must(t, err)
		must(t, errors.Join(png.Encode(file, m), file.Close()))
	}
	picture("large.png", 1000)
	picture("small.png", 200)
	f.mount()
	thumbnail := func(name string) ([]byte, error) {
		to := filepath.Join(t.TempDir(), "thumbnail.png")
		out, err := command("/", "gdk-pixbuf-thumbnailer", "-s", "64", f.path(name), to).CombinedOutput()
		if err != nil {
			return out, err
		}
		file, err := os.Open(to)
		must(t, err)
		defer file.Close()
		m, err := png.Decode(file)
		must(t, err)
		if m.Bounds().Dx() != 64 {
			t.Errorf("the thumbnail of %s is %v", name, m.Bounds())
		}
		return out, nil
	}
	// It makes of the head what it can, or fails.
	out, err := thumbnail("large.png")
	t.Logf("the thumbnailer of the head: %v, %s", err, out)
	f.becomesHead("large.png")
	if out, err := thumbnail("small.png"); err != nil {
		t.Errorf("a picture that is no larger than the head has no thumbnail: %v, %s", err, out)
	}
	sh(t, "/", "cat", f.path("large.png"))
	if out, err := thumbnail("large.png"); err != nil {
		t.Errorf("a picture that is here has no thumbnail: %v, %s", err, out)
	}
}

func TestWhatAShellStartsIsNeverLimited(t *testing.T) {
	t.Parallel()
	need(t, "tar")
	f := newFixture(t, "")
	for i := range 10 {
		data := append(random(300<<10), fmt.Sprintf("\nneedle %d\n", i)...)
		must(t, os.WriteFile(f.behind(fmt.Sprint(i)), data, 0o644))
	}
	f.mount()
	// Sparse: what is not here must not be taken for zeros.
	to := t.TempDir()
	sh(t, f.at, "tar", "-cSf", filepath.Join(to, "tar"), "0", "1")
	sh(t, to, "tar", "-xf", "tar")
	for _, name := range []string{"0", "1"} {
		if read(t, filepath.Join(to, name)) != read(t, f.behind(name)) {
			t.Errorf("tar -S of %s that is not here has other bytes", name)
		}
	}
	if out := sh(t, f.at, "sh", "-c", "grep -ra needle . | wc -l"); strings.TrimSpace(out) != "10" {
		t.Errorf("grep -r finds %q, want 10 lines", out)
	}
	f.settled()
}

func TestThePersonsOwnListsOfPrograms(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	data := random(1 << 20)
	for _, name := range []string{"a", "b"} {
		must(t, os.WriteFile(f.behind(name), data, 0o644))
	}
	write(t, filepath.Join(f.Home, "config.toml"), `
[hydrate]
deny = ["virus*"]
allow = ["ffmpegthumbnailer"]
[mount]
subtype = "mydrive"
markers = [".trackerignore"]
`)
	f.mount()
	limited(t, as(t, "cat", "virusscanner"), f.path("a"), data)
	if out := sh(t, "/", as(t, "cat", "ffmpegthumbnailer"), f.path("b")); out != string(data) {
		t.Error("a program that is allowed does not get everything")
	}
	if mounts := read(t, "/proc/self/mounts"); !strings.Contains(mounts, f.at+" fuse.mydrive ") {
		t.Error("the subtype of the mount is not what the configuration says")
	}
	if _, err := os.Lstat(f.path(".trackerignore")); err != nil {
		t.Errorf("the marker is not found: %v", err)
	}
	f.settled()
	absent(t, f.behind(".trackerignore"))
	write(t, f.path(".trackerignore"), "")
	f.settled()
	wants(t, f.behind(".trackerignore"), "")
}

func TestAnOnlineFileBecomesAutoWhenAPersonOpensIt(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	data := random(200 << 10)
	for _, name := range []string{"crawled", "opened"} {
		must(t, os.WriteFile(f.behind(name), data, 0o644))
	}
	f.mount()
	for _, name := range []string{"crawled", "opened"} {
		must(t, unix.Setxattr(f.path(name), "user.vdfs.pin", []byte("online"), 0))
	}
	limited(t, as(t, "cat", "tumblerd"), f.path("crawled"), data)
	sh(t, "/", "cat", f.path("opened"))
	eventually(t, "the file that was opened is auto", func() bool { return f.info("opened")[0].Pin == "auto" })
	if i := f.info("crawled")[0]; i.Pin != "online" {
		t.Errorf("a file that a thumbnailer opened is %s", i.Pin)
	}
}

func TestWhySaysWhatAFileWaitsFor(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	must(t, os.MkdirAll(f.behind("keep/sub"), 0o755))
	write(t, f.behind("keep/sub/file"), "pinned by what is above")
	f.mount()
	f.do("pin", "--wait", f.path("keep"))
	if w := f.why("keep/sub/file"); w.PinnedBy != "/keep" || len(w.Kept) != 1 || w.Kept[0] != "is pinned" || w.Fetched == nil || w.Fetched.Program != "vdfs pin" {
		t.Errorf("why of a pinned file: %+v, fetched %+v", w, w.Fetched)
	}
	f.do("pause")
	write(t, f.path("unsent"), "nobody else has this")
	eventually(t, "its item is there", func() bool { return len(f.why("unsent").Waits) == 1 })
	if w := f.why("unsent"); len(w.Kept) == 0 || w.Fetched != nil || w.Waits[0].Conduit != "home" || w.Waits[0].Operation != "create" {
		t.Errorf("why of a file that is not sent: %+v", w)
	}
	if r := f.run("why", f.path("none")); r.Code == 0 {
		t.Errorf("why of what is not there: %s", r)
	}
	f.do("resume")
	f.settled()
	if w := f.why("unsent"); len(w.Waits) != 0 || len(w.Kept) != 0 {
		t.Errorf("why of a file that was sent: %+v", w)
	}
}

func TestAProgramThatCrawlsIsReported(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	for i := range 300 {
		write(t, f.behind(fmt.Sprintf("%03d", i)), "text")
	}
	f.mount()
	sh(t, f.at, "sh", "-c", "cat 00* >/dev/null")
	if notes := f.status().Notes; len(notes) != 0 {
		t.Fatalf("before anything crawls: %q", notes)
	}
	crawler := as(t, "cat", "recollindex")
	sh(t, f.at, "sh", "-c", crawler+" 0* 10* >/dev/null")
	notes := f.status().Notes
	if len(notes) != 0 {
		t.Fatalf("100 files are too few, but %q", notes)
	}
	sh(t, f.at, "sh", "-c", crawler+" 1* 2* >/dev/null")
	notes = f.status().Notes
	if len(notes) != 1 || !strings.Contains(notes[0], "recollindex (indexer)") || !strings.Contains(f.Log(), "recollindex") {
		t.Fatalf("notes %q", notes)
	}
}
