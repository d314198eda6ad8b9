// Package caller tells what kind of program a process is: one that works for a person who wants a file, or one that goes
// through all files by itself, as thumbnailers, indexers and backups do.
//
// It goes by the program, not by the process's own name for itself: the executable, of an interpreter the script that it
// runs, of a program nobody knows that of its parents. Whatever cannot be told is Unknown, and treated as a person: what
// is wrong then is that bytes come that nobody needs, and not that somebody does not get what he asked for.
//
// What it must never do: be asked on a path where the answer does not matter. Of a file that is here nobody asks.
package caller
