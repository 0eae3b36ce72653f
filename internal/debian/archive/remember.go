package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/fault"
)

// seen is what is remembered of a suite: the newest Release that verified.
type seen struct {
	Mirror string    `json:"mirror"`
	Suite  string    `json:"suite"`
	Date   time.Time `json:"date"`
}

// remember refuses a Release older than the one last seen for the suite at its mirror, and
// records a newer one. An attacker who replays an old, validly signed archive is found so.
func (a *Archive) remember(suite Suite, release *Release) error {
	if a.options.State == "" {
		return nil
	}
	if err := os.MkdirAll(a.options.State, 0o755); err != nil {
		return fault.New(fault.Failed, "remember archive", a.options.State, err)
	}
	sum := sha256.Sum256([]byte(strings.TrimRight(Redact(suite.Mirror), "/") + "\n" + suite.Name))
	path := filepath.Join(a.options.State, hex.EncodeToString(sum[:8])+".json")
	unlock, err := lock(path + ".lock")
	if err != nil {
		return fault.New(fault.Failed, "remember archive", path, err)
	}
	defer unlock()

	var last seen
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &last)
	}
	if err != nil && !os.IsNotExist(err) {
		return fault.New(fault.Failed, "read the date last seen", path, err).WithHint("the file is damaged; once you are sure of the archive, remove it")
	}
	switch {
	case release.Date.Equal(last.Date):
		return nil
	case release.Date.Before(last.Date):
		return fault.New(fault.Denied, "verify InRelease", suite.Name+" at "+Redact(suite.Mirror),
			fmt.Errorf("it is dated %s, older than the %s last seen: a rollback", release.Date.Format(time.RFC3339), last.Date.Format(time.RFC3339))).
			WithHint("the mirror is behind or replays an old archive; if the step back is meant, remove " + path)
	}
	text, err = json.MarshalIndent(seen{Mirror: Redact(suite.Mirror), Suite: suite.Name, Date: release.Date}, "", "  ")
	if err != nil {
		return err
	}
	if err := aside.WriteBytes(path, append(text, '\n')); err != nil {
		return fault.New(fault.Failed, "remember archive", path, err)
	}
	return nil
}

// lock holds an exclusive lock on the file until the function it gives is called.
func lock(path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}
