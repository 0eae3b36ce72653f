package facts

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/bill/billtest"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/cyclonedx"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/spdx"
)

// TestBills: what is known of a bill for having made it, or for having read it before, are the facts
// that reading it gives.
func TestBills(t *testing.T) {
	all := billtest.Contents()
	all["many"] = billtest.Many(300)
	for name, c := range all {
		bills := []artifact.Evidence{ // in the order of the forms
			{PredicateType: artifact.PredicateCycloneDX, Predicate: cyclonedx.Encode(c, billtest.About())},
			{PredicateType: artifact.PredicateSPDX, Predicate: spdx.Encode(c, billtest.About())},
		}
		var said []claim
		for _, e := range bills {
			said = append(said, claim{kind: e.PredicateType, predicate: e.Predicate})
		}
		made, read := NewBills(), NewBills()
		made.Made(c, bills...)
		other := c
		other.Packages = append([]artifact.Package{{Type: "npm", Name: "unlisted", Version: "1"}}, c.Packages[:len(c.Packages)/2]...)
		for what, held := range map[string]artifact.Contents{"the same": c, "others": other} {
			want := sbomOf(nil, said, held)
			for how, b := range map[string]*Bills{"made": made, "read": read, "read again": read} {
				if diff := cmp.Diff(want, sbomOf(b, said, held)); diff != "" {
					t.Errorf("%s, %s, held against %s: -want +got\n%s", name, how, what, diff)
				}
			}
		}
		for i, f := range []format{formats()[1], formats()[0]} { // the text is one of the other form
			if got, err := made.parse(f, bills[i].Predicate); err == nil {
				t.Errorf("%s: read as %s a bill of another form names %d packages", name, f.name, len(got))
			}
		}
		if len(c.Packages) > 0 {
			for i, f := range formats() {
				if _, known := made.named.Get(f.key(bills[i].Predicate)); !known {
					t.Errorf("%s: nothing is remembered of the bill as %s", name, f.name)
				}
			}
		}
	}
}
