package verdicts

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/fault"
)

// markEvery is how often the mark is written at most: what a clock set back can win after a
// restart.
const markEvery = time.Minute

// markStep is how far the mark may lag behind: moved at every look, all cores would fight for it.
const markStep = time.Millisecond

// clock is a clock that never runs backwards, not even from one process to the next: set back, it
// would revive exceptions and periods of grace that are over. The price is that one that was set
// far ahead by mistake stays there, until somebody removes the mark.
type clock struct {
	read func() time.Time
	path string
	log  *slog.Logger

	mark   atomic.Int64 // nanoseconds since 1970: the latest time seen
	kept   atomic.Int64 // what the file holds
	behind atomic.Bool  // the clock is, and that was told
}

func openClock(path string, read func() time.Time, log *slog.Logger) (*clock, error) {
	c := &clock{read: read, path: path, log: log}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, c.keep(true)
	}
	if err == nil {
		var mark time.Time
		mark, err = time.Parse(time.RFC3339Nano, strings.TrimSpace(string(text)))
		c.mark.Store(mark.UnixNano())
		c.kept.Store(mark.UnixNano())
	}
	if err != nil {
		return nil, fault.New(fault.Failed, "read the latest time seen", path, err).
			WithHint("remove the file if the machine's clock is right")
	}
	return c, nil
}

// now gives the time, or the latest that was ever seen.
func (c *clock) now() time.Time {
	now := c.read()
	for {
		mark := c.mark.Load()
		switch ahead := time.Duration(now.UnixNano() - mark); {
		case ahead < 0:
			return time.Unix(0, mark).UTC()
		case ahead < markStep || c.mark.CompareAndSwap(mark, now.UnixNano()):
			return now
		}
	}
}

// keep writes the mark when it is time, or at once.
func (c *clock) keep(atOnce bool) error {
	now := c.now()
	if lag := now.Sub(c.read()); lag > markEvery && !c.behind.Swap(true) {
		c.log.Warn("the clock is behind the latest time seen, which counts", "latest", now, "file", c.path)
	} else if lag <= markEvery {
		c.behind.Store(false)
	}
	if kept := time.Unix(0, c.kept.Load()); now.Sub(kept) < markEvery && !(atOnce && now.After(kept)) {
		return nil
	}
	c.kept.Store(now.UnixNano())
	return aside.WriteDurable(c.path, []byte(now.UTC().Format(time.RFC3339Nano)+"\n"))
}
