package update_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/update"
)

// quay is a Remedier over a folder that several processes share: a file for each tag, which
// holds the digest that it names, and a journal of all that was done.
type quay struct {
	dir string
	inv *inventory.Inventory

	delay   time.Duration // what one image takes
	refuse  func(reference string) error
	mu      *sync.Mutex
	batches *[]update.Batch
}

func newQuay(dir string, inv *inventory.Inventory) *quay {
	return &quay{dir: dir, inv: inv, mu: &sync.Mutex{}, batches: &[]update.Batch{}}
}

func (q *quay) path(reference string) string {
	return filepath.Join(q.dir, "tag-"+hex.EncodeToString([]byte(reference)))
}

// names gives what a tag names.
func (q *quay) names(reference string) string {
	text, _ := os.ReadFile(q.path(reference)) // a tag that is not there names nothing
	return string(text)
}

// set lets a tag name a digest, at once or not at all.
func (q *quay) set(reference, digest string) error {
	aside := fmt.Sprintf("%s.%d", q.path(reference), os.Getpid())
	if err := os.WriteFile(aside, []byte(digest), 0o600); err != nil {
		return err
	}
	return os.Rename(aside, q.path(reference))
}

// note writes a line into the journal.
func (q *quay) note(line string) error {
	f, err := os.OpenFile(filepath.Join(q.dir, "journal"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	return errors.Join(err, f.Close())
}

// journal gives how often each line was written.
func (q *quay) journal() map[string]int {
	text, _ := os.ReadFile(filepath.Join(q.dir, "journal")) // nothing was done yet
	count := map[string]int{}
	for line := range strings.Lines(string(text)) {
		count[strings.TrimSpace(line)]++
	}
	return count
}

// fixed is the OpenSSL of images that were remedied.
const fixed = "3.5.2"

func (q *quay) Apply(ctx context.Context, batch update.Batch, report func(update.Outcome)) error {
	q.mu.Lock()
	*q.batches = append(*q.batches, batch)
	q.mu.Unlock()
	for _, item := range batch.Items {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		o := update.Outcome{Number: item.Number}
		o.Before, o.After, o.Err = q.one(item, batch.Hold)
		report(o)
	}
	return nil
}

// one remedies an image, unless its tag has moved already.
func (q *quay) one(item update.Item, hold bool) (before, after string, err error) {
	if q.refuse != nil {
		if err := q.refuse(item.Reference); err != nil {
			return "", "", err
		}
	}
	now := q.names(item.Reference)
	if now != item.From {
		return "", now, nil
	}
	time.Sleep(q.delay) // as long as the work of it takes
	image := app(item.Reference, runBase, fixed)
	after = image.Contents.Image
	if hold {
		return now, after, q.note("made " + item.Reference)
	}
	if err := q.inv.Put(context.Background(), image); err != nil {
		return "", "", err
	}
	return now, after, errors.Join(q.set(item.Reference, after), q.note("moved "+item.Reference))
}

func (q *quay) Move(ctx context.Context, moves []update.Move, report func(update.Outcome)) error {
	for _, m := range moves {
		o := update.Outcome{Number: m.Number, Before: m.From, After: m.To}
		switch now := q.names(m.Reference); {
		case now == m.To:
		case now != m.From:
			o.Err = fault.Newf(fault.Denied, "move the tag", m.Reference, "it names a third image")
		default:
			openssl := fixed
			if m.To != app(m.Reference, runBase, fixed).Contents.Image {
				openssl = "3.5.1"
			}
			o.Err = errors.Join(q.inv.Put(ctx, app(m.Reference, runBase, openssl)), q.set(m.Reference, m.To), q.note("tagged "+m.Reference))
		}
		report(o)
	}
	return nil
}
