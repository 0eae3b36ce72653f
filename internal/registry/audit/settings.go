package audit

import (
	"fmt"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/manifest"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

// leastSegment keeps a log from becoming more files than a folder takes.
const leastSegment = 64 << 10

// Check is the settings' check of how the log is kept.
func Check(s *settings.Settings) *manifest.Problem {
	switch a := s.Audit; {
	case a.Reads != "" && Reads(a.Reads) != ReadsFirst && Reads(a.Reads) != ReadsAll && Reads(a.Reads) != ReadsNone:
		return manifest.Bad("spec.audit.reads", fmt.Sprintf("want %s, %s or %s, got %q", ReadsFirst, ReadsAll, ReadsNone, a.Reads))
	case a.CheckpointEvery < 0:
		return manifest.Bad("spec.audit.checkpointEvery", "it cannot be negative")
	case !a.SegmentSize.IsZero() && a.SegmentSize.Value() < leastSegment:
		return manifest.Bad("spec.audit.segmentSize", "want at least 64Ki")
	}
	return nil
}

// With gives the options as the settings have them.
func (o Options) With(a v1alpha1.RegistryAudit) Options {
	o.Reads, o.CheckpointEvery, o.SegmentBytes = Reads(a.Reads), a.CheckpointEvery, a.SegmentSize.Value()
	return o
}
