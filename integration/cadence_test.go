package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/prop"

	"vdfs/integration/drive"
)

// conduitStatus is one conduit of the status.
func (f *fixture) conduitStatus(name string) drive.Conduit {
	f.t.Helper()
	for _, c := range f.status().Conduits {
		if c.Name == name {
			return c
		}
	}
	f.t.Fatalf("there is no conduit %s", name)
	return drive.Conduit{}
}

// task is one task of the status; false: it is not done.
func (f *fixture) task(name string) (drive.Task, bool) {
	f.t.Helper()
	all := f.status().Tasks
	i := slices.IndexFunc(all, func(k drive.Task) bool { return k.Name == name })
	if i < 0 {
		return drive.Task{}, false
	}
	return all[i], true
}

// batches is a drive whose root works instantly, with a second place in runs, and the storage of that.
func batches(t *testing.T, cadence string) (f *fixture, storage string) {
	t.Helper()
	f = newFixture(t, "")
	storage = f.dir + "-runs"
	must(t, os.Mkdir(storage, 0o755))
	f.mount()
	f.do("conduit", "create", "runs", "--source", "drive:/Runs", "--target", storage, "--policy", "offload", "--cadence", cadence)
	return f, storage
}

// passes makes a change that goes instantly, each way: whatever else would, has had its time when it has arrived.
func (f *fixture) passes(name string) {
	f.t.Helper()
	write(f.t, f.path(name), "instantly")
	eventually(f.t, "a change is sent instantly", func() bool { return holds(f.behind(name), "instantly") })
	write(f.t, f.behind(name), "and back again")
	eventually(f.t, "a change is taken in instantly", func() bool { return holds(f.path(name), "and back again") })
}

func TestAManualConduitWaitsForVdfsSync(t *testing.T) {
	t.Parallel()
	f, storage := batches(t, "Manual")
	write(t, filepath.Join(storage, "old"), "was there")
	write(t, filepath.Join(storage, "edited"), "was there")
	wants(t, f.path("Runs", "old"), "was there") // who looks and reads is served
	f.do("sync", "runs", "--wait", "--timeout", "60s")

	write(t, f.path("Runs", "mine"), "made here")
	write(t, filepath.Join(storage, "theirs"), "made there")
	write(t, filepath.Join(storage, "edited"), "edited there, and longer")
	f.passes("one")
	absent(t, filepath.Join(storage, "mine"))
	absent(t, f.path("Runs", "theirs"))
	c := f.conduitStatus("runs")
	if c.State != "idle" || c.Cadence != "manual" || c.PendingLocal != 1 || c.NextSync != nil || !strings.Contains(c.Message, "1 change waits for `vdfs sync`") {
		t.Errorf("it stands %+v", c)
	}
	if i := f.info("Runs/mine")[0]; i.Sync != "pending" {
		t.Errorf("what waits is %+v", i)
	}
	if out := f.do("conduit", "show", "runs"); !strings.Contains(out, "manual") {
		t.Errorf("shown is\n%s", out)
	}
	// A file that the storage has another version of is brought up to date for its reader, and nothing else is.
	eventually(t, "the reader gets what is there", func() bool { return holds(f.path("Runs", "edited"), "edited there, and longer") })
	absent(t, f.path("Runs", "theirs"))

	must(t, f.Kill())
	f.mount()
	f.passes("two")
	absent(t, filepath.Join(storage, "mine"))
	if c := f.conduitStatus("runs"); c.PendingLocal != 1 {
		t.Errorf("after a restart it stands %+v", c)
	}
	f.do("sync") // who does not wait has all of it done, too
	eventually(t, "what was made here is there", func() bool { return holds(filepath.Join(storage, "mine"), "made here") })
	eventually(t, "what was made there is here", func() bool { return holds(f.path("Runs", "theirs"), "made there") })
	eventually(t, "it is over", func() bool { c := f.conduitStatus("runs"); return c.State == "idle" && c.PendingLocal == 0 })
	if c := f.conduitStatus("runs"); c.Triggers["request"] == 0 || c.Triggers["change"]+c.Triggers["watcher"]+c.Triggers["timer"] != 0 {
		t.Errorf("it was begun by %v", c.Triggers)
	}
	// Nothing is unmounted with --wait that is not sent.
	write(t, f.path("Runs", "last"), "made here")
	f.do("unmount", f.at, "--wait")
	wants(t, filepath.Join(storage, "last"), "made here")
}

