// Package tree makes, copies and compares trees of files for tests and
// benchmarks: names as raw bytes, kinds, bytes, the executable bits, symlink
// targets and modification times.
package tree
