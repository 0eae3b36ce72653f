package served

import (
	"context"
	"encoding/json"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/policy/verdicts"
	"plimsoll.dev/plimsoll/internal/policy/vsa"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/site/judge"
)

// publisher signs verdicts and puts them beside their images, for those who ask no registry of
// ours: as SLSA Verification Summary Attestations of the registry's gate.
type publisher struct {
	home    *home.Home
	session *oci.Session
	trust   attest.Trust
}

// publisher gives who publishes here; nil where nobody should or can.
func (at *site) publisher(ctx context.Context) *publisher {
	if at.o.NoPublish || at.o.ReadOnly {
		return nil
	}
	if _, err := at.home.Signers(ctx); err != nil {
		at.log.Warn("verdicts are not published: the keys cannot be opened", "error", err)
		return nil
	}
	return &publisher{home: at.home, session: at.home.Registries.Session(), trust: at.home.Believed(ctx)}
}

// tell publishes a verdict that is another now, on an image of that SLSA build level.
func (p *publisher) tell(ctx context.Context, c verdicts.Change, level int) error {
	const here = artifact.GateRegistry
	if c.Before != nil && c.Before[here] == c.Verdict.Gates[here] {
		return nil // it is another at a gate that no summary tells of
	}
	image := verdicts.Image{Repository: c.Verdict.Repository, Digest: c.Verdict.Image}
	ref, digest, err := judge.At(image)
	if err != nil {
		return err
	}
	m, err := p.session.Manifest(ctx, ref)
	if fault.KindOf(err) == fault.NotFound {
		return nil // it was removed meanwhile
	}
	if err != nil {
		return err
	}
	if m.Image != nil && m.Image.Subject != nil {
		return nil // what is said of another is not spoken of itself: else there would be no end
	}
	attached, err := p.home.Attached().List(ctx, p.session, ref, digest)
	if err != nil {
		return err
	}
	options := vsa.Options{Versions: map[string]string{"plimsoll": p.home.Version}, Level: level}
	for _, c := range attest.Verify(digest, attached, p.trust).Checks {
		if c.Verified && c.Predicate != artifact.PredicateVSA {
			algorithm, hex, _ := strings.Cut(c.Manifest, ":")
			options.Inputs = append(options.Inputs, vsa.Resource{Digest: map[string]string{algorithm: hex}})
		}
	}
	predicate, err := json.Marshal(vsa.Of(c.Verdict, here, options))
	if err != nil {
		return err
	}
	signers, err := p.home.Signers(ctx) // they may be others than when the server began
	if err != nil {
		return err
	}
	keyless, err := p.home.Keyless()
	if err != nil {
		return err
	}
	evidence := artifact.Evidence{Subject: image.Digest, PredicateType: artifact.PredicateVSA, Predicate: predicate}
	_, err = attest.Issue(ctx, p.session, ref, m.Descriptor, []artifact.Evidence{evidence}, signers, attest.Options{Keyless: keyless, Encoded: true, Memory: p.home.Attached()})
	return err
}
