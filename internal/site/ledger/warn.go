package ledger

import (
	"encoding/json"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/hardening"
	"plimsoll.dev/plimsoll/internal/evidence/malware"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site/home"
)

// warn tells whoever makes an image what its reports say that cannot wait until somebody
// reads them: malware, files that nobody looked at for it, and secrets that everybody who pulls the image will have.
func (l *Ledger) warn(ref string, evidence []artifact.Evidence) {
	for _, e := range evidence {
		switch e.PredicateType {
		case artifact.PredicateMalware:
			var r malware.Report
			if json.Unmarshal(e.Predicate, &r) != nil {
				continue
			}
			unscanned := 0
			for _, layer := range r.Layers {
				unscanned += len(layer.Unscanned)
				for _, f := range layer.Infected {
					l.line(ref, "malware: %s is %s", "/"+f.Path, f.Signature)
				}
			}
			if unscanned > 0 {
				l.line(ref, "malware: %d files are larger than the scanner takes, and nobody looked at them", unscanned)
			}
		case artifact.PredicateHardening:
			var r hardening.Report
			if json.Unmarshal(e.Predicate, &r) != nil {
				continue
			}
			for _, s := range r.Secrets {
				if !s.Sample {
					l.line(ref, "a secret lies in it: %s in %s %s", s.Kind, string(s.In), s.Name)
				}
			}
		}
	}
}

func (l *Ledger) line(ref, format string, args ...any) {
	l.home.Warn(ref+": "+fmt.Sprintf(format, args...), "")
}

// warnOfLeft tells of evidence that was replaced and still counts, because the registry does
// not let it be removed.
func warnOfLeft(h *home.Home, ref oci.Reference, left []v1.Hash) {
	for _, digest := range left {
		h.Warn(fmt.Sprintf("%s: the registry keeps what was replaced: %s", ref, digest), "")
	}
}
