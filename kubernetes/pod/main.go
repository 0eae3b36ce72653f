// Command pod stands beneath pods: it is the first process of each, and of the node that they
// run on, and the CNI plugin that gives a pod its network.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	switch {
	case os.Getenv("CNI_COMMAND") != "":
		os.Exit(plug())
	case len(os.Args) > 1 && os.Args[1] == "node":
		if err := makeNode(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "pod: make the node:", err)
			os.Exit(1)
		}
		wait(endAll)
	default:
		wait(func() {})
	}
}

// wait reaps the processes that nobody else waits for, until it is asked to end.
func wait(atEnd func()) {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGCHLD, syscall.SIGTERM, syscall.SIGINT)
	for {
		reap()
		if s := <-signals; s != syscall.SIGCHLD {
			atEnd()
			return
		}
	}
}

// reap gives whether any process is left.
func reap() bool {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil: // ECHILD
			return false
		case pid == 0:
			return true
		}
	}
}
