package vex_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	openvex "github.com/openvex/go-vex/pkg/vex"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/vuln/vex"
)

const (
	digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	index  = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	other  = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
)

// document gives a document with the statements, each a JSON object.
func document(statements ...string) string {
	return `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://vex.example/1","author":"Ann","timestamp":"2026-01-02T03:04:05Z","version":1,"statements":[` +
		strings.Join(statements, ",") + `]}`
}

// statement is about CVE-2025-1 in the products, each a JSON object.
func statement(status, time string, products ...string) string {
	text := fmt.Sprintf(`{"vulnerability":{"name":"CVE-2025-1"},"status":%q,"products":[%s]`, status, strings.Join(products, ","))
	if status == "not_affected" {
		text += `,"justification":"component_not_present","impact_statement":"We have none."`
	}
	if time != "" {
		text += fmt.Sprintf(`,"timestamp":%q`, time)
	}
	return text + "}"
}

func product(id string, parts ...string) string {
	var all []string
	for _, part := range parts {
		all = append(all, fmt.Sprintf(`{"@id":%q}`, part))
	}
	return fmt.Sprintf(`{"@id":%q,"subcomponents":[%s]}`, id, strings.Join(all, ","))
}

func parse(t testing.TB, text, about string) *vex.Document {
	t.Helper()
	d, err := vex.Parse([]byte(text), "a.json", about)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var (
	app   = artifact.Package{Type: "golang", Namespace: "example.com", Name: "app", Version: "v1.0.0", Paths: []string{"app/bin"}}
	net   = artifact.Package{Type: "golang", Namespace: "golang.org/x", Name: "net", Version: "v0.1.0", Paths: []string{"app/bin"}}
	both  = artifact.Package{Type: "golang", Namespace: "golang.org/x", Name: "sys", Version: "v0.1.0", Paths: []string{"app/bin", "other"}}
	image = vex.Image{
		Contents: artifact.Contents{Image: digest, Packages: []artifact.Package{app, net, both}},
		Digests:  []string{index}, Repository: "registry.example/team/app",
	}
)

func TestProducts(t *testing.T) {
	const sys = "pkg:golang/golang.org/x/sys"
	tests := []struct {
		name, product string
		p             artifact.Package
		want          bool
	}{
		{"the image by digest", product("pkg:oci/app@" + strings.Replace(digest, ":", "%3A", 1)), net, true},
		{"its index", product("pkg:oci/anything@" + index), net, true},
		{"another image", product("pkg:oci/app@" + other), net, false},
		{"a bare digest", product(digest), net, true},
		{"a hash", `{"@id":"https://app.example","hashes":{"sha-256":"` + strings.TrimPrefix(digest, "sha256:") + `"}}`, net, true},
		{"another hash", `{"@id":"https://app.example","hashes":{"sha-256":"` + strings.TrimPrefix(other, "sha256:") + `"}}`, net, false},
		{"an identifier", `{"@id":"https://app.example","identifiers":{"purl":"pkg:oci/app@` + digest + `"}}`, net, true},
		{"a repository with its name", product("pkg:oci/app?repository_url=registry.example/team/app"), net, true},
		{"a repository without it", product("pkg:oci/app?repository_url=registry.example/team"), net, true},
		{"another repository", product("pkg:oci/app?repository_url=registry.example/else/app"), net, false},
		{"a tag, which moves", product("pkg:oci/app?repository_url=registry.example/team/app&tag=1"), net, false},
		{"a name in any registry", product("pkg:oci/app"), net, false},
		{"a part of the image", product("pkg:oci/app@"+digest, "pkg:golang/golang.org/x/net@v0.1.0"), net, true},
		{"its version without a v", product("pkg:oci/app@"+digest, "pkg:golang/golang.org/x/net@0.1.0"), net, true},
		{"any version of it", product("pkg:oci/app@"+digest, "pkg:golang/golang.org/x/net"), net, true},
		{"another version", product("pkg:oci/app@"+digest, "pkg:golang/golang.org/x/net@v0.2.0"), net, false},
		{"another part", product("pkg:oci/app@"+digest, sys), net, false},
		{"a part that is not understood", product("pkg:oci/app@"+digest, "cpe:2.3:a:x:y"), net, false},
		{"the package", product("pkg:golang/golang.org/x/net@v0.1.0"), net, true},
		{"a package with a qualifier that it has not", product("pkg:golang/golang.org/x/net@v0.1.0?goos=linux"), net, false},
		{"a program's part", product("pkg:golang/example.com/app@v1.0.0", "pkg:golang/golang.org/x/net"), net, true},
		{"a part that is in another program, too", product("pkg:golang/example.com/app@v1.0.0", sys), both, false},
		{"a part of a program that is not here", product("pkg:golang/example.com/else", "pkg:golang/golang.org/x/net"), net, false},
		{"something else altogether", product("https://example.com/product"), net, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := parse(t, document(statement("not_affected", "", tt.product)), "")
			got := vex.Apply([]artifact.Finding{{ID: "CVE-2025-1", Package: tt.p}}, image, []*vex.Document{d})
			if suppressed := got[0].Suppressed != nil; suppressed != tt.want {
				t.Errorf("suppressed %t, want %t", suppressed, tt.want)
			}
		})
	}
}

