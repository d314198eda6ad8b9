// Package sdnotify tells a service manager how a service is doing, over the datagram socket that sd_notify(3) describes.
package sdnotify

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// What a service says.
const (
	Ready    = "READY=1"    // the start is done
	Stopping = "STOPPING=1" // the end has begun
)

// variable names the environment variable that holds the name of the socket; one that begins with @ is in the abstract
// namespace, which is also how package net writes it.
const variable = "NOTIFY_SOCKET"

// sendMax is how long a manager may take to accept a message. The service works without one that does not.
const sendMax = 5 * time.Second

// Manager is the service manager that started this process. The zero Manager is nobody.
type Manager struct{ socket string }

// Take finds the manager in the environment of this process and takes it out of there: a child is not the service and
// must not speak for it.
func Take() Manager {
	m := Manager{os.Getenv(variable)}
	_ = os.Unsetenv(variable) // the name is a good one
	return m
}

// Tell sends one message.
func (m Manager) Tell(state string) error {
	if m.socket == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: m.socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell service manager %s: %w", state, err)
	}
	err = c.SetWriteDeadline(time.Now().Add(sendMax))
	if err == nil {
		_, err = c.Write([]byte(state))
	}
	if err := errors.Join(err, c.Close()); err != nil {
		return fmt.Errorf("tell service manager %s: %w", state, err)
	}
	return nil
}
