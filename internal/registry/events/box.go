package events

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"plimsoll.dev/plimsoll/internal/aside"
)

// letter is an event on its way to one webhook.
type letter struct {
	ID       string          `json:"id"`
	Type     string          `json:"type"`
	Subject  string          `json:"subject,omitempty"`
	Body     json.RawMessage `json:"body"` // as it is sent
	Queued   time.Time       `json:"queued"`
	Attempts int             `json:"attempts,omitempty"`
	Next     time.Time       `json:"next,omitzero"` // not to be tried before
	Error    string          `json:"error,omitempty"`
}

func newLetter(e Event) *letter {
	return &letter{ID: rand.Text(), Type: e.Type, Subject: e.Subject, Queued: time.Now().UTC()}
}

// file names a letter so that names sort by time, and tell what it is about.
func (l *letter) file() string {
	about := sha256.Sum256([]byte(l.Subject))
	return fmt.Sprintf("%019d-%x-%s.json", l.Queued.UnixNano(), about[:8], l.ID)
}

// readName gives when a letter was queued, and what tells its subject from others.
func readName(file string) (queued time.Time, about string, ok bool) {
	parts := strings.Split(strings.TrimSuffix(file, ".json"), "-")
	if len(parts) != 3 || !strings.HasSuffix(file, ".json") {
		return time.Time{}, "", false
	}
	nanos, err := strconv.ParseInt(parts[0], 10, 64)
	return time.Unix(0, nanos), parts[1], err == nil
}

// box is what waits for a webhook, and what was given up.
type box struct {
	name        string
	queue, dead string // folders
	most        int

	mu     sync.Mutex
	queued int       // letters in the folder, as last looked at
	given  int       // dead letters, the same
	oldest time.Time // of those that wait; zero: none do

	wake                       chan struct{}
	delivered, failed, dropped atomic.Uint64
}

func newBox(dir, name string, most int) *box {
	at := filepath.Join(dir, name)
	b := &box{name: name, queue: filepath.Join(at, "queue"), dead: filepath.Join(at, "dead"), most: most, wake: make(chan struct{}, 1)}
	_, _ = b.look() // what cannot be read now is told when it is to be delivered
	return b
}

var errFull = errors.New("too many events wait for this webhook")

// put queues a letter. One of a pull is not synced: that outlives a kill, and there are many.
func (b *box) put(l *letter) error {
	b.mu.Lock()
	if b.queued >= b.most {
		b.mu.Unlock()
		return errFull
	}
	b.queued++
	if b.oldest.IsZero() {
		b.oldest = l.Queued
	}
	b.mu.Unlock()
	write := aside.WriteDurable
	if l.Type == Pulled {
		write = aside.WriteBytes
	}
	if err := l.write(b.queue, write); err != nil {
		return err
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return nil
}

func (l *letter) write(dir string, write func(string, []byte) error) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return write(filepath.Join(dir, l.file()), text)
}

// look gives the files of the letters that wait, the oldest first.
func (b *box) look() ([]string, error) {
	waiting, err := letters(b.queue)
	if err != nil {
		return nil, err
	}
	dead, err := letters(b.dead)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queued, b.given, b.oldest = len(waiting), len(dead), time.Time{}
	if len(waiting) > 0 {
		b.oldest, _, _ = readName(waiting[0])
	}
	return waiting, nil
}

// letters lists the files of a folder that are letters, by name. One that is not there holds
// none.
func letters(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if _, _, ok := readName(e.Name()); ok && e.Type().IsRegular() {
			files = append(files, e.Name())
		}
	}
	return files, nil
}

// maxLetter is more than a letter has bytes, whatever its error says.
const maxLetter = 4 * maxEvent

func readLetter(path string) (*letter, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxLetter {
		return nil, errors.New("it is too large")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	l := &letter{}
	if err := json.Unmarshal(text, l); err != nil {
		return nil, err
	}
	if l.file() != filepath.Base(path) || len(l.Body) == 0 {
		return nil, errors.New("it is no event of that name")
	}
	return l, nil
}

// sent removes a letter that was delivered.
func (b *box) sent(l *letter) error {
	b.delivered.Add(1)
	return os.Remove(filepath.Join(b.queue, l.file()))
}

// again keeps a letter for another attempt.
func (b *box) again(l *letter) error { return l.write(b.queue, aside.WriteBytes) }

// giveUp makes a letter a dead one, and forgets the oldest of these when there are too many.
func (b *box) giveUp(l *letter) error {
	if err := l.write(b.dead, aside.WriteDurable); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(b.queue, l.file())); err != nil {
		return err
	}
	dead, err := letters(b.dead)
	if err != nil {
		return err
	}
	for len(dead) > b.most {
		if err := os.Remove(filepath.Join(b.dead, dead[0])); err != nil {
			return err
		}
		dead = dead[1:]
	}
	return nil
}

// setAside takes a file out of the way that cannot be read.
func (b *box) setAside(file string) error {
	if err := os.MkdirAll(b.dead, 0o700); err != nil {
		return err
	}
	return os.Rename(filepath.Join(b.queue, file), filepath.Join(b.dead, "unreadable-"+file))
}

func (b *box) stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := Stats{Webhook: b.name, Queued: b.queued, Dead: b.given, Delivered: b.delivered.Load(), Failed: b.failed.Load(), Dropped: b.dropped.Load()}
	if !b.oldest.IsZero() {
		s.Oldest = time.Since(b.oldest)
	}
	return s
}
