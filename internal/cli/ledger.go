package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence"
	"plimsoll.dev/plimsoll/internal/evidence/hardening"
	"plimsoll.dev/plimsoll/internal/evidence/malware"
	"plimsoll.dev/plimsoll/internal/evidence/provenance"
	"plimsoll.dev/plimsoll/internal/evidence/sbom"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/oci"
)

// ledger accounts for what one command makes: it issues the evidence of each image before
// a tag names it, and tells the inventory afterwards.
type ledger struct {
	env     *Env
	issuer  *evidence.Issuer // nil: nothing is issued
	session *oci.Session
	run     provenance.Run

	mu    sync.Mutex
	moves map[string]move   // rebased, by reference, until a tag names them
	done  []inventory.Image // to be told to the inventory

	packages int // of a fleet's images that are done
}

// accounting are the flags of commands that make images.
type accounting struct{ none bool }

func (a *accounting) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.none, "no-evidence", false, "issue neither signature nor SBOM nor any other evidence")
}

// ledger opens the keys, so that a command whose keys cannot be opened makes nothing.
func (env *Env) ledger(ctx context.Context, a accounting) (*ledger, error) {
	l := &ledger{env: env, session: env.Registries.Session(), moves: map[string]move{}, run: provenance.Run{
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
		Contents: env.contents(), Hardening: env.hardening(),
		Signers: signers, Version: env.Version,
	}
	if l.issuer.Keyless, err = env.keyless(); err != nil {
		return nil, err
	}
	scanner, err := env.malware()
	if scanner != nil { // else the interface would hold a nil of its own
		l.issuer.Malware = scanner
	}
	return l, err
}

// clamdVariable says where a ClamAV daemon answers; without it nobody looks for malware.
const clamdVariable = "PLIMSOLL_CLAMD"

// malware gives who looks for malware here; nil where nobody does.
func (env *Env) malware() (*malware.Scanner, error) {
	address := env.Getenv(clamdVariable)
	if address == "" {
		return nil, nil
	}
	clamd, err := malware.NewClamd(address)
	if err != nil {
		return nil, err
	}
	return malware.New(clamd, filepath.Join(env.Home, "cache", "malware"), malware.Options{AllowUnscanned: true}), nil
}

// hardening gives the scanner of this home that keeps what it found.
func (env *Env) hardening() *hardening.Scanner {
	return hardening.New(filepath.Join(env.Home, "cache", "hardening"))
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
	if err := l.account(ctx, to, top, images); err != nil {
		return err
	}
	if _, err = l.session.PutManifest(ctx, to, top.MediaType, raw); err != nil {
		return err
	}
	l.record(ctx)
	l.learn(ctx, to.At(top.Digest))
	return nil
}

// learn has what was made decided anew. Where the home has policies, facts are kept from the start:
// whoever serves it so hears of a base that was built again, and decides on what stands on that.
func (l *ledger) learn(ctx context.Context, ref oci.Reference) {
	if files, _ := os.ReadDir(l.env.policyFolder()); len(files) == 0 || !ref.IsLocal() {
		l.env.relearn(ctx, ref)
		return
	}
	l.env.tell(ctx, func(index *inventory.Inventory) error {
		j, err := l.env.learner(ctx, index)
		if err != nil {
			return err
		}
		return j.learn(ctx, ref.String())
	})
}

// account issues the evidence of all images that top, one of them or their index, names.
func (l *ledger) account(ctx context.Context, in oci.Reference, top v1.Descriptor, images []told) error {
	for _, t := range images {
		subject, err := l.subject(in, t)
		if err != nil {
			return err
		}
		image, err := l.issue(ctx, l.session, subject)
		if err != nil {
			return err
		}
		l.done = append(l.done, image)
	}
	if !top.MediaType.IsIndex() {
		return nil
	}
	_, err := l.issuer.Sign(ctx, l.session, in, top)
	return err
}

// issue issues the evidence of an image, and gives what the inventory is to know of it.
func (l *ledger) issue(ctx context.Context, session *oci.Session, subject evidence.Subject) (inventory.Image, error) {
	issued, err := l.issuer.Issue(ctx, session, subject)
	if err != nil {
		return inventory.Image{}, err
	}
	l.warn(subject.Ref.String(), issued.Evidence)
	l.env.warnOfLeft(subject.Ref, issued.Left)
	image, err := known(subject.Ref, subject.Image, issued.Contents)
	for i, e := range issued.Evidence {
		image.Evidence = append(image.Evidence, l.known(e.PredicateType, issued.Attached[i], issued.Identity))
	}
	return image, err
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
