package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"vdfs/cmd/config"
	"vdfs/cmd/control"
	"vdfs/internal/sdnotify"
)

// Streams are what a command reads and writes, and the environment it sees.
type Streams struct {
	In     io.Reader
	Out    io.Writer
	Err    io.Writer
	Getenv func(string) string
	Now    func() time.Time
	// Service is the service manager that started this process, if one did.
	Service sdnotify.Manager
}

// Process are the streams of this process. It is called once: its children do not see its service manager.
func Process() Streams {
	return Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Now: time.Now, Service: sdnotify.Take()}
}

// app is one run of the command line.
type app struct {
	Streams
	started bool // a verb began: errors before that are about the command line
}

// Main runs the command line args and returns the exit code. ctx ends it early.
func Main(ctx context.Context, args []string, s Streams) int {
	a := &app{Streams: s}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	if !a.started {
		err = usageError(err.Error())
	}
	if text := strings.TrimSpace(err.Error()); text != "" {
		fmt.Fprintf(s.Err, "vdfs: %s\n", strings.ReplaceAll(text, "\n", "; "))
	}
	return exitCode(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "vdfs",
		Short: "One drive over every storage you have",
		Long: `vdfs shows all files of a storage at once. Bytes arrive when a program reads
them; changes are written here first and reach the storage in the background.`,
		Example: `  vdfs mount ~/Drive                     a drive of its own
  vdfs mount ~/Drive --from /srv/files   the files of a directory
  vdfs status                            how it is doing
  vdfs pin ~/Drive/Work                  always keep these here
  vdfs offload ~/Drive/Films             free their space now`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError(fmt.Sprintf("unknown command %q (see vdfs --help)", args[0]))
			}
			return cmd.Help()
		},
	}
	root.AddCommand(
		a.mount(), a.unmount(), a.status(), a.ls(), a.info(),
		a.pin(), a.unpin(), a.online(), a.exclude(), a.offload(), a.fetch(), a.adopt(), a.pins(), a.du(), a.redundancy(), a.verify(), a.why(),
		a.sync(), a.queue(), a.errors(), a.history(), a.events(), a.metrics(), a.conflicts(), a.restore(), a.conduit(),
		a.pause(), a.resume(), a.config(), a.service(), a.doctor(), a.version(), a.faultPoints(), a.guard(),
	)
	a.noteStart(root)
	return root
}

// noteStart has every verb note that it began: cobra's own complaints have no type, but all come before.
func (a *app) noteStart(cmd *cobra.Command) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			a.started = true
			return run(cmd, args)
		}
	}
	for _, sub := range cmd.Commands() {
		a.noteStart(sub)
	}
}

// paths are the places of the drive that the environment chooses.
func (a *app) paths() (config.Paths, error) { return config.FindPaths(a.Getenv) }

// noArgs, args and the like say in one line what is wrong with the number of arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no arguments", cmd.CommandPath())
	}
	return nil
}

func between(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && len(args) <= most {
			return nil
		}
		return fmt.Errorf("wrong number of arguments; usage: %s", cmd.UseLine())
	}
}

const many = 1 << 30

// say writes to a person; a closed stderr is nobody's loss.
func (a *app) say(format string, args ...any) { fmt.Fprintf(a.Err, format+"\n", args...) }

// terminal reports whether a stream is a person's screen.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colours reports whether stdout may be coloured.
func (a *app) colours() bool {
	return terminal(a.Out) && a.Getenv("NO_COLOR") == "" && a.Getenv("TERM") != "dumb"
}

// complain names what was not done, a line each, and returns the error that fits.
func (a *app) complain(refused []control.Refusal, mountpoint string, done bool) error {
	if len(refused) == 0 {
		return nil
	}
	code := refused[0].Code
	for _, r := range refused {
		conduit := ""
		if r.Conduit != "" {
			conduit = " (" + r.Conduit + ")"
		}
		a.say("vdfs: %s%s: %s", a.shown(mountpoint+string(r.Path)), conduit, r.Reason)
		if r.Code != code {
			code = control.Partly
		}
	}
	if done {
		code = control.Partly
	}
	return &control.Error{Code: code}
}
