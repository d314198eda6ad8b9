package integration

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// stressors are stress-ng's that work on files. Left out are those that sync every file system of the machine (io), and
// those for what the drive does not offer.
var stressors = strings.Fields(`access chdir chmod chown copy-file dentry dir dirdeep dirmany dup fallocate fcntl fiemap
	file-ioctl filename flock fpunch fstat getdent hdd inotify iomix lease link locka lockf lockofd mknod mmap
	msync open readahead rename revio seek sendfile splice symlink sync-file touch utime xattr`)

// What stress-ng ends with where it found nothing wrong, though perhaps nothing to do.
const (
	stressNoResource     = 3
	stressNotImplemented = 4
)

func TestStressNG(t *testing.T) {
	long(t)
	need(t, "stress-ng")
	f := mounted(t, "")
	for _, name := range stressors {
		t.Run(name, func(t *testing.T) {
			args := []string{"--" + name, "2", "--timeout", "5s", "--verify", "--temp-path", f.at}
			if name == "mmap" {
				args = append(args, "--mmap-file")
			}
			out, err := command("/", "stress-ng", args...).CombinedOutput()
			code := 0
			if exit, ok := err.(*exec.ExitError); ok {
				code, err = exit.ExitCode(), nil
			}
			must(t, err)
			if code != 0 && code != stressNoResource && code != stressNotImplemented {
				t.Errorf("exit %d:\n%s", code, firstLines(out))
			}
		})
	}
	f.settled()
	f.do("doctor")
}

func TestFioWithVerify(t *testing.T) {
	long(t)
	need(t, "fio")
	f := mounted(t, "")
	for name, options := range map[string]string{
		"random writes of odd sizes":  "--rw=randwrite --bsrange=512-128k --bs_unaligned=1",
		"random reads and writes":     "--rw=randrw --bs=4k",
		"writes in sequence":          "--rw=write --bs=64k --fsync=32",
		"writes through mapped pages": "--rw=randwrite --bs=4k --ioengine=mmap",
		"direct writes":               "--rw=randwrite --bs=16k --direct=1",
		"writes with fallocate":       "--rw=randwrite --bs=8k --fallocate=keep",
	} {
		t.Run(name, func(t *testing.T) {
			args := append(
				[]string{
					"--name=job", "--directory=" + f.at, "--size=64m", "--numjobs=2", "--group_reporting",
					"--verify=crc32c", "--verify_fatal=1", "--do_verify=1", "--verify_state_save=0", "--unlink=1",
				},
				strings.Fields(options)...,
			)
			sh(t, t.TempDir(), "fio", args...)
		})
	}
	f.settled()
}

func TestDbench(t *testing.T) {
	long(t)
	need(t, "dbench")
	f := mounted(t, "")
	dir := f.path("dbench")
	must(t, os.Mkdir(dir, 0o755))
	sh(t, dir, "dbench", "-D", dir, "-t", "30", "4")
	f.settled()
	f.do("doctor")
}
