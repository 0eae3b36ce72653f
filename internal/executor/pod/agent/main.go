// Command agent runs in the pods of steps. It takes the job and the folders of a step from
// the stream that an executor has to it, and gives the step's output, end and changed folders.
//
// A pod has two containers, both of the step's own image and user, in which the agent lies
// as a single static file. In the first the agent serves: it fills the volumes, and holds
// the kubelet back from starting the second until it has. In the second it is the first
// process: it starts the command, ends all that the command leaves, and says how it ended.
// The two talk through an abstract socket of the pod's network namespace, which no other
// pod can see.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		// Seen by who runs `agent pipe`. The others' containers have logs that others may
		// read, and these tell no more than this.
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 2 && args[0] == "serve":
		return serve(ctx, args[1])
	case len(args) == 1 && args[0] == "pipe":
		return pipe(ctx)
	case len(args) == 1 && args[0] == "hold":
		return hold(ctx)
	case len(args) == 1 && args[0] == "step":
		return step(ctx)
	case len(args) == 1 && args[0] == child:
		return become()
	}
	return fmt.Errorf("it is no program for people: see docs/executor.md")
}