func TestTheNewestStatementCounts(t *testing.T) {
	const old, young = "2025-01-01T00:00:00Z", "2026-06-01T00:00:00Z"
	whole := product(digest)
	tests := []struct {
		name       string
		statements []string
		want       string // the status of the suppression
	}{
		{"not affected", []string{statement("not_affected", "", whole)}, "not_affected"},
		{"fixed", []string{statement("fixed", "", whole)}, "fixed"},
		{"affected", []string{statement("affected", "", whole)}, ""},
		{"looked at", []string{statement("under_investigation", "", whole)}, ""},
		{"the newer suppresses", []string{statement("not_affected", young, whole), statement("affected", old, whole)}, "not_affected"},
		{"the newer takes it back", []string{statement("not_affected", old, whole), statement("affected", young, whole)}, ""},
		{"the document's time where a statement has none", []string{statement("not_affected", "", whole), statement("affected", old, whole)}, "not_affected"},
		{"at one time the worse", []string{statement("not_affected", old, whole), statement("under_investigation", old, whole)}, ""},
		{"at one time the worse, the other way round", []string{statement("affected", old, whole), statement("fixed", old, whole)}, ""},
		{"a newer one about something else", []string{statement("not_affected", old, whole), statement("affected", young, product(other))}, "not_affected"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			findings := []artifact.Finding{{ID: "CVE-2025-1", Package: net}, {ID: "GHSA-1", Aliases: []string{"CVE-2025-1"}, Package: net}, {ID: "CVE-2025-2", Package: net}}
			documents := []*vex.Document{}
			for _, s := range tt.statements { // each in a document of its own
				documents = append(documents, parse(t, document(s), ""))
			}
			got := vex.Apply(findings, image, documents)
			for i, want := range []string{tt.want, tt.want, ""} {
				status := ""
				if got[i].Suppressed != nil {
					status = got[i].Suppressed.Status
				}
				if status != want {
					t.Errorf("%s: %q, want %q", got[i].ID, status, want)
				}
			}
			if findings[0].Suppressed != nil {
				t.Error("the findings that were given are changed")
			}
		})
	}
}

func TestANewerDocumentReplacesOlderOnes(t *testing.T) {
	said := func(written, updated string, version int, vulnerability string) *vex.Document {
		text := strings.Replace(document(statement("not_affected", "", product(digest))), "2026-01-02T03:04:05Z", written, 1)
		text = strings.Replace(text, `"version":1`, fmt.Sprintf(`"version":%d`, version), 1)
		if updated != "" {
			text = strings.Replace(text, `"author"`, fmt.Sprintf(`"last_updated":%q,"author"`, updated), 1)
		}
		return parse(t, strings.Replace(text, "CVE-2025-1", vulnerability, 1), digest)
	}
	const may, june = "2026-05-01T00:00:00Z", "2026-06-01T00:00:00Z"
	tests := []struct {
		name      string
		documents []*vex.Document
		want      []int // of those that count
	}{
		{"none", nil, nil},
		{"what the newer one leaves out is withdrawn", []*vex.Document{said(may, "", 1, "CVE-1"), said(june, "", 1, "CVE-2")}, []int{1}},
		{"in whatever order", []*vex.Document{said(june, "", 1, "CVE-2"), said(may, "", 9, "CVE-1")}, []int{0}},
		{"one that was updated", []*vex.Document{said(may, june, 2, "CVE-1"), said(may, "", 1, "CVE-2")}, []int{0}},
		{"the version, where the time is one", []*vex.Document{said(may, "", 1, "CVE-1"), said(may, "", 2, "CVE-2")}, []int{1}},
		{"both, where nothing tells them apart", []*vex.Document{said(may, "", 1, "CVE-1"), said(may, "", 1, "CVE-2")}, []int{0, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var want []*vex.Document
			for _, i := range tt.want {
				want = append(want, tt.documents[i])
			}
			if got := vex.Newest(tt.documents); !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		})
	}
}

