// Package htpasswd takes a file of users with bcrypt passwords and gives whether a password
// is a user's.
package htpasswd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/watch"
)

// File is such a file. A change of it counts from the next question on; one that cannot be
// read leaves the last good users, and is told to the log.
type File struct {
	users *watch.Value[*users]
	log   *slog.Logger
	// hashing bounds how many passwords are checked at once: bcrypt is slow by design,
	// and guesses must not take every core from pulls.
	hashing chan struct{}
}

// users are one state of the file.
type users struct {
	hashes map[string][]byte // user -> bcrypt hash
	absent []byte            // what an unknown user's password is compared with
	key    []byte            // of proofs
	proofs sync.Map          // proof of a user and password that matched -> struct{}
}

// Open reads the file; a Usage fault names the line that is wrong.
func Open(path string, log *slog.Logger) (*File, error) {
	f := &File{log: log, hashing: make(chan struct{}, 2)}
	f.users = watch.New(func() (*users, error) {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		return parse(content)
	}, path)
	if _, err := f.users.Get(); err != nil {
		return nil, fault.New(fault.Usage, "read accounts", path, err).
			WithHint("make the file with `htpasswd -B -c FILE USER`: only bcrypt passwords are taken")
	}
	return f, nil
}

// Check says whether that is the user's password. It takes as long for an unknown user as for
// a wrong password. A pair that matched is remembered by a keyed hash until the file changes.
func (f *File) Check(ctx context.Context, user, password string) bool {
	now := f.now()
	mac := hmac.New(sha256.New, now.key)
	fmt.Fprintf(mac, "%d:%s%s", len(user), user, password)
	proof := [sha256.Size]byte(mac.Sum(nil))
	if _, ok := now.proofs.Load(proof); ok {
		return true
	}
	select {
	case f.hashing <- struct{}{}:
		defer func() { <-f.hashing }()
	case <-ctx.Done():
		return false
	}
	hash, ok := now.hashes[user]
	if !ok {
		hash = now.absent
	}
	if bcrypt.CompareHashAndPassword(hash, []byte(password)) != nil || !ok {
		return false
	}
	now.proofs.Store(proof, struct{}{})
	return true
}

// Mark gives a text that changes with the user's password and tells nothing of it; "" for a
// user who is not there.
func (f *File) Mark(user string) string {
	hash, ok := f.now().hashes[user]
	if !ok {
		return ""
	}
	sum := sha256.Sum256(hash)
	return hex.EncodeToString(sum[:8])
}

func (f *File) now() *users {
	return f.users.Last(func(err error) {
		f.log.Error("registry accounts cannot be read again: the last ones stay", "error", err)
	})
}

// parse reads `user:bcrypt-hash` a line; empty lines and those that begin with '#' say nothing.
func parse(content []byte) (*users, error) {
	list := &users{hashes: map[string][]byte{}, key: make([]byte, 32)}
	rand.Read(list.key) // never fails: crypto/rand ends the program instead
	cost := bcrypt.MinCost
	lines := bufio.NewScanner(bytes.NewReader(content))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		user, hash, ok := strings.Cut(line, ":")
		if !ok || user == "" {
			return nil, fmt.Errorf("line %d: want user:hash", n)
		}
		c, err := bcrypt.Cost([]byte(hash))
		if err != nil || len(hash) != 60 {
			return nil, fmt.Errorf("line %d: the password of %q is not a bcrypt hash", n, user)
		}
		if _, twice := list.hashes[user]; twice {
			return nil, fmt.Errorf("line %d: %q occurs twice", n, user)
		}
		list.hashes[user] = []byte(hash)
		cost = max(cost, c)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	var err error
	list.absent, err = bcrypt.GenerateFromPassword(list.key, cost)
	return list, err
}