func TestAnIntervalConduitCatchesUpAfterItWasOff(t *testing.T) {
	t.Parallel()
	f, storage := batches(t, "interval:1s")
	runs := func() int64 { k, _ := f.task("sync runs"); return k.Executions }
	write(t, filepath.Join(storage, "theirs"), "made there")
	write(t, f.path("Runs", "mine"), "made here")
	eventually(t, "a run takes everything both ways", func() bool {
		return holds(filepath.Join(storage, "mine"), "made here") && holds(f.path("Runs", "theirs"), "made there")
	})
	eventually(t, "there is a third run", func() bool { return runs() >= 3 })
	k, _ := f.task("sync runs")
	if k.Successes == 0 || k.Errors != 0 || k.Average <= 0 || k.Last == nil {
		t.Errorf("counted %+v", k)
	}
	c := f.conduitStatus("runs")
	if c.Triggers["schedule"] == 0 || c.NextSync == nil && c.State == "idle" && f.conduitStatus("runs").NextSync == nil {
		t.Errorf("it stands %+v", c)
	}

	f.do("conduit", "edit", "runs", "--cadence", "Hourly")
	f.do("sync", "--wait", "--timeout", "60s")
	if c := f.conduitStatus("runs"); c.Cadence != "interval:1h" || c.NextSync == nil {
		t.Errorf("it stands %+v", c)
	}
	write(t, f.path("Runs", "later"), "made here")
	f.passes("one")
	absent(t, filepath.Join(storage, "later"))

	// It is off for three hours: what was missed is made up for, once.
	must(t, f.Kill())
	ahead := filepath.Join(t.TempDir(), "ahead")
	write(t, ahead, "3h")
	f.Env = append(f.Env, "VDFS_FAULT_CLOCK="+ahead)
	f.mount()
	eventually(t, "the missed run is made up for", func() bool { return holds(filepath.Join(storage, "later"), "made here") })
	eventually(t, "it is over", func() bool { k, _ := f.task("sync runs"); return k.Executions == 1 && !k.Running })
	f.passes("two")
	c = f.conduitStatus("runs")
	if c.NextSync == nil {
		t.Fatalf("it stands %+v", c)
	}
	next, err := time.Parse(time.RFC3339, *c.NextSync)
	must(t, err)
	if in := next.Sub(time.Now().Add(3 * time.Hour)); in < 50*time.Minute || in > time.Hour+time.Second {
		t.Errorf("the next run is in %v", in)
	}
	if n := runs(); n != 1 {
		t.Errorf("there were %d runs", n)
	}
}

func TestTheStatusTellsWhyAndHowOftenSomethingIsDone(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	write(t, filepath.Join(f.Home, "config.toml"), "[offload]\nfree_low = 0\n[sync]\ninterval = \"1s\"\n")
	f.do("unmount", f.at)
	f.mount()
	f.passes("file")
	f.sync()
	told := 0
	for _, why := range []string{"timer", "change", "watcher", "request"} {
		eventually(t, "it is begun by "+why, func() bool {
			told++ // each time something else may come before it
			switch why {
			case "watcher":
				write(t, f.behind("theirs"), fmt.Sprint(told))
			case "change":
				write(t, f.path("mine"), fmt.Sprint(told))
			}
			return f.conduitStatus("home").Triggers[why] > 0
		})
	}
	for _, name := range []string{"sync home", "purge", "purge trash", "back up index", "checkpoint"} {
		if k, ok := f.task(name); !ok || k.Executions == 0 || k.Errors != 0 {
			t.Errorf("%s: %+v", name, k)
		}
	}
	out := f.do("status", "-v")
	for _, word := range []string{"BEGUN BY", "TASK", "sync home", "purge", "instant"} {
		if !strings.Contains(out, word) {
			t.Errorf("it does not say %q:\n%s", word, out)
		}
	}
	// The health check finds out by itself that a storage is away, also where nothing else looks.
	f.do("conduit", "edit", "home", "--cadence", "manual")
	must(t, os.Rename(f.dir, f.dir+"-away"))
	eventually(t, "it is seen to be away", func() bool { return f.conduitStatus("home").State == "offline" })
	must(t, os.Rename(f.dir+"-away", f.dir))
	eventually(t, "it is seen to be back", func() bool { return f.conduitStatus("home").State == "idle" })
	if k, _ := f.task("health check"); k.Executions == 0 || k.Errors == 0 {
		t.Errorf("health check: %+v", k)
	}
}

