package ledger

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/site/judge"
)

// untold notes tags before they are moved, and again when the inventory was told of them. Who is
// killed in between leaves its file to the next, who tells the inventory: see settle.
type untold struct {
	folder string

	mu   sync.Mutex
	file *os.File // locked while this process lives; nil until a tag is noted
}

// The marks of a line.
const (
	moves = "+" // a tag is to be moved
	told  = "-" // the inventory knows
)

func (u *untold) note(mark string, refs ...string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.file == nil && mark == told {
		return nil
	}
	err := u.open()
	if err == nil {
		_, err = u.file.WriteString(mark + strings.Join(refs, "\n"+mark) + "\n")
	}
	if err != nil {
		return fault.New(fault.Failed, "note tags", u.folder, err)
	}
	return nil
}

func (u *untold) open() error {
	if u.file != nil {
		return nil
	}
	if err := os.MkdirAll(u.folder, 0o755); err != nil {
		return err
	}
	for u.file == nil {
		file, err := os.OpenFile(filepath.Join(u.folder, rand.Text()), os.O_CREATE|os.O_EXCL|os.O_RDWR|os.O_APPEND, 0o644)
		if err != nil {
			return err
		}
		if mine(file) {
			u.file = file
			return nil
		}
		_ = file.Close() // somebody settles, and took it for one that was left
	}
	return nil
}

// mine locks a file, unless another has it or has removed it.
func mine(file *os.File) bool {
	var st unix.Stat_t
	return unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && unix.Fstat(int(file.Fd()), &st) == nil && st.Nlink > 0
}

// close ends the notes of whoever was not killed.
func (u *untold) close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.file == nil {
		return nil
	}
	err := errors.Join(os.Remove(u.file.Name()), u.file.Close())
	u.file = nil
	return err
}

// settle tells the inventory of the tags that others had moved when they were killed. What a registry
// does not answer for is left to the next.
func settle(ctx context.Context, h *home.Home) {
	folder := untoldFolder(h)
	left, _ := os.ReadDir(folder) // there may never have been any
	for _, entry := range left {
		file, err := os.Open(filepath.Join(folder, entry.Name()))
		if err != nil {
			continue // it has ended meanwhile
		}
		if mine(file) && settleOne(ctx, h, file) {
			_ = os.Remove(file.Name()) // else it is settled again
		}
		_ = file.Close() // it was only read
	}
}

func untoldFolder(h *home.Home) string { return h.Path("untold") }

// settleOne says whether nothing is left of the notes.
func settleOne(ctx context.Context, h *home.Home, notes io.Reader) bool {
	session := h.Registries.Session()
	settled := true
	for _, text := range outstanding(notes) {
		ref, err := oci.Parse(text)
		if err != nil {
			continue // a line that was torn: its tag was not moved
		}
		_, err = session.Head(ctx, ref)
		switch {
		case err == nil:
			judge.Remember(ctx, h, text)
		case fault.KindOf(err) != fault.NotFound:
			settled = false
		}
	}
	return settled
}

// outstanding gives the tags that are noted and that the inventory was not told of.
func outstanding(in io.Reader) []string {
	open := map[string]bool{}
	var order []string
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		ref, begins := strings.CutPrefix(lines.Text(), moves)
		if !begins {
			open[strings.TrimPrefix(lines.Text(), told)] = false
			continue
		}
		if _, known := open[ref]; !known {
			order = append(order, ref)
		}
		open[ref] = true
	}
	var out []string
	for _, ref := range order {
		if open[ref] {
			out = append(out, ref)
		}
	}
	return out
}
