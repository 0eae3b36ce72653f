package served

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/policy/verdicts"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/audit"
	"plimsoll.dev/plimsoll/internal/registry/events"
	"plimsoll.dev/plimsoll/internal/registry/retention"
	"plimsoll.dev/plimsoll/internal/registry/settings"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/site/judge"
)

// Remove removes what each of the references names from the store of the home, and tells the
// inventory, the policies and the audit log of it. What was removed before one that fails stays so.
func Remove(ctx context.Context, h *home.Home, reg *registry.Registry, log *slog.Logger, args []string) error {
	var done, gone []string
	var changed []oci.Reference
	var failed error
	for _, arg := range args {
		less := touched(ctx, h, arg)
		names, err := removeReference(ctx, reg, arg)
		if err != nil {
			failed = err
			break
		}
		done, gone, changed = append(done, arg), append(gone, names...), append(changed, less...)
	}
	forget(ctx, h, gone)
	judge.Relearn(ctx, h, changed...)
	return errors.Join(failed, recordRemoved(ctx, h, log, done))
}

// touched gives the manifests of which policies know less once the reference is removed: the one
// that a tag names, and those that what it names is about.
func touched(ctx context.Context, h *home.Home, arg string) []oci.Reference {
	ref, err := oci.Parse(arg)
	if err != nil {
		return nil // removing it says so
	}
	m, err := h.Registries.Session().Manifest(ctx, ref)
	if err != nil {
		return nil
	}
	if m.Digest.String() != ref.Identifier() {
		return []oci.Reference{untagged(ref, m.Digest)}
	}
	var said struct {
		Subject *v1.Descriptor `json:"subject"`
	}
	if json.Unmarshal(m.Raw, &said) != nil || said.Subject == nil {
		return nil
	}
	return []oci.Reference{ref.At(said.Subject.Digest)}
}

// untagged gives the manifest of which policies know less once a tag names it no more: the image
// that the tag keeps signatures of, else what it named.
func untagged(tag oci.Reference, named v1.Hash) oci.Reference {
	if subject, ok := oci.SignatureTag(tag.Identifier()); ok {
		return tag.At(subject)
	}
	return tag.At(named)
}

// removeReference gives the references that name nothing any more.
func removeReference(ctx context.Context, reg *registry.Registry, arg string) (gone []string, err error) {
	ref, err := oci.Parse(arg)
	if err != nil {
		return nil, err
	}
	if !ref.IsLocal() {
		return nil, fault.Newf(fault.Usage, "remove", arg, "it names another registry").
			WithHint("give a REF without a host")
	}
	repository, what := ref.Context().RepositoryStr(), ref.Identifier()
	if !strings.Contains(what, ":") { // a tag
		return []string{repository + ":" + what}, reg.Remove(ctx, repository, what)
	}
	entries, err := reg.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Repository == repository && e.Digest.String() == what {
			gone = append(gone, repository+":"+e.Tag)
		}
	}
	return gone, reg.Remove(ctx, repository, what)
}

// forget tells the inventory of references that name nothing any more.
func forget(ctx context.Context, h *home.Home, gone []string) {
	if len(gone) == 0 {
		return
	}
	h.Tell(ctx, func(index *inventory.Inventory) error { return index.Remove(ctx, gone...) })
}

// retained tells of the tags that retention removed: the inventory, the log, and who else
// wants to know.
func retained(ctx context.Context, h *home.Home, r retention.Report, log *audit.Log, told *events.Bus) {
	var gone []string
	var changed []oci.Reference
	for _, t := range r.Removed {
		gone = append(gone, t.Repository+":"+t.Tag)
		if ref, named, err := judge.At(verdicts.Image{Repository: t.Repository, Digest: t.Digest.String()}); err == nil {
			changed = append(changed, untagged(ref.Tag(t.Tag), named))
		}
		entry := audit.Entry{
			Action: audit.ActionRetention, Outcome: audit.Done, Principal: "retention", Repository: t.Repository, Reference: t.Tag,
			Digest: t.Digest.String(), Tags: []string{t.Tag}, Why: t.Why,
		}
		if err := log.Append(ctx, entry); err != nil {
			h.Warn("what was removed is not in the audit log: "+err.Error(), "")
		}
		told.Publish(events.Event{
			Type: events.Deleted, Repository: t.Repository, Subject: t.Repository + "@" + t.Digest.String(),
			Data: events.Image{Repository: t.Repository, Digest: t.Digest.String(), Tags: []string{t.Tag}, Why: "retention: " + t.Why},
		})
	}
	forget(ctx, h, gone)
	judge.Relearn(ctx, h, changed...)
	told.Publish(events.Event{Type: events.RetentionApplied, Subject: "retention", Data: struct {
		Removed int   `json:"removed"`
		Kept    int   `json:"kept"`
		Blobs   int   `json:"blobs"`
		Bytes   int64 `json:"bytes"`
	}{len(r.Removed), r.Kept, r.Collected.Blobs, r.Collected.Bytes}})
}

// recordRemoved writes down what a command of the machine itself removed, where there is a log:
// in a home that was once served.
func recordRemoved(ctx context.Context, h *home.Home, log *slog.Logger, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if _, err := os.Stat(AuditFolder(h)); err != nil {
		return nil
	}
	said, err := SettingsNow(h)
	if err != nil {
		return err
	}
	record, _, err := openRecorder(ctx, h, log, said)
	if err != nil {
		return err
	}
	for _, arg := range args {
		ref, err := oci.Parse(arg)
		if err != nil {
			return errors.Join(err, record.Close())
		}
		entry := audit.Entry{
			Action: audit.ActionDelete, Outcome: audit.Done, Principal: "machine",
			Repository: ref.Context().RepositoryStr(), Reference: ref.Identifier(),
		}
		if err := record.Append(ctx, entry); err != nil {
			return errors.Join(err, record.Close())
		}
	}
	return record.Close()
}

// openRecorder opens, for a command, what a server writes down and whom it tells. Close the log.
func openRecorder(ctx context.Context, h *home.Home, log *slog.Logger, said *settings.Settings) (*audit.Log, *events.Bus, error) {
	told, err := openEvents(h, func() *settings.Settings { return said }, log)
	if err != nil {
		return nil, nil, err
	}
	record, err := openAudit(ctx, h, said, log, told)
	return record, told, err
}
