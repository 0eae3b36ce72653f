package inventory

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
)

func TestRowsAreReadAsTheyWereWritten(t *testing.T) {
	sets := []positioned{{0, 1}, {3, 1 << 40}, {200, 7}}
	base, gotSets := decodeStack(nil, encodeStack(5, sets))
	if diff := cmp.Diff(sets, gotSets, cmp.AllowUnexported(positioned{})); diff != "" || base != 5 {
		t.Error(base, diff)
	}
	if diff := cmp.Diff([]int32{1, 2, 300, 1 << 30}, decodeNumbers(nil, encodeNumbers([]int64{1, 2, 300, 1 << 30}))); diff != "" {
		t.Error(diff)
	}
	places := []place{{Paths: []string{"a", "b\nc"}, FoundBy: []string{"image"}}, {}, {Paths: []string{strings.Repeat("x", 1000)}}}
	packed, err := encodePlaces(places)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodePlaces(packed, func(i int) bool { return i != 1 })
	if diff := cmp.Diff(map[int]place{0: places[0], 2: places[2]}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	evidence := []Evidence{
		{PredicateType: artifact.PredicateSPDX, Digest: "sha256:" + strings.Repeat("ab", 32), Stored: "tag"},
		{PredicateType: artifact.PredicateSignature, Digest: "sha512:" + strings.Repeat("cd", 64), KeyID: "k", VerifiedAt: time.Unix(1e9, 0).UTC()},
		{PredicateType: artifact.PredicateSPDX, Stored: "tag"},
	}
	claims := claimsOf(evidence)
	if diff := cmp.Diff(evidence, decodeEvidence(encodeEvidence(evidence, claims), claims)); diff != "" || len(claims) != 2 {
		t.Error(len(claims), diff)
	}
}

func TestGlobMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"*", "", true}, {"?", "", false}, {"a*c", "abbc", true}, {"a*c", "abcd", false}, {"*a*a*", "banana", true},
		{"?é", "xé", true}, {"[a]", "a", false}, {"[a]", "[a]", true}, {"**x", "x", true}, {"a", "ab", false},
	} {
		if got := globMatch(c.pattern, c.text); got != c.want {
			t.Errorf("%q matches %q: %t, want %t", c.pattern, c.text, got, c.want)
		}
	}
}

// FuzzRows reads what a damaged database could hold: nothing may panic or go on for ever.
func FuzzRows(f *testing.F) {
	packed, err := encodePlaces([]place{{Paths: []string{"a"}, FoundBy: []string{"image"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed)
	f.Add(encodeStack(2, []positioned{{1, 2}}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, row []byte) {
		decodeNumbers(nil, row)
		decodeStack(nil, row)
		decodeEvidence(row, []claim{{PredicateType: "x"}})
		if _, err := decodePlaces(row, func(int) bool { return true }); err != nil {
			return
		}
	})
}

func FuzzCursor(f *testing.F) {
	f.Add(cursor{"registry.example/app:1", 7}.String())
	f.Add("e30")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := readCursor(text)
		if err != nil || c == nil {
			return
		}
		again, err := readCursor(c.String())
		if diff := cmp.Diff(c, again); diff != "" || err != nil {
			t.Error(diff, err)
		}
	})
}
