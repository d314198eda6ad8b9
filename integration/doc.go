// Package integration drives the built binary as its users do: real mounts, real
// programs, real directories on the other side, crashes included. It knows the
// program only by its command line.
//
// Each test has a drive and a directory of its own in a temporary directory, so
// tests run side by side. The environment steers a run:
//
//	CI=true           a missing FUSE or program is a failure, not a skip
//	VDFS_BINARY=PATH  drive this binary instead of building one
//	VDFS_TEST_RACE=1  build the binary with the race detector
//	VDFS_TEST_SEED=N  repeat a random test
//	VDFS_SOAK=N       do N times as much in the long tests
package integration
