package vex

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/package-url/packageurl-go"
	strict "sigs.k8s.io/json"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Limits on a document. The largest that are published have some thousand statements.
const (
	maxDocument   = 16 << 20
	maxStatements = 20_000
	maxProducts   = 200_000 // and parts of products, in all statements
	maxText       = 4096    // bytes of what is kept of prose
)

// context is what a document of the format starts with.
const context = "https://openvex.dev/ns/v0.2.0"

// The document as it is written (OpenVEX v0.2.0, "The VEX Document", "Statement").
type documentJSON struct {
	Context    string          `json:"@context"`
	ID         string          `json:"@id"`
	Author     string          `json:"author"`
	Timestamp  *time.Time      `json:"timestamp"`
	Updated    *time.Time      `json:"last_updated"`
	Version    int             `json:"version"`
	Statements []statementJSON `json:"statements"`
}

type statementJSON struct {
	Vulnerability struct {
		Name    string   `json:"name"`
		Aliases []string `json:"aliases"`
	} `json:"vulnerability"`
	Timestamp       *time.Time    `json:"timestamp"`
	Products        []productJSON `json:"products"`
	Status          Status        `json:"status"`
	StatusNotes     string        `json:"status_notes"`
	Justification   string        `json:"justification"`
	ImpactStatement string        `json:"impact_statement"`
	ActionStatement string        `json:"action_statement"`
}

type productJSON struct {
	componentJSON
	Subcomponents []componentJSON `json:"subcomponents"`
}

type componentJSON struct {
	ID          string            `json:"@id"`
	Identifiers map[string]string `json:"identifiers"`
	Hashes      map[string]string `json:"hashes"`
}

// Parse reads a document. from is what its statements are told to be from; about is the
// digest of the image that an attestation with the document is about, which is the product
// of statements that name none, or "". What is not understood is refused: a statement that
// is read wrongly hides a vulnerability.
func Parse(data []byte, from, about string) (*Document, error) {
	d, err := parse(data, about)
	if err != nil {
		return nil, fault.New(fault.Failed, "read VEX document", from, err).WithHint("it is to be OpenVEX v0.2.0 in JSON: docs/scan.md shows one")
	}
	d.From = from
	return d, nil
}

func parse(data []byte, about string) (*Document, error) {
	if len(data) > maxDocument {
		return nil, fmt.Errorf("it is larger than %d bytes", maxDocument)
	}
	var in documentJSON
	twice, err := strict.UnmarshalStrict(data, &in, strict.DisallowDuplicateFields)
	if err := errors.Join(append(twice, err)...); err != nil {
		return nil, err
	}
	switch {
	case in.Context != context:
		return nil, fmt.Errorf("@context is %.100q, want %q", in.Context, context)
	case in.ID == "":
		return nil, errors.New("@id is missing")
	case in.Author == "":
		return nil, errors.New("author is missing")
	case in.Timestamp == nil:
		return nil, errors.New("timestamp is missing")
	case len(in.Statements) == 0:
		return nil, errors.New("statements: there is none")
	case len(in.Statements) > maxStatements:
		return nil, fmt.Errorf("statements: more than %d", maxStatements)
	}
	out := &Document{Author: shorten(in.Author), Written: *in.Timestamp, Version: in.Version, Statements: make([]Statement, 0, len(in.Statements))}
	if in.Updated != nil && in.Updated.After(out.Written) {
		out.Written = *in.Updated
	}
	products := 0
	for i := range in.Statements {
		s, err := in.Statements[i].read(*in.Timestamp, about)
		if err != nil {
			return nil, fmt.Errorf("statements[%d]: %w", i, err)
		}
		for _, p := range s.Products {
			if products += 1 + len(p.Parts); products > maxProducts {
				return nil, fmt.Errorf("more than %d products", maxProducts)
			}
		}
		out.Statements = append(out.Statements, s)
	}
	return out, nil
}

func (in *statementJSON) read(written time.Time, about string) (Statement, error) {
	if err := in.check(); err != nil {
		return Statement{}, err
	}
	s := Statement{
		Names: append([]string{in.Vulnerability.Name}, in.Vulnerability.Aliases...), Time: written,
		Status: in.Status, Justification: in.Justification, Note: shorten(cmp.Or(in.ImpactStatement, in.StatusNotes)),
	}
	if in.Timestamp != nil {
		s.Time = *in.Timestamp
	}
	slices.Sort(s.Names)
	s.Names = slices.Compact(s.Names) // an alias that is the name must not count twice
	for _, p := range in.Products {
		product := Product{Component: p.read()}
		for _, part := range p.Subcomponents {
			product.Parts = append(product.Parts, part.read())
		}
		s.Products = append(s.Products, product)
	}
	if len(s.Products) == 0 {
		sum, ok := strings.CutPrefix(about, "sha256:")
		if !ok {
			return Statement{}, errors.New("products: it names none")
		}
		s.Products = []Product{{Component: Component{SHA256: []string{sum}}}}
	}
	return s, nil
}

// check holds a statement to OpenVEX v0.2.0, "Status Labels" and "Status Justifications".
func (in *statementJSON) check() error {
	switch {
	case in.Vulnerability.Name == "":
		return errors.New("vulnerability.name is missing")
	case slices.Contains(in.Vulnerability.Aliases, ""):
		return errors.New("vulnerability.aliases: one is empty")
	case !slices.Contains([]Status{NotAffected, Fixed, Affected, UnderInvestigation}, in.Status):
		return fmt.Errorf("status: %.60q is none", in.Status)
	case in.Justification != "" && in.Status != NotAffected:
		return fmt.Errorf("justification: it does not go with the status %s", in.Status)
	case in.Justification != "" && !slices.Contains(justifications(), in.Justification):
		return fmt.Errorf("justification: %.60q is none; want %s", in.Justification, strings.Join(justifications(), ", "))
	case in.Status == NotAffected && in.Justification == "" && in.ImpactStatement == "":
		return errors.New("not_affected needs a justification or an impact_statement")
	}
	return nil
}

func justifications() []string {
	return []string{
		"component_not_present", "vulnerable_code_not_present", "vulnerable_code_not_in_execute_path",
		"vulnerable_code_cannot_be_controlled_by_adversary", "inline_mitigations_already_exist",
	}
}

// read gives the identifiers that are understood: package URLs and SHA-256 sums. Of an image
// the @id may be its bare digest.
func (in componentJSON) read() Component {
	var c Component
	for _, text := range []string{in.ID, in.Identifiers["purl"]} {
		if purl, err := packageurl.FromString(text); err == nil {
			c.PURLs = append(c.PURLs, purl)
		}
	}
	for _, sum := range []string{strings.TrimPrefix(in.ID, "sha256:"), in.Hashes["sha-256"]} {
		if len(sum) == 64 && strings.Trim(sum, "0123456789abcdef") == "" {
			c.SHA256 = append(c.SHA256, sum)
		}
	}
	return c
}

// shorten keeps the start of prose that goes into every finding.
func shorten(text string) string {
	if len(text) > maxText {
		return strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}
