// Command vdfs is one drive over every storage its owner has: see `vdfs --help`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"vdfs/cmd/cli"
)

func main() {
	ends := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup means it
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	code := cli.Main(ctx, os.Args[1:], cli.Process())
	stop()
	os.Exit(code)
}
