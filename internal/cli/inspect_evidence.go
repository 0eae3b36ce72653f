package cli

import (
	"context"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/build/inspect"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site/verify"
)

// inspected is what `inspect` gives a script.
type inspected struct {
	*inspect.Report
	Evidence []attest.Check `json:"evidence"` // what is attached to the image
}

// evidenceOf gives what is attached to the image of that digest, and whether somebody whom
// the home trusts signed it.
func (env *Env) evidenceOf(ctx context.Context, ref oci.Reference, digest string) ([]attest.Check, error) {
	hash, err := v1.NewHash(digest)
	if err != nil {
		return nil, err
	}
	attached, err := attest.List(ctx, env.Registries.Session(), ref, hash)
	if err != nil {
		return nil, err
	}
	return attest.Verify(hash, attached, env.home().Believed(ctx)).Checks, nil
}

// evidence says who vouches for what, and what nobody here knows the signer of.
func (p *page) evidence() {
	by := map[string][]string{}
	var order []string
	for _, c := range p.checks {
		who := "signed by " + c.By
		if !c.Verified {
			who = "not verified: " + c.Why
		}
		if by[who] == nil {
			order = append(order, who)
		}
		if name := verify.Name(c.Predicate); !slices.Contains(by[who], name) {
			by[who] = append(by[who], name)
		}
	}
	name := "evidence"
	for _, who := range order {
		p.field(name, strings.Join(by[who], ", ")+", "+who)
		name = ""
	}
}
