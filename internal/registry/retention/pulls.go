package retention

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/call"
)

// Pulls knows on which day each manifest was last pulled. It is safe for concurrent use.
//
// Its file has a line that says since when pulls are known, and one for each manifest. What
// was never pulled since counts as pulled then: to know nothing of a tag is no reason to
// remove it.
type Pulls struct {
	path string
	log  *slog.Logger

	mu    sync.Mutex
	since time.Time
	days  map[string]time.Time // by "repository@digest"
	dirty bool
}

const (
	pullsHeader = "# plimsoll pulls v1, known since "
	saveEvery   = time.Minute
	// forgotten is after how long a pull is not known any more. No rule may look further back.
	forgotten = 3 * 366 * 24 * time.Hour
)

// OpenPulls reads the file; where there is none, pulls are known from now on. A file that
// cannot be understood is an error: *fault.Error.
func OpenPulls(path string, log *slog.Logger) (*Pulls, error) {
	p := &Pulls{path: path, log: log, days: map[string]time.Time{}}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.since, p.dirty = time.Now().UTC(), true
		return p, p.Save()
	case err == nil:
		p.since, p.days, err = parsePulls(text)
	}
	if err != nil {
		return nil, fault.New(fault.Failed, "read pulls", path, err).
			WithHint("remove the file: pulls are known from then on, and what was not pulled counts as pulled then")
	}
	return p, nil
}

func parsePulls(text []byte) (time.Time, map[string]time.Time, error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	if !lines.Scan() {
		return time.Time{}, nil, errors.New("it is empty")
	}
	first, ok := strings.CutPrefix(lines.Text(), pullsHeader)
	since, err := time.Parse(time.RFC3339, first)
	if !ok || err != nil {
		return time.Time{}, nil, errors.New("line 1: it does not say since when pulls are known")
	}
	days := map[string]time.Time{}
	for n := 2; lines.Scan(); n++ {
		day, manifest, ok := strings.Cut(lines.Text(), " ")
		at, err := time.Parse(time.DateOnly, day)
		if !ok || err != nil || !strings.Contains(manifest, "@") {
			return time.Time{}, nil, fmt.Errorf("line %d: want a day, and a manifest", n)
		}
		days[manifest] = at
	}
	return since, days, lines.Err()
}

// Hear notes a pull of a manifest.
func (p *Pulls) Hear(r *call.Record) {
	if r.Method != http.MethodGet || !r.OK() || r.Endpoint.Kind != call.KindManifest || r.Digest == "" {
		return
	}
	p.note(r.Endpoint.Repository+"@"+r.Digest, r.Time)
}

func (p *Pulls) note(manifest string, at time.Time) {
	day := at.UTC().Truncate(24 * time.Hour)
	p.mu.Lock()
	defer p.mu.Unlock()
	if day.After(p.days[manifest]) {
		p.days[manifest], p.dirty = day, true
	}
}

// Last gives until when a manifest was pulled at the latest: the end of the day of its last
// pull, or the time since when pulls are known.
func (p *Pulls) Last(repository, digest string) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if day, ok := p.days[repository+"@"+digest]; ok && day.Add(24*time.Hour).After(p.since) {
		return day.Add(24 * time.Hour)
	}
	return p.since
}

// Run saves what came from time to time, and when ctx ends.
func (p *Pulls) Run(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for ending := false; !ending; {
		select {
		case <-ctx.Done():
			ending = true
		case <-tick.C:
		}
		if err := p.Save(); err != nil {
			p.log.Error("when images were last pulled cannot be written", "error", err)
		}
	}
}

// Save writes the file, if anything came since it last was. Errors are *fault.Error.
func (p *Pulls) Save() error {
	p.mu.Lock()
	if !p.dirty {
		p.mu.Unlock()
		return nil
	}
	maps.DeleteFunc(p.days, func(_ string, day time.Time) bool { return time.Since(day) > forgotten })
	text := fmt.Appendf(nil, "%s%s\n", pullsHeader, p.since.UTC().Format(time.RFC3339))
	for _, manifest := range slices.Sorted(maps.Keys(p.days)) {
		text = fmt.Appendf(text, "%s %s\n", p.days[manifest].Format(time.DateOnly), manifest)
	}
	p.dirty = false
	p.mu.Unlock()
	if err := aside.WriteDurable(p.path, text); err != nil {
		p.mu.Lock()
		p.dirty = true
		p.mu.Unlock()
		return fault.New(fault.Failed, "write pulls", p.path, err)
	}
	return nil
}