func TestUnmountTellsWhatIsNotSentYet(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	if r := f.run("unmount", f.at); r.Code != 0 || strings.Contains(r.Stderr, "not sent") {
		t.Errorf("with nothing to send: %s", r)
	}
	f.mount()
	f.do("pause")
	write(t, f.path("one"), "1")
	write(t, f.path("two"), "2")
	if r := f.run("unmount", f.at); r.Code != 0 || !strings.Contains(r.Stderr, "not sent yet: 2 changes") {
		t.Errorf("with two files to send: %s", r)
	}
	absent(t, f.behind("one"))
	f.mount()
	if s := f.status(); s.State != "paused" {
		t.Errorf("after a restart it stands %+v", s)
	}
	f.do("pause", "1s") // it ends by itself
	eventually(t, "the pause ends", func() bool { return f.status().State != "paused" })
	eventually(t, "what was pending is sent", func() bool { return holds(f.behind("one"), "1") && holds(f.behind("two"), "2") })
}

func TestABatteryIsSpared(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	address := systemBus(t)
	battery := service(t, address, "org.freedesktop.UPower", "/org/freedesktop/UPower", "OnBattery", true)
	f.Env = append(f.Env, "DBUS_SYSTEM_BUS_ADDRESS="+address)
	write(t, filepath.Join(f.Home, "config.toml"), "[offload]\nfree_low = 0\n[sync]\non_battery = \"pause\"\n")
	write(t, f.behind("there"), "made there")
	f.mount()
	eventually(t, "it is spared", func() bool {
		c := f.conduitStatus("home")
		return c.State == "paused" && strings.Contains(c.Message, "sync.on_battery")
	})
	wants(t, f.path("there"), "made there") // opening files goes on
	f.sync()                                // and so does what a person asks for
	write(t, f.path("here"), "made here")
	if c := f.conduitStatus("home"); c.State != "paused" || c.PendingLocal != 1 {
		t.Errorf("on its battery it stands %+v", c)
	}
	absent(t, f.behind("here"))
	battery.SetMust("org.freedesktop.UPower", "OnBattery", false)
	eventually(t, "it goes on when it is charged", func() bool { return holds(f.behind("here"), "made here") })
	eventually(t, "it is not spared any more", func() bool { return f.conduitStatus("home").State == "idle" })

	net := service(t, address, "org.freedesktop.NetworkManager", "/org/freedesktop/NetworkManager", "Metered", uint32(1))
	f.passes("slow is not pause")
	net.SetMust("org.freedesktop.NetworkManager", "Metered", uint32(2))
}

// systemBus starts a message bus for a drive.
func systemBus(t *testing.T) (address string) {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "bus.conf")
	write(t, conf, `<busconfig><listen>unix:path=`+filepath.Join(dir, "bus")+`</listen><policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/><allow user="*"/></policy></busconfig>`)
	bus := command(dir, "dbus-daemon", "--config-file="+conf, "--nofork", "--print-address")
	out, err := bus.StdoutPipe()
	must(t, err)
	must(t, bus.Start())
	t.Cleanup(func() {
		_ = bus.Process.Kill()
		_ = bus.Wait() // killed
	})
	_, err = out.Read(make([]byte, 512)) // it listens once it has told where
	must(t, err)
	return "unix:path=" + filepath.Join(dir, "bus")
}

// service has a bus know a service with one property.
func service(t *testing.T, address, name string, path dbus.ObjectPath, property string, value any) *prop.Properties {
	t.Helper()
	conn, err := dbus.Connect(address)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	p, err := prop.Export(conn, path, prop.Map{name: {property: {Value: value, Emit: prop.EmitTrue}}})
	must(t, err)
	_, err = conn.RequestName(name, dbus.NameFlagDoNotQueue)
	must(t, err)
	return p
}
