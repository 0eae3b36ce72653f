package archive

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"plimsoll.dev/plimsoll/internal/fault"
)

// maxRelease bounds an InRelease file; Debian's are below 200 kB.
const maxRelease = 16 << 20

// Release is what a verified InRelease file says (Debian wiki, DebianRepository/Format).
type Release struct {
	Origin, Label, Suite, Codename, Version string

	Date       time.Time
	ValidUntil time.Time // zero when the archive sets no end
	ByHash     bool      // Acquire-By-Hash
	Files      map[string]File
}

// File is one index that a Release vouches for.
type File struct {
	SHA256 string // lower-case hex
	Size   int64  // bytes
}

// Keyring is the set of keys an archive may be signed with.
type Keyring struct {
	path string
	keys openpgp.EntityList
}

// defaultKeyrings are the places where Debian installs its archive keys.
var defaultKeyrings = []string{
	"/usr/share/keyrings/debian-archive-keyring.pgp",
	"/usr/share/keyrings/debian-archive-keyring.gpg",
}

// LoadKeyring reads a keyring, binary or armored. An empty path means Debian's own.
func LoadKeyring(path string) (*Keyring, error) {
	if path == "" {
		for _, candidate := range defaultKeyrings {
			if _, err := os.Stat(candidate); err == nil {
				path = candidate
				break
			}
		}
	}
	if path == "" {
		return nil, fault.Newf(fault.Failed, "find keyring", "", "this machine has no Debian archive keyring").
			WithHint("install the package debian-archive-keyring, or name a keyring in the spec: archive.keyring")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.Failed, "read keyring", path, err)
	}
	return ReadKeyring(path, text)
}

// ReadKeyring reads the text of a keyring, binary or armored; path is what errors call it.
func ReadKeyring(path string, text []byte) (*Keyring, error) {
	read := openpgp.ReadKeyRing
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("-----BEGIN PGP")) {
		read = openpgp.ReadArmoredKeyRing
	}
	keys, err := read(bytes.NewReader(text))
	if err != nil {
		return nil, fault.New(fault.Failed, "read keyring", path, err).WithHint("it must hold OpenPGP public keys")
	}
	return &Keyring{path: path, keys: keys}, nil
}

// Verify checks the clear-signed InRelease text against the keyring (RFC 9580, section 7)
// and gives what it says. Dates are not judged here.
func (k *Keyring) Verify(inRelease []byte, now time.Time) (*Release, error) {
	block, rest := decode(inRelease)
	if block == nil {
		return nil, errors.New("it is not signed: no clear-signed OpenPGP message found")
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("text follows the signed message")
	}
	if head := bytes.TrimSpace(inRelease); !bytes.HasPrefix(head, []byte("-----BEGIN PGP SIGNED MESSAGE-----")) {
		return nil, errors.New("text stands before the signed message")
	}
	config := &packet.Config{Time: func() time.Time { return now }}
	if _, err := block.VerifySignature(k.keys, config); err != nil {
		return nil, fmt.Errorf("its signature does not verify with the keys in %s: %w", k.path, err)
	}
	return parseRelease(block.Plaintext)
}

// decode is clearsign.Decode for bytes that nobody has vouched for yet: some malformed
// messages, such as one without text, make that function panic.
func decode(message []byte) (block *clearsign.Block, rest []byte) {
	defer func() {
		if recover() != nil {
			block, rest = nil, nil
		}
	}()
	return clearsign.Decode(message)
}

// sumPattern keeps sums, which become file names, from being paths.
var sumPattern = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

// parseRelease reads the fields of a Release file. Only SHA-256 sums count.
func parseRelease(text []byte) (*Release, error) {
	var fields map[string]string
	for paragraph, err := range paragraphs(text) {
		if err != nil {
			return nil, err
		}
		if fields != nil {
			return nil, errors.New("it holds more than one paragraph")
		}
		fields = paragraph
	}
	r := &Release{
		Origin: fields["origin"], Label: fields["label"], Suite: fields["suite"], Codename: fields["codename"],
		Version: fields["version"], ByHash: fields["acquire-by-hash"] == "yes", Files: map[string]File{},
	}
	var err error
	if r.Date, err = releaseTime(fields["date"]); err != nil {
		return nil, fmt.Errorf("field Date: %w", err)
	}
	if until := fields["valid-until"]; until != "" {
		if r.ValidUntil, err = releaseTime(until); err != nil {
			return nil, fmt.Errorf("field Valid-Until: %w", err)
		}
	}
	for line := range strings.Lines(fields["sha256"]) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) != 3 || !sumPattern.MatchString(words[0]) {
			return nil, fmt.Errorf("field SHA256: malformed line %q", strings.TrimSpace(line))
		}
		size, err := strconv.ParseInt(words[1], 10, 64)
		if err != nil || size < 0 {
			return nil, fmt.Errorf("field SHA256: bad size in %q", strings.TrimSpace(line))
		}
		file := File{SHA256: strings.ToLower(words[0]), Size: size}
		if other, twice := r.Files[words[2]]; twice && other != file {
			return nil, fmt.Errorf("field SHA256: %q stands there twice, with two sums", words[2])
		}
		r.Files[words[2]] = file
	}
	if len(r.Files) == 0 {
		return nil, errors.New("it has no SHA256 sums")
	}
	return r, nil
}

// releaseTime reads RFC 2822 dates as Debian writes them, always in UTC.
func releaseTime(s string) (time.Time, error) {
	for _, layout := range []string{"Mon, 02 Jan 2006 15:04:05 MST", "Mon, _2 Jan 2006 15:04:05 MST", time.RFC1123Z} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("cannot read the date %q", s)
}

// maxAhead is how far a Release may lie in the future before the clock, or the archive,
// is called wrong. apt uses ten seconds; hosts without time service drift further.
const maxAhead = time.Hour

// check judges a verified Release at the time now for the suite that was asked for.
func (r *Release) check(suite string, now time.Time) error {
	if !r.names(suite) {
		return fmt.Errorf("it is signed for suite %q (codename %q), not for %q", r.Suite, r.Codename, suite)
	}
	if r.Date.After(now.Add(maxAhead)) {
		return fmt.Errorf("it is dated %s, in the future: is this machine's clock right?", r.Date.Format(time.RFC3339))
	}
	if !r.ValidUntil.IsZero() && now.After(r.ValidUntil) {
		return fmt.Errorf("it is stale: it was valid until %s", r.ValidUntil.Format(time.RFC3339))
	}
	return nil
}

// names tells whether the Release is the suite's: by codename, suite or, as archives with
// several trees write it, by the last part of a path ("trixie/snapshot").
func (r *Release) names(suite string) bool {
	for _, name := range []string{r.Suite, r.Codename} {
		if name != "" && (name == suite || strings.HasPrefix(suite, name+"/")) {
			return true
		}
	}
	return false
}
