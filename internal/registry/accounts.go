package registry

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/call"
)

// accounts are the users of an htpasswd file.
type accounts struct {
	file *watched[*accountList]
	log  *slog.Logger
	// hashing bounds how many passwords are checked at once: bcrypt is slow by design,
	// and guesses must not take every core from pulls.
	hashing chan struct{}
}

// accountList is one state of the file.
type accountList struct {
	hashes map[string][]byte // user -> bcrypt hash
	absent []byte            // what an unknown user's password is compared with
	key    []byte            // of proofs
	proofs sync.Map          // proof of a user and password that matched -> struct{}
}

const challenge = `Basic realm="plimsoll registry", charset="UTF-8"`

// openAccounts reads the file; a Usage fault names the line that is wrong.
func openAccounts(path string, log *slog.Logger) (*accounts, error) {
	a := &accounts{log: log, hashing: make(chan struct{}, 2)}
	a.file = newWatched(func() (*accountList, error) { return readAccounts(path) }, path)
	if _, err := a.file.get(); err != nil {
		return nil, fault.New(fault.Usage, "read accounts", path, err).
			WithHint("make the file with `htpasswd -B -c FILE USER`: only bcrypt passwords are taken")
	}
	return a, nil
}

func readAccounts(path string) (*accountList, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseAccounts(content)
}

// parseAccounts reads `user:bcrypt-hash` a line; empty lines and those that begin with
// '#' say nothing.
func parseAccounts(content []byte) (*accountList, error) {
	list := &accountList{hashes: map[string][]byte{}, key: make([]byte, 32)}
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

// require lets only requests with a known user and password through.
func (a *accounts) require(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		list, err := a.file.get()
		if err != nil {
			a.log.Error("registry accounts cannot be read again: the last ones stay", "error", err)
		}
		user, password, ok := r.BasicAuth()
		if !ok || !a.known(r.Context(), list, user, password) {
			w.Header().Set("WWW-Authenticate", challenge)
			call.Refusal{Status: http.StatusUnauthorized, Code: "UNAUTHORIZED", Message: "a user name and password are needed"}.Write(w)
			return
		}
		call.RecordOf(r.Context()).Principal = user
		// What lies behind has no use for the credentials, so it cannot leak them.
		r = r.Clone(r.Context())
		r.Header.Del("Authorization")
		next.ServeHTTP(w, r)
	})
}

// known takes as long for an unknown user as for a wrong password. A pair that matched
// is remembered by a keyed hash until the file changes.
func (a *accounts) known(ctx context.Context, list *accountList, user, password string) bool {
	mac := hmac.New(sha256.New, list.key)
	fmt.Fprintf(mac, "%d:%s%s", len(user), user, password)
	proof := [sha256.Size]byte(mac.Sum(nil))
	if _, ok := list.proofs.Load(proof); ok {
		return true
	}
	select {
	case a.hashing <- struct{}{}:
		defer func() { <-a.hashing }()
	case <-ctx.Done():
		return false
	}
	hash, ok := list.hashes[user]
	if !ok {
		hash = list.absent
	}
	if bcrypt.CompareHashAndPassword(hash, []byte(password)) != nil || !ok {
		return false
	}
	list.proofs.Store(proof, struct{}{})
	return true
}
