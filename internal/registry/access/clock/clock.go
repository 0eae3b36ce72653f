// Package clock takes the machine's clock and gives one that never goes back, also not over
// a restart: what has expired stays so.
package clock

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/fault"
)

// keepEvery is how much time may be forgotten by a restart.
const keepEvery = time.Minute

// tolerated is how far machines' clocks differ that agree.
const tolerated = 5 * time.Minute

// Clock is a clock. It is safe for concurrent use.
type Clock struct {
	path    string
	machine func() time.Time
	log     *slog.Logger

	mu   sync.Mutex
	high time.Time // the latest time given, of the wall
	at   time.Time // when that was, as the machine counts
	kept time.Time // what the file says
}

// Open begins at the latest time that the file at path remembers, if that is later than the
// machine's.
func Open(path string, machine func() time.Time, log *slog.Logger) (*Clock, error) {
	c := &Clock{path: path, machine: machine, log: log}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fault.New(fault.Failed, "read clock mark", path, err)
	}
	if err == nil {
		if c.kept, err = time.Parse(time.RFC3339, strings.TrimSpace(string(text))); err != nil {
			return nil, fault.New(fault.Failed, "read clock mark", path, err).
				WithHint("remove the file if the clock is right: expiries count from it on")
		}
	}
	c.at = machine()
	c.high = wall(c.at)
	if behind := c.kept.Sub(c.high); behind > 0 {
		c.high = c.kept
		if behind > tolerated {
			log.Error("the clock is behind what it once was: expiries count from the later time; if it was wrong then, remove the file",
				"file", path, "later", c.kept, "now", wall(c.at))
		}
	}
	return c, nil
}

// Now gives the time. While the machine's clock is behind, it goes on from the latest time
// given as the machine's monotonic clock does.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.machine()
	if passed := now.Sub(c.at); passed > 0 {
		c.high = c.high.Add(passed)
	}
	c.at = now
	if w := wall(now); w.After(c.high) {
		c.high = w
	}
	if c.high.Sub(c.kept) >= keepEvery {
		c.keep()
	}
	return c.high
}

// keep writes the mark. A failure costs no more than what a restart forgets.
func (c *Clock) keep() {
	if err := aside.WriteBytes(c.path, []byte(c.high.UTC().Format(time.RFC3339)+"\n")); err != nil {
		c.log.Warn("the clock's mark cannot be kept: after a restart a clock set back would not be noticed", "error", err)
	}
	c.kept = c.high
}

// wall strips the monotonic reading, which comparisons would use.
func wall(t time.Time) time.Time { return t.Round(0) }
