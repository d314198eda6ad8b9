// Package service makes the owner's service manager, the systemd of their session, mount a drive at login and after a crash.
//
// A drive has one unit, named after where its state lies: vdfs.service for the default drive, so that installing again
// replaces it whatever the mountpoint. The unit runs the daemon in the foreground with the environment that chose the
// drive. The unit file is the truth: what it says is derived from the command line, and people who want it otherwise write
// a drop-in, which vdfs leaves alone.
package service
