package ticket

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/access/folder"
	"plimsoll.dev/plimsoll/internal/registry/watch"
)

const (
	// signFor is how long a key signs; then a new one does.
	signFor = 30 * 24 * time.Hour
	// MaxPeriod is how long a ticket may be good at most: a key that no longer signs is kept
	// for so long.
	MaxPeriod = 30 * 24 * time.Hour
)

// ring has the keys of all servers on one home.
type ring struct {
	folder string
	keys   *watch.Value[[]key] // the newest last
	now    func() time.Time
	log    *slog.Logger
}

// key is one, as the file keeps it.
type key struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	Seed    []byte    `json:"seed"` // of Ed25519 (RFC 8032)

	private ed25519.PrivateKey
}

func openRing(at string, now func() time.Time, log *slog.Logger) (*ring, error) {
	r := &ring{folder: at, now: now, log: log}
	r.keys = watch.New(r.read, r.path())
	if _, err := r.signing(); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *ring) path() string { return filepath.Join(r.folder, "keys.json") }

// public gives a key by its name. One is good for as long as what it signed last.
func (r *ring) public(id string) (ed25519.PublicKey, bool) {
	keys := r.last()
	i := slices.IndexFunc(keys, func(k key) bool { return k.ID == id })
	if i < 0 || r.now().Sub(keys[i].Created) > signFor+MaxPeriod {
		return nil, false
	}
	return keys[i].private.Public().(ed25519.PublicKey), true
}

func (r *ring) holds(id string) bool {
	_, ok := r.public(id)
	return ok
}

// signing gives the newest key, and makes a newer one when it has signed for long enough.
func (r *ring) signing() (key, error) {
	if keys := r.last(); r.signs(keys) {
		return keys[len(keys)-1], nil
	}
	unlock, err := folder.Lock(context.Background(), r.folder)
	if err != nil {
		return key{}, err
	}
	defer unlock()
	keys, err := r.read() // another server may have been quicker
	if err != nil {
		return key{}, err
	}
	if r.signs(keys) {
		return keys[len(keys)-1], nil
	}
	return r.add(keys)
}

func (r *ring) signs(keys []key) bool {
	return len(keys) > 0 && r.now().Sub(keys[len(keys)-1].Created) < signFor
}

// add makes a key, and drops those of which nothing can be good any more.
func (r *ring) add(keys []key) (key, error) {
	now := r.now()
	k := key{ID: rand.Text(), Created: now.UTC(), Seed: make([]byte, ed25519.SeedSize)}
	rand.Read(k.Seed) // never fails: crypto/rand ends the program instead
	k.private = ed25519.NewKeyFromSeed(k.Seed)
	keys = slices.DeleteFunc(slices.Clone(keys), func(k key) bool { return now.Sub(k.Created) > signFor+MaxPeriod })
	text, err := json.MarshalIndent(append(keys, k), "", "  ")
	if err == nil {
		err = aside.WritePrivate(r.path(), append(text, '\n'))
	}
	if err != nil {
		return key{}, fault.New(fault.Failed, "write token keys", r.path(), err)
	}
	return k, nil
}

func (r *ring) read() ([]key, error) {
	text, err := os.ReadFile(r.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.New(fault.Failed, "read token keys", r.path(), err)
	}
	var keys []key
	if err := json.Unmarshal(text, &keys); err != nil {
		return nil, r.damaged()
	}
	for i := range keys {
		if len(keys[i].Seed) != ed25519.SeedSize || keys[i].ID == "" {
			return nil, r.damaged()
		}
		keys[i].private = ed25519.NewKeyFromSeed(keys[i].Seed)
	}
	return keys, nil
}

// damaged keeps to itself what is wrong: the reader's error may quote a key.
func (r *ring) damaged() error {
	return fault.Newf(fault.Failed, "read token keys", r.path(), "it is damaged").
		WithHint("remove it: a new key is made, and whoever holds a token logs in again")
}

func (r *ring) last() []key {
	return r.keys.Last(func(err error) {
		r.log.Error("token keys cannot be read again: the last ones stay", "error", err)
	})
}
