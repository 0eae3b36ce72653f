package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// address is in the pod's network namespace alone.
const address = "@plimsoll-step"

// role is the first byte that a caller at the door sends.
type role byte

const (
	piped role = 'p' // the executor's stream
	held  role = 'h' // the kubelet's hook, which waits
	ran   role = 's' // the step's container
)

// door lets in one caller of each role. The step's own processes exist only after the last
// of them is in.
type door struct {
	listener net.Listener
	callers  map[role]chan net.Conn
	done     sync.WaitGroup
}

func openDoor() (*door, error) {
	l, err := net.Listen("unix", address)
	if err != nil {
		return nil, err
	}
	d := &door{listener: l, callers: map[role]chan net.Conn{}}
	for _, r := range []role{piped, held, ran} {
		d.callers[r] = make(chan net.Conn, 1)
	}
	d.done.Go(d.accept)
	return d, nil
}

func (d *door) accept() {
	for {
		c, err := d.listener.Accept()
		if err != nil {
			return // closed
		}
		d.done.Go(func() { d.admit(c) })
	}
}

func (d *door) admit(c net.Conn) {
	var first [1]byte
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadFull(c, first[:]); err != nil {
		c.Close()
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	select {
	case d.callers[role(first[0])] <- c: // of a role that there is not: never
	default:
		c.Close()
	}
}

// wait gives the caller of the role.
func (d *door) wait(ctx context.Context, r role, within time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	select {
	case c := <-d.callers[r]:
		return c, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("nobody came as %q: %w", r, context.Cause(ctx))
	}
}

// came says whether a caller of the role waits to be let in.
func (d *door) came(r role) bool { return len(d.callers[r]) > 0 }

func (d *door) close() {
	d.listener.Close()
	d.done.Wait()
}

// knock calls at the door, which may not be open yet.
func knock(ctx context.Context, r role) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var dialer net.Dialer
	for {
		c, err := dialer.DialContext(ctx, "unix", address)
		if err == nil {
			if _, err = c.Write([]byte{byte(r)}); err == nil {
				return c, nil
			}
			c.Close()
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// hold is the kubelet's hook after the start of the first container: the kubelet starts the
// second when it ends.
func hold(ctx context.Context) error {
	c, err := knock(ctx, held)
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	_, err = io.ReadFull(c, make([]byte, 1))
	return err
}

// pipe is what the executor runs to reach the agent that serves.
func pipe(ctx context.Context) error {
	c, err := knock(ctx, piped)
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	go func() {
		_, _ = io.Copy(c, stdin())
		// The executor is gone. What this process does is over, whatever the other way holds.
		c.Close()
	}()
	_, err = io.Copy(stdout(), c)
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
