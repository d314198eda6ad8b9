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
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := cli.Main(ctx, os.Args[1:], cli.Process())
	stop()
	os.Exit(code)
}
