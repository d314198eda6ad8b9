package integration

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Two users who share a group, and one who is in none of theirs.
var (
	ann  = user{uid: 11001, gid: 11001, groups: []uint32{12000}}
	bob  = user{uid: 11002, gid: 11002, groups: []uint32{12000}}
	carl = user{uid: 11003, gid: 11003}
)

const sharedGroup = 12000

type user struct {
	uid, gid uint32
	groups   []uint32
}

// as does something as another user, in a thread that ends with it.
func (u user) as(t *testing.T, do func() error) error {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is of no use to others any more
		done <- errors.Join(u.become(), do())
	}()
	return <-done
}

// become changes the user of this thread alone, which the functions of package syscall do not.
func (u user) become() error {
	groups := append([]uint32{u.gid}, u.groups...)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&groups[0])), 0); errno != 0 {
		return os.NewSyscallError("setgroups", errno)
	}
	gid, uid := uintptr(u.gid), uintptr(u.uid)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); errno != 0 {
		return os.NewSyscallError("setresgid", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); errno != 0 {
		return os.NewSyscallError("setresuid", errno)
	}
	return nil
}

// shared mounts a drive that other users may enter, with a directory of ann's.
func shared(t *testing.T, options ...string) (f *fixture, home string) {
	t.Helper()
	f = newFixture(t, "")
	for dir := f.at; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755)) // temporary directories are their owner's alone
	}
	f.do(append([]string{"mount", f.at, "--from", f.dir}, options...)...)
	home = f.path("ann")
	must(t, os.Mkdir(home, 0o755))
	must(t, os.Chown(home, int(ann.uid), int(ann.gid)))
	return f, home
}

// modeOf is a file's permission bits, set-id and sticky bits included.
func modeOf(t *testing.T, path string) uint32 {
	t.Helper()
	return statOf(t, path).Mode & 0o7777
}

func statOf(t *testing.T, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	return st
}

// try is one operation of a user and the error it must have; nil: none.
type try struct {
	name string
	by   user
	do   func() error
	want error
}

func (c try) run(t *testing.T) {
	t.Helper()
	if err := c.by.as(t, c.do); !errors.Is(err, c.want) {
		t.Errorf("%s: %v, want %v", c.name, err, c.want)
	}
}

func opens(path string, flags int) func() error {
	return func() error {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	}
}

func TestWithoutAllowOtherTheDriveIsItsOwnersAlone(t *testing.T) {
	t.Parallel()
	needRoot(t, "act as several users")
	f, _ := shared(t)
	must(t, os.Chmod(f.at, 0o777))
	try{"another user lists the drive", bob, opens(f.at, unix.O_RDONLY|unix.O_DIRECTORY), unix.EACCES}.run(t)
}

