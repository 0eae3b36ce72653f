package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash"
	"maps"
	"math"
	"slices"
	"time"

	"plimsoll.dev/plimsoll/artifact"
)

// digestOf gives "sha256:…" of the value's JSON, which has maps sorted.
func digestOf(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic("policy: facts and policies are JSON: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// digestOfFacts gives "sha256:…" of all fields in their order, each text and list with its
// length before it. It takes a fifth of the time of making JSON, which for thousands of images
// is most of what their verdicts take.
func digestOfFacts(f *artifact.Facts) string {
	w := &writer{hash: sha256.New(), buffer: make([]byte, 0, 8<<10)}
	w.image(&f.Image)
	optional(w, f.Base, w.base)
	optional(w, f.Source, w.source)
	optional(w, f.Provenance, w.provenance)
	optional(w, f.SBOM, w.sbom)
	optional(w, f.Tests, w.tests)
	optional(w, f.Malware, w.malware)
	optional(w, f.Hardening, w.hardening)
	list(w, f.Signatures, w.signature)
	list(w, f.Packages, w.pack)
	list(w, f.InBase, func(in *bool) { w.flag(*in) })
	list(w, f.Findings, w.finding)
	w.texts(f.Licenses)
	w.texts(f.Unadvised)
	w.time(f.Advisories)
	w.texts(f.Children)
	w.flush()
	return "sha256:" + hex.EncodeToString(w.hash.Sum(nil))
}

// writer hashes what is written in large pieces.
type writer struct {
	hash   hash.Hash
	buffer []byte
}

func (w *writer) flush() {
	w.hash.Write(w.buffer)
	w.buffer = w.buffer[:0]
}

func (w *writer) number(n int64) {
	if len(w.buffer)+16 > cap(w.buffer) {
		w.flush()
	}
	w.buffer = binary.AppendVarint(w.buffer, n)
}

func (w *writer) text(s string) {
	w.number(int64(len(s)))
	if len(w.buffer)+len(s) > cap(w.buffer) {
		w.flush()
	}
	w.buffer = append(w.buffer, s...)
}

func (w *writer) flag(b bool) {
	if b {
		w.number(1)
	} else {
		w.number(0)
	}
}

func (w *writer) time(t time.Time) {
	w.number(t.Unix())
	w.number(int64(t.Nanosecond()))
}

func (w *writer) texts(all []string) { list(w, all, func(s *string) { w.text(*s) }) }

func (w *writer) pairs(m map[string]string) {
	w.number(int64(len(m)))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		w.text(key)
		w.text(m[key])
	}
}

// list tells nil from empty.
func list[T any](w *writer, all []T, write func(*T)) {
	w.flag(all != nil)
	w.number(int64(len(all)))
	for i := range all {
		write(&all[i])
	}
}

func optional[T any](w *writer, is *T, write func(*T)) {
	w.flag(is != nil)
	if is != nil {
		write(is)
	}
}

func (w *writer) image(f *artifact.ImageFacts) {
	w.text(f.Repository)
	w.text(f.Digest)
	w.texts(f.Tags)
	w.text(string(f.Kind))
	w.text(f.MediaType)
	w.text(f.ArtifactType)
	w.text(f.Platform)
	w.time(f.Created)
	w.time(f.Pushed)
	w.number(f.Size)
	w.number(int64(f.Layers))
	w.pairs(f.Labels)
	w.pairs(f.Annotations)
	w.text(f.User)
	w.texts(f.Entrypoint)
	w.texts(f.Command)
	w.texts(f.Ports)
}

func (w *writer) base(f *artifact.BaseFacts) {
	w.text(f.Name)
	w.text(f.Digest)
	w.time(f.Created)
	w.flag(f.Verified)
	w.text(f.By)
}

func (w *writer) source(f *artifact.SourceFacts) {
	w.text(f.Kind)
	w.text(f.URL)
	w.text(f.Revision)
	w.text(f.Ref)
	w.flag(f.Clean)
}

func (w *writer) provenance(f *artifact.ProvenanceFacts) {
	w.text(f.Builder)
	w.text(f.BuildType)
	w.text(f.By)
	w.time(f.Started)
	w.time(f.Finished)
	w.number(int64(f.Level))
}

func (w *writer) sbom(f *artifact.SBOMFacts) {
	w.texts(f.Formats)
	w.number(int64(f.Packages))
	w.flag(f.Complete)
	w.texts(f.Unlisted)
	w.texts(f.Absent)
}

func (w *writer) tests(f *artifact.TestFacts) {
	w.text(f.Result)
	w.texts(f.Passed)
	w.texts(f.Failed)
}

func (w *writer) malware(f *artifact.MalwareFacts) {
	w.text(f.Result)
	w.texts(f.Infected)
	w.text(f.Scanner)
	w.time(f.Signatures)
}

func (w *writer) hardening(f *artifact.HardeningFacts) {
	w.flag(f.Root)
	w.flag(f.NumericUser)
	w.texts(f.Shells)
	w.texts(f.PackageManagers)
	w.texts(f.Compilers)
	w.texts(f.RemoteAccess)
	w.texts(f.SetID)
	w.texts(f.Secrets)
	w.pairs(f.Checks)
}

func (w *writer) signature(f *artifact.SignatureFacts) {
	w.text(f.By)
	w.text(f.Issuer)
	w.flag(f.Keyless)
	w.time(f.At)
}

func (w *writer) pack(p *artifact.Package) {
	for _, s := range [...]string{
		p.Type, p.Namespace, p.Name, p.Version, p.Arch, p.Distro, p.Source, p.SourceVersion, p.Supplier, p.SHA256, p.Owner, p.Layer,
	} {
		w.text(s)
	}
	w.texts(p.Licenses)
	w.texts(p.Paths)
	w.texts(p.FoundBy)
}

func (w *writer) finding(f *artifact.Finding) {
	w.text(f.ID)
	w.texts(f.Aliases)
	w.text(f.Summary)
	w.text(string(f.Severity))
	w.number(int64(math.Float64bits(f.Score)))
	w.text(f.Vector)
	w.text(f.Source)
	w.pack(&f.Package)
	w.text(f.Fixed)
	w.text(f.State)
	w.text(string(f.Remedy))
	w.time(f.Published)
	w.flag(f.KnownExploited)
	w.number(int64(math.Float64bits(f.EPSS)))
	optional(w, f.Suppressed, func(s *artifact.Suppression) {
		for _, text := range [...]string{s.Status, s.Justification, s.Statement, s.Author, s.From} {
			w.text(text)
		}
	})
}