func TestTheReasonIsKept(t *testing.T) {
	d := parse(t, document(statement("not_affected", "", product(digest))), "")
	got := vex.Apply([]artifact.Finding{{ID: "CVE-2025-1", Package: net}}, image, []*vex.Document{d})
	want := &artifact.Suppression{Status: "not_affected", Justification: "component_not_present", Statement: "We have none.", Author: "Ann", From: "a.json"}
	if diff := cmp.Diff(want, got[0].Suppressed); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestAnAttestationIsAboutItsSubject(t *testing.T) {
	text := document(`{"vulnerability":{"name":"CVE-2025-1"},"status":"fixed"}`)
	if _, err := vex.Parse([]byte(text), "a.json", ""); err == nil {
		t.Error("a file whose statement names no product was read")
	}
	for _, tt := range []struct {
		about string
		want  bool
	}{{digest, true}, {index, true}, {other, false}} {
		got := vex.Apply([]artifact.Finding{{ID: "CVE-2025-1", Package: net}}, image, []*vex.Document{parse(t, text, tt.about)})
		if (got[0].Suppressed != nil) != tt.want {
			t.Errorf("an attestation about %s: %+v", tt.about, got[0].Suppressed)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	sound := document(statement("not_affected", "", product(digest)))
	parse(t, sound, "") // what the cases spoil is sound
	spoil := func(old, new string) string {
		if !strings.Contains(sound, old) {
			t.Fatalf("%s is not in %s", old, sound)
		}
		return strings.Replace(sound, old, new, 1)
	}
	tests := []struct{ name, text string }{
		{"no JSON", "x"},
		{"an array", "[]"},
		{"another version", spoil("v0.2.0", "v0.1.0")},
		{"another format", `{"bomFormat":"CycloneDX"}`},
		{"no author", spoil(`"author":"Ann",`, "")},
		{"no time", spoil(`"timestamp":"2026-01-02T03:04:05Z",`, "")},
		{"a time that is none", spoil("2026-01-02", "yesterday")},
		{"no statement", document()},
		{"no name", spoil(`"name":"CVE-2025-1"`, `"name":""`)},
		{"a status that is none", spoil(`"status":"not_affected"`, `"status":"unaffected"`)},
		{"a justification that is none", spoil("component_not_present", "because")},
		{"no reason", spoil(`,"justification":"component_not_present","impact_statement":"We have none."`, "")},
		{"a justification of what is affected", spoil(`"status":"not_affected"`, `"status":"affected"`)},
		{"no product", spoil(product(digest), "")},
		{"a field in another case", spoil(`"status"`, `"Status"`)},
		{"a field twice", spoil(`"status"`, `"status":"affected","status"`)},
		{"too many statements", document(strings.TrimSuffix(strings.Repeat(statement("fixed", "", product(digest))+",", 20_001), ","))},
		{"too large", sound + strings.Repeat(" ", 16<<20)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := vex.Parse([]byte(tt.text), "a.json", ""); fault.KindOf(err) != fault.Failed || fault.HintOf(err) == "" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vex.json")
	var e *fault.Error
	if _, err := vex.Load(path); !errors.As(err, &e) || e.Kind != fault.NotFound {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(path, []byte(document(statement("fixed", "", product(digest)))), 0o644); err != nil {
		t.Fatal(err)
	}
	if d, err := vex.Load(path); err != nil || d.From != path || len(d.Statements) != 1 {
		t.Errorf("got %+v, %v", d, err)
	}
}

// TestAsGoVEX holds what is suppressed to the reference library's matching where both speak
// of one thing: a product by package URL and its parts.
func TestAsGoVEX(t *testing.T) {
	subject := "pkg:oci/app@" + strings.Replace(digest, ":", "%3A", 1)
	for _, p := range []string{
		product(subject), product(subject, "pkg:golang/golang.org/x/net@v0.1.0"), product(subject, "pkg:golang/golang.org/x/net"),
		product(subject, "pkg:golang/golang.org/x/net@v0.2.0"), product(subject, "pkg:golang/golang.org/x/text"),
		product("pkg:oci/app@"+strings.Replace(other, ":", "%3A", 1), "pkg:golang/golang.org/x/net"),
	} {
		text := document(statement("not_affected", "", p))
		theirs, err := openvex.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		want := len(theirs.Matches("CVE-2025-1", subject, []string{net.PURL()})) > 0
		got := vex.Apply([]artifact.Finding{{ID: "CVE-2025-1", Package: net}}, image, []*vex.Document{parse(t, text, "")})
		if (got[0].Suppressed != nil) != want {
			t.Errorf("%s: suppressed %t, go-vex says %t", p, got[0].Suppressed != nil, want)
		}
	}
}

// FuzzParse feeds anything to Parse: what it takes has a known status and a product, and
// can be applied.
func FuzzParse(f *testing.F) {
	f.Add([]byte(document(statement("not_affected", "2026-01-01T00:00:00Z", product(digest, "pkg:npm/a@1")))))
	f.Add([]byte(document(statement("fixed", "", `{"hashes":{"sha-256":"x"},"identifiers":{"purl":"pkg:oci/a"}}`))))
	f.Add([]byte(`{"@context":"https://openvex.dev/ns/v0.2.0","statements":[null]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := vex.Parse(data, "fuzz", "")
		if err != nil {
			return
		}
		if !json.Valid(data) {
			t.Error("it took what is no JSON")
		}
		for _, s := range d.Statements {
			if s.Status == "" || len(s.Products) == 0 || len(s.Names) == 0 || s.Names[0] == "" {
				t.Errorf("it took %+v", s)
			}
		}
		vex.Apply([]artifact.Finding{{ID: d.Statements[0].Names[0], Package: net}}, image, []*vex.Document{d})
	})
}
