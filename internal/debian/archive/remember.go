package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path"
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
	sum := sha256.Sum256([]byte(canonical(suite.Mirror) + "\n" + suite.Name))
	record := filepath.Join(a.options.State, hex.EncodeToString(sum[:8])+".json")
	unlock, err := lock(record + ".lock")
	if err != nil {
		return fault.New(fault.Failed, "remember archive", record, err)
	}
	defer unlock()

	var last seen
	text, err := os.ReadFile(record)
	if err == nil {
		err = json.Unmarshal(text, &last)
	}
	if err != nil && !os.IsNotExist(err) {
		return fault.New(fault.Failed, "read the date last seen", record, err).WithHint("the file is damaged; once you are sure of the archive, remove it")
	}
	switch {
	case release.Date.Equal(last.Date):
		return nil
	case release.Date.Before(last.Date):
		return fault.New(fault.Denied, "verify InRelease", suite.Name+" at "+Redact(suite.Mirror),
			fmt.Errorf("it is dated %s, older than the %s last seen: a rollback", release.Date.Format(time.RFC3339), last.Date.Format(time.RFC3339))).
			WithHint("the mirror is behind or replays an old archive; if the step back is meant, remove " + record)
	}
	text, err = json.MarshalIndent(seen{Mirror: Redact(suite.Mirror), Suite: suite.Name, Date: release.Date}, "", "  ")
	if err != nil {
		return err
	}
	if err := aside.WriteDurable(record, append(text, '\n')); err != nil {
		return fault.New(fault.Failed, "remember archive", record, err)
	}
	return nil
}

// canonical gives one spelling of a mirror's address, so that another one does not make it
// a mirror never seen.
func canonical(mirror string) string {
	u, err := url.Parse(Redact(mirror))
	if err != nil {
		return mirror
	}
	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	if port := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]; port != "" {
		u.Host = strings.TrimSuffix(u.Host, port)
	}
	u.Path = path.Clean("/" + u.Path)
	return u.String()
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
