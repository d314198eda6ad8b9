// Package bounded keeps an endpoint that hangs from holding anybody up.
//
// A system call on a dead network disk may never return, and no context ends it. So each call runs in a worker, of which
// an endpoint has few, and its caller waits only while the call goes on: it gives a call up that shows no progress for
// half a minute, and one that does not end soon after its context. What a call given up does later is lost, except that
// its worker stays taken until then. When no worker is left, callers are refused at once.
//
// All of this is said as remote.ErrUnavailable, with which the callers know how to live: the endpoint is offline.
//
// A write that was given up may still take effect. No further write is made, and Check fails, until it has come back:
// else the next one could be overtaken by it.
//
// Lock order: a Pool's mutex is held for a few instructions, never over a call.
package bounded
