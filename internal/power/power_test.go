package power

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/prop"
)

// busConfig is a message bus for whoever reaches its socket.
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path=SOCKET</listen><policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/><allow user="*"/>
</policy></busconfig>`

// startBus starts a bus of the test's own and returns its address, and how it is stopped.
func startBus(t *testing.T, socket string) (address string, stop func()) {
	t.Helper()
	daemon, err := exec.LookPath("dbus-daemon")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("no dbus-daemon here: .ci/install test brings it")
	}
	conf := filepath.Join(t.TempDir(), "bus.conf")
	if err := os.WriteFile(conf, []byte(strings.Replace(busConfig, "SOCKET", socket, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(daemon, "--config-file="+conf, "--nofork", "--print-address")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 512)); err != nil { // it listens once it has told where
		t.Fatal(err)
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		_ = os.Remove(socket)
	}
	t.Cleanup(stop)
	return "unix:path=" + socket, stop
}

// serve has the bus know a service with one property.
func serve(t *testing.T, address, service string, path dbus.ObjectPath, name string, value any) *prop.Properties {
	t.Helper()
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	p, err := prop.Export(conn, path, prop.Map{service: {name: {Value: value, Emit: prop.EmitTrue}}})
	if err == nil {
		_, err = conn.RequestName(service, dbus.NameFlagDoNotQueue)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// listen watches a bus; what it is told comes in order.
func listen(t *testing.T, address string) <-chan State {
	t.Helper()
	told, done := make(chan State, 100), make(chan error, 1)
	ctx, stop := context.WithCancel(context.Background())
	w := &watcher{
		dial: func(o ...dbus.ConnOption) (*dbus.Conn, error) { return dbus.Connect(address, o...) },
		told: func(s State) { told <- s },
	}
	go func() { done <- w.run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return told
}

func wants(t *testing.T, told <-chan State, want State) {
	t.Helper()
	select {
	case got := <-told:
		if got != want {
			t.Fatalf("told is %+v, want %+v", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("nothing is told, want %+v", want)
	}
}

func TestBatteryAndNetworkAreTold(t *testing.T) {
	t.Parallel()
	address, stop := startBus(t, filepath.Join(t.TempDir(), "bus"))
	battery := serve(t, address, upower, upowerPath, "OnBattery", false)
	told := listen(t, address)
	wants(t, told, State{})
	battery.SetMust(upower, "OnBattery", true)
	wants(t, told, State{OnBattery: true})
	net := serve(t, address, network, netPath, "Metered", uint32(3)) // it comes later
	wants(t, told, State{OnBattery: true, Metered: true})
	battery.SetMust(upower, "OnBattery", false)
	wants(t, told, State{Metered: true})
	net.SetMust(network, "Metered", uint32(4))
	wants(t, told, State{})
	net.SetMust(network, "Metered", uint32(1))
	wants(t, told, State{Metered: true})
	stop()
	wants(t, told, State{}) // nobody tells any more
}

func TestNoBusIsNoHarm(t *testing.T) {
	t.Parallel()
	w := &watcher{
		dial: func(o ...dbus.ConnOption) (*dbus.Conn, error) {
			return dbus.Connect("unix:path="+filepath.Join(t.TempDir(), "none"), o...)
		},
		told: func(s State) { t.Errorf("told is %+v", s) },
	}
	if err := w.run(t.Context()); err == nil {
		t.Error("it watches nothing")
	}
}
