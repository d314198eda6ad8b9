// Package event is the one bus on which the parts of a drive tell what has happened, and others hear of it: the log, the
// diary, the metrics, whoever follows the events on the control socket.
//
// An event tells of what is committed; nothing is done because of one. So a subscriber may lose events without harm to any
// file: it is told how many, and reads the state anew. Publishing never waits for a subscriber, and costs an atomic load
// where nobody wants to hear of that type. What costs something, such as the path of a file, is found out only if Bus.Wants
// says so.
//
// Two events of one file come in the order of what they tell of when one goroutine did both, as a leg does; those of
// different goroutines may change places. All subscribers see one order.
//
// Locks: Bus.mu, then Subscription.mu; under either no code of another package runs.
package event
