package update

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // for machines that have no zones

	"github.com/robfig/cron/v3"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
)

// window is a time that comes again.
type window struct {
	start    cron.Schedule
	duration time.Duration
	zone     *time.Location
}

// newWindows reads windows. Fields are those of cron(5), times those of the window's zone: a
// start that summer time leaves out is not in that day, one that comes twice counts once.
func newWindows(specs []v1alpha1.PatchWindow) ([]window, error) {
	var all []window
	for _, spec := range specs {
		w := window{duration: spec.Duration.Duration, zone: time.UTC}
		var err error
		if w.start, err = parseStart(spec.Start); err == nil && spec.TimeZone != "" {
			w.zone, err = time.LoadLocation(spec.TimeZone)
		}
		if err == nil && w.duration <= 0 {
			err = fmt.Errorf("a duration of %s is none", w.duration)
		}
		if err != nil {
			return nil, fault.New(fault.Usage, "read the window", spec.Start, err).
				WithHint(`write five fields as cron has them, such as "0 22 * * 1-5", and a zone such as "Europe/Berlin"`)
		}
		all = append(all, w)
	}
	return all, nil
}

// parseStart reads five fields and nothing else: cron's parser takes a zone before them, too,
// and panics where nothing follows it.
func parseStart(text string) (cron.Schedule, error) {
	if len(strings.Fields(text)) != 5 || strings.ContainsAny(text, "=@") {
		return nil, errors.New("want five fields")
	}
	return cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(text)
}

// open says whether one of the windows is open, and if not when the next opens; zero is never.
// No windows are always open.
func open(windows []window, now time.Time) (bool, time.Time) {
	var next time.Time
	for _, w := range windows {
		local := now.In(w.zone)
		// The last start that is not over yet: one that comes within the window's length.
		begun := w.start.Next(local.Add(-w.duration))
		if !begun.IsZero() && !begun.After(local) {
			return true, time.Time{}
		}
		if !begun.IsZero() && (next.IsZero() || begun.Before(next)) {
			next = begun
		}
	}
	return len(windows) == 0, next.UTC()
}
