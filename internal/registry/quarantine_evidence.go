package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// evidenceTypes are the media types of what is said about an image, all of it text. What is
// of another type is content, whatever it claims to be about.
var evidenceTypes = []string{
	// Sigstore: protobuf-specs bundle, cosign's SIGNATURE_SPEC.md and ATTESTATION_SPEC.md.
	"application/vnd.dev.sigstore.bundle+json;version=0.1",
	"application/vnd.dev.sigstore.bundle+json;version=0.2",
	"application/vnd.dev.sigstore.bundle+json;version=0.3",
	"application/vnd.dev.sigstore.bundle.v0.3+json",
	"application/vnd.dev.cosign.simplesigning.v1+json",
	"application/vnd.dsse.envelope.v1+json",
	"application/vnd.dsse.envelope+json",
	// in-toto: attestation/spec/v1, "bundle" and "envelope"; and as BuildKit writes them.
	"application/vnd.in-toto+json",
	"application/vnd.in-toto.bundle",
	// Notary Project: signature-specification, "OCI Signatures", in its JSON form.
	"application/jose+json",
	// Bills of materials: the registrations of SPDX and CycloneDX with IANA, and older names.
	"application/spdx+json",
	"text/spdx+json",
	"text/spdx",
	"application/vnd.cyclonedx+json",
	"application/vnd.cyclonedx+xml",
	"application/vnd.syft+json",
	// Findings, and what is said of them.
	"application/vnd.openvex+json",
	"application/openvex+json",
	"application/csaf+json",
	"application/sarif+json",
}

// evidenceConfigs are the media types of the configuration beside evidence.
var evidenceConfigs = []string{
	v1.MediaTypeEmptyJSON,
	"application/vnd.cncf.notary.signature",
	"application/vnd.dev.cosign.artifact.sig.v1+json",
	"application/vnd.dev.cosign.artifact.att.v1+json",
	"application/vnd.dev.cosign.artifact.sbom.v1+json",
}

// taggedConfigs are those which cosign gives what it keeps below a tag, as it were an image.
var taggedConfigs = []string{v1.MediaTypeImageConfig, "application/vnd.docker.container.image.v1+json"}

// Bounds of evidence. What is larger is judged as content.
const (
	maxEvidenceBlobs = 1024
	maxEvidenceBytes = 512 << 20 // of all blobs together
)

// ofEvidence says whether all that a manifest refers to is of types of evidence.
func (m *manifest) ofEvidence() bool {
	if m.Manifests != nil || m.SchemaVersion != 2 || m.MediaType != "" && m.MediaType != v1.MediaTypeImageManifest && m.MediaType != mediaTypeDockerManifest {
		return false
	}
	carried := append(slices.Clone(m.Layers), m.Blobs...)
	if len(carried) == 0 || len(carried) > maxEvidenceBlobs {
		return false
	}
	for _, d := range carried {
		if !slices.Contains(evidenceTypes, d.MediaType) || len(d.URLs) > 0 {
			return false
		}
	}
	return m.Config == nil || slices.Contains(evidenceConfigs, m.Config.MediaType) || slices.Contains(evidenceTypes, m.Config.MediaType) ||
		m.Subject == nil && slices.Contains(taggedConfigs, m.Config.MediaType)
}

// isEvidence says whether a manifest of such types is what it says: types are only claimed, and
// some runtimes unpack a layer by what is in it. It reads all of it once. Text that somebody
// calls evidence is read as evidence, though it were an image's configuration, too.
func (q *quarantine) isEvidence(ctx context.Context, repo string, it *item) (bool, error) {
	if known := it.proven.Load(); known != nil {
		return *known, nil
	}
	content, ok, err := q.store.manifest(ctx, repo, it.digest)
	if err != nil || !ok {
		return false, err
	}
	m, err := parseManifest(content)
	if err != nil {
		return false, nil
	}
	left := int64(maxEvidenceBytes)
	proven := true
	for _, d := range m.needs() {
		canonical, ok, err := q.store.layer(ctx, repo, d)
		if err != nil || !ok {
			return false, err // it may come yet
		}
		blob, err := q.store.driver.Reader(ctx, path.Join(blobDir(canonical), "data"), 0)
		if isMissing(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		n, err := readText(blob, left)
		blob.Close()
		left -= n
		if errors.Is(err, errNoText) {
			proven = false
			break
		}
		if err != nil {
			return false, fmt.Errorf("read evidence: %w", err)
		}
	}
	it.proven.Store(&proven)
	return proven, nil
}

var errNoText = errors.New("not plain text")

// readText reads what must be text that no reader takes for an archive, and gives its size. A
// compressed file is not UTF-8, and an archive has a header with a checksum.
func readText(r io.Reader, limit int64) (n int64, err error) {
	buffer := make([]byte, 64<<10)
	kept := 0 // bytes of a rune that is not yet whole
	for {
		more, err := io.ReadAtLeast(r, buffer[kept:], min(tarBlock, len(buffer)-kept))
		text := buffer[:kept+more]
		if n == 0 && isTar(text) {
			return 0, errNoText
		}
		ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !ended {
			return n, err
		}
		if n += int64(more); n > limit {
			return n, errNoText
		}
		rest := plain(text)
		if len(rest) >= utf8.UTFMax || ended && len(rest) > 0 || len(rest) > 0 && utf8.FullRune(rest) {
			return n, errNoText
		}
		if ended {
			return n, nil
		}
		kept = copy(buffer, rest)
	}
}

// plain gives what is left of a text from the first byte that is none of plain text.
func plain(text []byte) []byte {
	for i := 0; i < len(text); {
		c := text[i]
		if c < ' ' && c != '\n' && c != '\t' && c != '\r' {
			return text[i:]
		}
		if c < utf8.RuneSelf {
			i++
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			return text[i:]
		}
		i += size
	}
	return nil
}

const tarBlock = 512

// isTar says whether a file begins with a header of POSIX.1-1988's ustar or an older one: that
// the sum of its bytes, those of the sum itself taken for spaces, is as it says.
func isTar(begin []byte) bool {
	if len(begin) < tarBlock {
		return false
	}
	field := begin[148:156]
	said, err := strconv.ParseInt(strings.Trim(string(field), " \x00"), 8, 64)
	if err != nil {
		return false
	}
	var unsigned, signed int64
	for _, c := range slices.Concat(begin[:148], bytes.Repeat([]byte(" "), len(field)), begin[156:tarBlock]) {
		unsigned += int64(c)
		signed += int64(int8(c))
	}
	return said == unsigned || said == signed
}
