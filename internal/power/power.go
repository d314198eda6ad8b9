// Package power tells whether the machine runs on its battery, and whether its network costs by the byte, where the system says so:
// UPower and NetworkManager do, on the system's message bus (D-Bus). It asks for nothing to be started, and a machine without
// them, or without a bus, is one that runs on mains and has a network that costs nothing.
package power

import (
	"context"
	"fmt"
	"time"

	"github.com/godbus/dbus/v5"
)

// State is how the machine is supplied.
type State struct {
	OnBattery bool
	Metered   bool // the network that it uses costs by the byte, or may
}

const (
	properties = "org.freedesktop.DBus.Properties"
	upower     = "org.freedesktop.UPower"
	upowerPath = "/org/freedesktop/UPower"
	network    = "org.freedesktop.NetworkManager"
	netPath    = "/org/freedesktop/NetworkManager"

	answerMax = 5 * time.Second // for one that hangs
	redial    = time.Minute     // after the bus went away
)

// What NetworkManager says of a network: NMMetered.
const (
	meteredYes      = 1
	meteredGuessYes = 3
)

// Watch tells the state, and every change of it, until ctx ends, which is no error. It fails at once where there is no bus, and waits
// for one that was there once.
func Watch(ctx context.Context, told func(State)) error {
	w := &watcher{dial: dbus.ConnectSystemBus, told: told}
	return w.run(ctx)
}

type watcher struct {
	dial func(...dbus.ConnOption) (*dbus.Conn, error)
	told func(State)
	last *State // nil: nothing was told yet
}

func (w *watcher) run(ctx context.Context) error {
	for first := true; ; first = false {
		err := w.watch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if first && w.last == nil {
			return err
		}
		w.tell(State{})
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(redial):
		}
	}
}

func (w *watcher) tell(s State) {
	if w.last == nil || *w.last != s {
		w.last = &s
		w.told(s)
	}
}

// watch tells what it hears on one connection.
func (w *watcher) watch(ctx context.Context) error {
	conn, err := w.dial(dbus.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("reach the system's message bus: %w", err)
	}
	defer conn.Close() // it is only listened to
	signals := make(chan *dbus.Signal, 16)
	conn.Signal(signals)
	for _, match := range [][]dbus.MatchOption{
		changes(upower, upowerPath), changes(network, netPath), owners(upower), owners(network),
	} {
		if err := conn.AddMatchSignalContext(ctx, match...); err != nil {
			return fmt.Errorf("listen on the system's message bus: %w", err)
		}
	}
	for {
		w.tell(State{OnBattery: onBattery(ctx, conn), Metered: metered(ctx, conn)})
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, more := <-signals:
			if !more {
				return fmt.Errorf("the system's message bus is gone: %w", dbus.ErrClosed)
			}
		}
	}
}

// changes match that a property of an object changes.
func changes(service string, path dbus.ObjectPath) []dbus.MatchOption {
	return []dbus.MatchOption{
		dbus.WithMatchSender(service), dbus.WithMatchObjectPath(path),
		dbus.WithMatchInterface(properties), dbus.WithMatchMember("PropertiesChanged"), dbus.WithMatchArg(0, service),
	}
}

// owners match that a service comes or goes.
func owners(service string) []dbus.MatchOption {
	return []dbus.MatchOption{
		dbus.WithMatchSender("org.freedesktop.DBus"), dbus.WithMatchInterface("org.freedesktop.DBus"),
		dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, service),
	}
}

func onBattery(ctx context.Context, conn *dbus.Conn) bool {
	v, _ := property(ctx, conn, upower, upowerPath, "OnBattery").(bool)
	return v
}

func metered(ctx context.Context, conn *dbus.Conn) bool {
	v, _ := property(ctx, conn, network, netPath, "Metered").(uint32)
	return v == meteredYes || v == meteredGuessYes
}

// property reads one of a service; nil: it is not there, or has none of that name.
func property(ctx context.Context, conn *dbus.Conn, service string, path dbus.ObjectPath, name string) any {
	ctx, cancel := context.WithTimeout(ctx, answerMax)
	defer cancel()
	var v dbus.Variant
	call := conn.Object(service, path).CallWithContext(ctx, properties+".Get", dbus.FlagNoAutoStart, service, name)
	if err := call.Store(&v); err != nil {
		return nil
	}
	return v.Value()
}
