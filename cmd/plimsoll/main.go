// Command plimsoll builds container images from approved parts and keeps them patched.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"plimsoll.dev/plimsoll/internal/program"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(program.Run(ctx, program.System(), os.Args[1:]))
}
