package events

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Waiting is an event that was not delivered yet, or was given up.
type Waiting struct {
	ID       string    `json:"id"`
	Webhook  string    `json:"webhook"`
	Type     string    `json:"type"`
	Subject  string    `json:"subject,omitempty"`
	Queued   time.Time `json:"queued"`
	Attempts int       `json:"attempts"`
	Next     time.Time `json:"next,omitzero"` // attempt, at the earliest
	Error    string    `json:"error,omitempty"`
	Dead     bool      `json:"dead"`
}

// List gives what waits in a folder and what was given up, by webhook and time. It may run
// beside whoever delivers. Errors are *fault.Error.
func List(dir string) ([]Waiting, error) {
	all := []Waiting{}
	err := eachLetter(dir, func(b *box, folder string, l *letter) error {
		all = append(all, Waiting{l.ID, b.name, l.Type, l.Subject, l.Queued, l.Attempts, l.Next, l.Error, folder == b.dead})
		return nil
	})
	return all, err
}

// Resend queues dead letters anew: those of the ids, or all, of one webhook, or of every one
// where its name is empty. It gives how many. Whoever delivers takes them up soon. Errors are
// *fault.Error: NotFound for an id that is none of a dead letter's.
func Resend(dir, webhook string, ids ...string) (int, error) {
	var found []string
	err := eachLetter(dir, func(b *box, folder string, l *letter) error {
		if folder != b.dead || webhook != "" && b.name != webhook || len(ids) > 0 && !slices.Contains(ids, l.ID) {
			return nil
		}
		dead := filepath.Join(folder, l.file())
		l.Queued, l.Attempts, l.Next, l.Error = time.Now().UTC(), 0, time.Time{}, ""
		if err := l.write(b.queue, aside.WriteDurable); err != nil {
			return fault.New(fault.Failed, "send event again", l.ID, err)
		}
		found = append(found, l.ID)
		return os.Remove(dead)
	})
	if err != nil {
		return len(found), err
	}
	for _, id := range ids {
		if !slices.Contains(found, id) {
			return len(found), fault.Newf(fault.NotFound, "send event again", id, "it is no dead letter's id").
				WithHint("`plimsoll registry events list --dead` shows those there are")
		}
	}
	return len(found), nil
}

// eachLetter calls each for every letter of a folder, by webhook, dead ones after those that
// wait. What cannot be read is left out.
func eachLetter(dir string, each func(b *box, folder string, l *letter) error) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.New(fault.Failed, "read events", dir, err)
	}
	for _, e := range entries {
		if !e.IsDir() || !hookName.MatchString(e.Name()) {
			continue
		}
		b := newBox(dir, e.Name(), 0)
		for _, folder := range []string{b.queue, b.dead} {
			files, err := letters(folder)
			if err != nil {
				return fault.New(fault.Failed, "read events", folder, err)
			}
			for _, file := range files {
				l, err := readLetter(filepath.Join(folder, file))
				if err != nil {
					continue // delivered meanwhile, or not to be read
				}
				if err := each(b, folder, l); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
