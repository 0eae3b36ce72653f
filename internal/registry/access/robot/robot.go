// Package robot takes what programs of a project may do and gives them names and secrets, of
// which it keeps only hashes.
package robot

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/access/pattern"
	"plimsoll.dev/plimsoll/internal/registry/call"
)

// Prefix begins the user name of every robot; no other user's may begin so.
const Prefix = "robot+"

// secretPrefix lets scanners for secrets know ours.
const secretPrefix = "plimsoll_robot_"

// MaxPeriod is how long a robot may live before it is renewed.
const MaxPeriod = 366 * 24 * time.Hour

// Robot is a program's account in a project.
type Robot struct {
	Project string        `json:"project"`
	Name    string        `json:"name"`
	Allow   []call.Action `json:"allow"`

	// Repositories are patterns of the project's repositories, as pattern.Compile takes with
	// "/" for a separator. Empty: all of them.
	Repositories []string `json:"repositories,omitempty"`

	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	Used    time.Time `json:"used,omitzero"` // last, within an hour

	Hash     string    `json:"hash"` // SHA-256 of the secret, which has 256 bits of its own
	Previous *Previous `json:"previous,omitempty"`

	patterns []pattern.Pattern
}

// Previous is the secret before the last renewal, good for a while.
type Previous struct {
	Hash  string    `json:"hash"`
	Until time.Time `json:"until"`
}

// Full is the robot's name with its project: "team/ci".
func (r *Robot) Full() string { return r.Project + "/" + r.Name }

// User is the name it logs in with.
func (r *Robot) User() string { return Prefix + r.Full() }

// Live says whether it is not expired.
func (r *Robot) Live(now time.Time) bool { return now.Before(r.Expires) }

// Allows says whether it may do that at all, wherever.
func (r *Robot) Allows(action call.Action) bool { return slices.Contains(r.Allow, action) }

// Covers says whether a repository of its project is one of its own.
func (r *Robot) Covers(repository string) bool {
	return len(r.patterns) == 0 || slices.ContainsFunc(r.patterns, func(p pattern.Pattern) bool { return p.Match(repository) })
}

// Mark tells one secret of the robot from another; "" is none that is good now.
func (r *Robot) Mark(secret string, now time.Time) string {
	hash := hashOf(secret)
	same := subtle.ConstantTimeCompare([]byte(hash), []byte(r.Hash)) == 1
	if p := r.Previous; p != nil && now.Before(p.Until) {
		same = subtle.ConstantTimeCompare([]byte(hash), []byte(p.Hash)) == 1 || same
	}
	if !same {
		return ""
	}
	return markOf(hash)
}

// Marked says whether a secret with that mark is good now.
func (r *Robot) Marked(mark string, now time.Time) bool {
	return mark == markOf(r.Hash) || r.Previous != nil && now.Before(r.Previous.Until) && mark == markOf(r.Previous.Hash)
}

// markOf is no longer than needed: it travels.
func markOf(hash string) string { return hash[:16] }

var (
	robotName = regexp.MustCompile(`^[a-z0-9]+(?:[._-][a-z0-9]+)*$`)
	hashForm  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// Split parts "PROJECT/NAME".
func Split(full string) (project, name string, err error) {
	cut := strings.LastIndexByte(full, '/')
	if cut < 0 || !call.IsRepository(full[:cut]) || !robotName.MatchString(full[cut+1:]) {
		return "", "", fault.Newf(fault.Usage, "read name", full, "want PROJECT/NAME in lower-case letters, digits, dots and dashes")
	}
	return full[:cut], full[cut+1:], nil
}

// check gives what is wrong with it, and reads its patterns.
func (r *Robot) check() error {
	if _, _, err := Split(r.Full()); err != nil {
		return err
	}
	if len(r.Allow) == 0 {
		return fmt.Errorf("nothing is allowed to it")
	}
	for _, action := range r.Allow {
		switch action {
		case call.ActionPull, call.ActionPush, call.ActionDelete, call.ActionInspect:
		default:
			return fmt.Errorf("want pull, push, inspect or delete, got %q", action)
		}
	}
	r.patterns = nil
	for _, text := range r.Repositories {
		p, err := pattern.Compile(text, "/")
		if err != nil {
			return err
		}
		r.patterns = append(r.patterns, p)
	}
	if !hashForm.MatchString(r.Hash) || r.Previous != nil && !hashForm.MatchString(r.Previous.Hash) {
		return fmt.Errorf("its secret's hash is damaged")
	}
	return nil
}

// reaches says whether a pattern can be like any repository of the project: it is like the
// project's own name, or begins like what lies below it.
func reaches(text, project string) bool {
	if p, err := pattern.Compile(text, "/"); err == nil && p.Match(project) {
		return true
	}
	for i := range text {
		if p, err := pattern.Compile(text[:i+1], "/"); err == nil && p.Match(project+"/") {
			return true
		}
	}
	return false
}

func newSecret() (secret, hash string) {
	raw := make([]byte, 32)
	rand.Read(raw) // never fails: crypto/rand ends the program instead
	secret = secretPrefix + base64.RawURLEncoding.EncodeToString(raw)
	return secret, hashOf(secret)
}

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