func TestPermissionsOfSeveralUsers(t *testing.T) {
	t.Parallel()
	needRoot(t, "act as several users")
	_, home := shared(t, "--allow-other")
	at := func(name string) string { return filepath.Join(home, name) }
	file := func(name string, mode uint32, gid int) {
		t.Helper()
		must(t, os.WriteFile(at(name), []byte(name), 0o600))
		must(t, os.Chown(at(name), int(ann.uid), gid))
		must(t, unix.Chmod(at(name), mode))
	}
	file("private", 0o600, int(ann.gid))
	file("public", 0o644, int(ann.gid))
	file("of the group", 0o660, sharedGroup)
	file("not for the group", 0o604, sharedGroup)
	must(t, os.Mkdir(at("closed"), 0o700))
	must(t, os.WriteFile(at("closed/in"), nil, 0o666))
	must(t, os.Mkdir(at("no listing"), 0o711))
	must(t, os.WriteFile(at("no listing/in"), nil, 0o644))
	must(t, os.Mkdir(at("sticky"), 0o777))
	must(t, unix.Chmod(at("sticky"), 0o1777))
	must(t, ann.as(t, func() error { return os.WriteFile(at("sticky/of ann"), nil, 0o666) }))
	must(t, os.Mkdir(at("open"), 0o777))
	must(t, unix.Chmod(at("open"), 0o777))
	must(t, ann.as(t, func() error { return os.WriteFile(at("open/of ann"), nil, 0o600) }))

	for _, c := range []try{
		{"the owner reads", ann, opens(at("private"), unix.O_RDWR), nil},
		{"another reads what is private", bob, opens(at("private"), unix.O_RDONLY), unix.EACCES},
		{"another reads what is public", bob, opens(at("public"), unix.O_RDONLY), nil},
		{"another writes what is public", bob, opens(at("public"), unix.O_WRONLY), unix.EACCES},
		{"another truncates what is public", bob, func() error { return os.Truncate(at("public"), 0) }, unix.EACCES},
		{"a member writes what is the group's", bob, opens(at("of the group"), unix.O_RDWR), nil},
		{"no member writes what is the group's", carl, opens(at("of the group"), unix.O_RDWR), unix.EACCES},
		{"a member reads what all but the group may", bob, opens(at("not for the group"), unix.O_RDONLY), unix.EACCES},
		{"no member reads what all but the group may", carl, opens(at("not for the group"), unix.O_RDONLY), nil},
		{"another enters a closed directory", bob, opens(at("closed/in"), unix.O_RDONLY), unix.EACCES},
		{"another goes through a directory without listing", bob, opens(at("no listing/in"), unix.O_RDONLY), nil},
		{"another lists a directory without listing", bob, opens(at("no listing"), unix.O_RDONLY|unix.O_DIRECTORY), unix.EACCES},
		{"another makes a file", bob, opens(at("new"), unix.O_RDWR|unix.O_CREAT), unix.EACCES},
		{"another removes from a sticky directory", bob, func() error { return os.Remove(at("sticky/of ann")) }, unix.EPERM},
		{"another renames in a sticky directory", bob, func() error { return os.Rename(at("sticky/of ann"), at("sticky/x")) }, unix.EPERM},
		{"another makes in a sticky directory", bob, opens(at("sticky/of bob"), unix.O_RDWR|unix.O_CREAT), nil},
		{"another renames over in a sticky directory", bob, func() error { return os.Rename(at("sticky/of bob"), at("sticky/of ann")) }, unix.EPERM},
		{"the owner removes from a sticky directory", ann, func() error { return os.Remove(at("sticky/of ann")) }, nil},
		{"another removes from an open directory", bob, func() error { return os.Remove(at("open/of ann")) }, nil},
		{"another changes the mode", bob, func() error { return unix.Chmod(at("public"), 0o666) }, unix.EPERM},
		{"the owner changes the mode", ann, func() error { return unix.Chmod(at("public"), 0o666) }, nil},
		{"the owner gives a file away", ann, func() error { return os.Chown(at("public"), int(bob.uid), -1) }, unix.EPERM},
		{"the owner gives a file to a group that is hers", ann, func() error { return os.Chown(at("public"), -1, sharedGroup) }, nil},
		{"the owner gives a file to a group that is not hers", ann, func() error { return os.Chown(at("public"), -1, int(carl.gid)) }, unix.EPERM},
		{"who may write sets the times to now", bob, func() error { return unix.UtimesNanoAt(unix.AT_FDCWD, at("public"), nil, 0) }, nil},
		{"who may write sets other times", bob, func() error { return unix.Utimes(at("public"), make([]unix.Timeval, 2)) }, unix.EPERM},
		{"the owner sets other times", ann, func() error { return unix.Utimes(at("public"), make([]unix.Timeval, 2)) }, nil},
		{"the owner sets an attribute", ann, func() error { return unix.Setxattr(at("private"), "user.a", []byte("1"), 0) }, nil},
		{"another reads an attribute of what is private", bob, func() error { _, err := unix.Getxattr(at("private"), "user.a", nil); return err }, unix.EACCES},
		{"another makes a device", bob, func() error { return unix.Mknod(at("open/null"), unix.S_IFCHR|0o666, 0x103) }, unix.EPERM},
	} {
		c.run(t)
	}
}

func TestNewFilesInADirectoryWithTheSetGroupBitHaveItsGroup(t *testing.T) {
	t.Parallel()
	needRoot(t, "act as several users")
	_, home := shared(t, "--allow-other")
	must(t, os.Chown(home, int(ann.uid), sharedGroup))
	must(t, unix.Chmod(home, 0o2775))
	file, dir := filepath.Join(home, "file"), filepath.Join(home, "dir")
	must(t, bob.as(t, func() error { return errors.Join(opens(file, unix.O_RDWR|unix.O_CREAT)(), unix.Mkdir(dir, 0o755)) }))
	if st := statOf(t, file); st.Uid != bob.uid || st.Gid != sharedGroup || st.Mode&unix.S_ISGID != 0 {
		t.Errorf("the file is %d:%d with mode %o", st.Uid, st.Gid, st.Mode)
	}
	if st := statOf(t, dir); st.Gid != sharedGroup || st.Mode&unix.S_ISGID == 0 {
		t.Errorf("the directory is of the group %d with mode %o", st.Gid, st.Mode)
	}
}

