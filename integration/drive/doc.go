// Package drive handles the built vdfs binary the way a person does: it starts
// drives of their own in temporary directories, runs commands, reads their JSON,
// kills daemons and cleans up. Tests and benchmarks share it.
//
// It knows the binary only by its command line and by what the kernel tells about
// processes and mounts; it imports nothing of the program. Processes are ended
// by the ids of daemons that carry the drive's own home, never by name.
package drive
