package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// makeNode turns the namespaces that this process is the first of into a node: a /proc of its
// own, packets passed on, and each SOURCE:TARGET mounted, where no source means an empty folder in
// memory. It says a line on descriptor 3 when that is done. All of it ends with this process.
func makeNode(mounts []string) error {
	// What the machine mounts later is seen here; what is mounted here is not seen there.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("keep mounts apart: %w", err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share mounts with pods: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	for _, m := range mounts {
		source, target, _ := strings.Cut(m, ":")
		var err error
		if source == "" {
			err = syscall.Mount("plimsoll", target, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "mode=0711")
		} else {
			err = syscall.Mount(source, target, "", syscall.MS_BIND|syscall.MS_REC, "")
		}
		if err != nil {
			return fmt.Errorf("mount %s: %w", target, err)
		}
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		return err
	}
	ready := os.NewFile(3, "ready")
	defer ready.Close()
	_, err := ready.WriteString("ready\n")
	return err
}

// lastWords is how long pods may take to end when the node ends.
const lastWords = 5 * time.Second

// endAll asks all processes of the node to end and waits for them. The kernel kills those that
// are left when this process ends.
func endAll() {
	_ = syscall.Kill(-1, syscall.SIGTERM) // ESRCH: there are none
	for deadline := time.Now().Add(lastWords); reap() && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
}
