// Package daemon is the process behind one mounted drive: the composition root
// that joins cache, fs, offload and syncer (wire.go), its life cycle (daemon.go),
// and what it answers on the control socket (the handlers).
//
// A start has two halves. prepare looks at everything that can be refused and
// changes nothing; only then does start create files. So a refused first mount
// leaves no trace.
//
// An end has one order, whoever asks for it: the mount goes first, while
// everything that serves it still works; then the background work stops; then
// the control socket; the cache is closed last.
package daemon