func TestSetIdBitsGoWhenAnotherChangesTheFile(t *testing.T) {
	t.Parallel()
	needRoot(t, "act as several users")
	_, home := shared(t, "--allow-other")
	path := filepath.Join(home, "program")
	open := func(flags int, use func(fd int) error) func() error {
		return func() error {
			fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			return errors.Join(use(fd), unix.Close(fd))
		}
	}
	nothing := func(int) error { return nil }
	for _, c := range []struct {
		name string
		by   user
		do   func() error
		// want is what is left of 06777.
		want uint32
	}{
		{"another writes", bob, open(unix.O_WRONLY, func(fd int) error { _, err := unix.Write(fd, []byte("x")); return err }), 0o777},
		{"another appends", bob, open(unix.O_WRONLY|unix.O_APPEND, func(fd int) error { _, err := unix.Write(fd, []byte("x")); return err }), 0o777},
		{"another truncates by name", bob, func() error { return unix.Truncate(path, 1) }, 0o777},
		{"another truncates what is open", bob, open(unix.O_WRONLY, func(fd int) error { return unix.Ftruncate(fd, 2) }), 0o777},
		{"another opens with O_TRUNC to write", bob, open(unix.O_WRONLY|unix.O_TRUNC, nothing), 0o777},
		{"another opens with O_TRUNC to read", bob, open(unix.O_RDONLY|unix.O_TRUNC, nothing), 0o777},
		{"another allocates", bob, open(unix.O_WRONLY, func(fd int) error { return unix.Fallocate(fd, 0, 0, 10) }), 0o777},
		{"another only opens to write", bob, open(unix.O_WRONLY, nothing), 0o6777},
		{"the owner writes", ann, open(unix.O_WRONLY, func(fd int) error { _, err := unix.Write(fd, []byte("x")); return err }), 0o777},
		{"the owner changes the group", ann, func() error { return unix.Chown(path, -1, sharedGroup) }, 0o777},
		{"the owner changes nothing", ann, func() error { return unix.Chown(path, -1, -1) }, 0o777},
		{"the owner changes the times", ann, func() error { return unix.UtimesNanoAt(unix.AT_FDCWD, path, nil, 0) }, 0o6777},
		{"another reads", bob, open(unix.O_RDONLY, func(fd int) error { _, err := unix.Read(fd, make([]byte, 1)); return err }), 0o6777},
	} {
		must(t, os.WriteFile(path, []byte("text"), 0o600))
		must(t, os.Chown(path, int(ann.uid), int(ann.gid)))
		must(t, unix.Chmod(path, 0o6777))
		if err := c.by.as(t, c.do); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if mode := modeOf(t, path); mode != c.want {
			t.Errorf("%s: mode %o, want %o", c.name, mode, c.want)
		}
	}

	// root may change a program without making it another.
	must(t, unix.Chmod(path, 0o6777))
	must(t, open(unix.O_WRONLY, func(fd int) error { _, err := unix.Write(fd, []byte("x")); return err })())
	if mode := modeOf(t, path); mode != 0o6777 {
		t.Errorf("root writes: mode %o", mode)
	}
	// chown takes them away for everybody, from whatever is no directory.
	for _, name := range []string{"program", "fifo", "dir"} {
		path := filepath.Join(home, name)
		want := uint32(0o777)
		switch name {
		case "fifo":
			must(t, unix.Mkfifo(path, 0))
		case "dir":
			must(t, os.Mkdir(path, 0))
			want = 0o6777
		}
		must(t, unix.Chmod(path, 0o6777))
		must(t, unix.Chown(path, int(bob.uid), -1))
		if mode := modeOf(t, path); mode != want {
			t.Errorf("root gives the %s away: mode %o, want %o", name, mode, want)
		}
	}
}

func TestSetGroupBitIsRefusedToWhoIsNotInTheGroup(t *testing.T) {
	t.Parallel()
	needRoot(t, "act as several users")
	_, home := shared(t, "--allow-other")
	path := filepath.Join(home, "program")
	must(t, os.WriteFile(path, nil, 0o755))
	must(t, os.Chown(path, int(ann.uid), int(carl.gid)))
	must(t, ann.as(t, func() error { return unix.Chmod(path, 0o2755) }))
	if mode := modeOf(t, path); mode != 0o755 {
		t.Errorf("a stranger to the group made the mode %o", mode)
	}
	must(t, os.Chown(path, -1, sharedGroup))
	must(t, ann.as(t, func() error { return unix.Chmod(path, 0o2755) }))
	if mode := modeOf(t, path); mode != 0o2755 {
		t.Errorf("a member of the group made the mode %o", mode)
	}
}
