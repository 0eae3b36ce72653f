package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/build/rebase"
	"plimsoll.dev/plimsoll/internal/evidence"
	"plimsoll.dev/plimsoll/internal/evidence/hardening"
	"plimsoll.dev/plimsoll/internal/evidence/provenance"
	"plimsoll.dev/plimsoll/internal/evidence/sbom"
	"plimsoll.dev/plimsoll/internal/oci"
)

// ledger accounts for what one command makes: it issues the evidence of each image before
// a tag names it, and tells the inventory afterwards.
type ledger struct {
	env     *Env
	issuer  *evidence.Issuer // nil: nothing is issued
	session *oci.Session
	run     provenance.Run
}

// accounting are the flags of commands that make images.
type accounting struct{ none bool }

func (a *accounting) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.none, "no-evidence", false, "issue neither signature nor SBOM nor any other evidence")
}

// ledger opens the keys, so that a command whose keys cannot be opened makes nothing.
func (env *Env) ledger(ctx context.Context, a accounting) (*ledger, error) {
	l := &ledger{env: env, session: env.Registries.Session(), run: provenance.Run{
		ID: rand.Text(), Started: time.Now(), Versions: map[string]string{"plimsoll": env.Version},
	}}
	if a.none {
		return l, nil
	}
	signers, err := env.signers(ctx)
	if err != nil {
		return nil, err
	}
	l.issuer = &evidence.Issuer{
		Contents: env.contents(), Hardening: hardening.New(filepath.Join(env.Home, "cache", "hardening")),
		Signers: signers, Version: env.Version,
	}
	return l, nil
}

// contents gives the scanner of this home.
func (env *Env) contents() *sbom.Scanner {
	return sbom.New(sbom.Options{Cache: filepath.Join(env.Home, "cache", "contents")})
}

// told is an image with what its maker tells of it.
type told struct {
	image      v1.Image
	provenance interface {
		Predicate(provenance.Run) (json.RawMessage, error)
	}
}

// publish pushes what was made, issues the evidence of every image, and moves the tag last:
// who sees the image by its name finds its evidence beside it.
func (l *ledger) publish(ctx context.Context, made pushable, to oci.Reference, images []told) error {
	if l.issuer == nil {
		return made.push(ctx, l.env.Registries, to)
	}
	top, raw, err := made.manifest()
	if err != nil {
		return err
	}
	if err := made.push(ctx, l.env.Registries, to.At(top.Digest)); err != nil {
		return err
	}
	for _, t := range images {
		if _, err := l.issue(ctx, to, t); err != nil {
			return err
		}
	}
	if made.index != nil {
		if _, err := l.issuer.Sign(ctx, l.session, to, top); err != nil {
			return err
		}
	}
	_, err = l.session.PutManifest(ctx, to, top.MediaType, raw)
	return err
}

func (l *ledger) issue(ctx context.Context, to oci.Reference, t told) (evidence.Issued, error) {
	subject, err := l.subject(to, t)
	if err != nil {
		return evidence.Issued{}, err
	}
	return l.issuer.Issue(ctx, l.session, subject)
}

// subject gives the image with its provenance.
func (l *ledger) subject(to oci.Reference, t told) (evidence.Subject, error) {
	d, err := partial.Descriptor(t.image)
	if err != nil {
		return evidence.Subject{}, fmt.Errorf("describe image: %w", err)
	}
	s := evidence.Subject{Ref: to, Descriptor: *d, Image: t.image}
	if t.provenance == nil {
		return s, nil
	}
	run := l.run
	run.Finished = time.Now()
	predicate, err := t.provenance.Predicate(run)
	s.Others = []artifact.Evidence{{Subject: d.Digest.String(), PredicateType: artifact.PredicateProvenance, Predicate: predicate}}
	return s, err
}

// moved accounts for what a rebase has written, before a tag names it.
func (l *ledger) moved(ctx context.Context, session *oci.Session, moved rebase.Moved) error {
	if l.issuer == nil {
		return nil
	}
	for _, image := range moved.Images {
		lazy, err := session.Image(ctx, moved.Ref, image.MediaType, image.Raw, image.RawConfig)
		if err != nil {
			return err
		}
		subject, err := l.subject(moved.Ref, told{lazy, factsOfRebase(moved, image)})
		if err != nil {
			return err
		}
		subject.BaseLayers = image.BaseLayers
		if _, err := l.issuer.Issue(ctx, session, subject); err != nil {
			return err
		}
	}
	if moved.Index == nil {
		return nil
	}
	_, err := l.issuer.Sign(ctx, session, moved.Ref, *moved.Index)
	return err
}
