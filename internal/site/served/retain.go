package served

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/retention"
	"plimsoll.dev/plimsoll/internal/registry/settings"
	"plimsoll.dev/plimsoll/internal/site/home"
)

// RetainOptions are what Retain may be told.
type RetainOptions struct {
	DryRun bool          // only say what would be removed
	Grace  time.Duration // spare what is younger: longer than a push takes; 0 is nothing
	Logger *slog.Logger
}

// Retain applies the retention rules of the home to its store now, and tells of what that removed
// whom a server tells.
func Retain(ctx context.Context, h *home.Home, reg *registry.Registry, o RetainOptions) (retention.Report, error) {
	said, err := SettingsNow(h)
	if err != nil {
		return retention.Report{}, err
	}
	pulls, err := retention.OpenPulls(pullsFile(h), o.Logger)
	if err != nil {
		return retention.Report{}, err
	}
	now := func() *settings.Settings { return said }
	report, err := retention.New(reg, now, pulls, retention.Options{Grace: cmp.Or(o.Grace, time.Nanosecond), Logger: o.Logger}).Run(ctx, o.DryRun)
	if o.DryRun || len(report.Removed) == 0 {
		return report, err
	}
	record, told, failed := openRecorder(ctx, h, o.Logger, said)
	if failed == nil {
		retained(ctx, h, report, record, told)
		failed = record.Close()
	}
	return report, cmp.Or(err, failed)
}
