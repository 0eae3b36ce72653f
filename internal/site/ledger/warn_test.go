package ledger

import (
	"bytes"
	"fmt"
	"testing"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/site/home"
)

// TestWarnOfMalware: what nobody looked at is said, as what was found is.
func TestWarnOfMalware(t *testing.T) {
	for report, want := range map[string]string{
		`{"result":"clean","layers":[{"files":3}]}`:                                          "",
		`{"result":"infected","layers":[{"infected":[{"path":"a","signature":"Eicar"}]}]}`:   "warning: app:1: malware: /a is Eicar\n",
		`{"result":"incomplete","layers":[{"unscanned":[{"path":"a"}]},{"unscanned":[{}]}]}`: "warning: app:1: malware: 2 files are larger than the scanner takes, and nobody looked at them\n",
	} {
		var said bytes.Buffer
		l := &Ledger{home: home.New(t.TempDir(), nil, home.Options{Warn: func(line, _ string) { fmt.Fprintf(&said, "warning: %s\n", line) }})}
		l.warn("app:1", []artifact.Evidence{{PredicateType: artifact.PredicateMalware, Predicate: []byte(report)}})
		if said.String() != want {
			t.Errorf("%s: it says %q, want %q", report, said.String(), want)
		}
	}
}
