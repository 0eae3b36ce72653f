// Package keys takes the name of a key and gives a signer, or the public key to verify with.
//
// A name is the path of a PEM file, "env://NAME" for a PEM text in the environment,
// "awskms://…", "gcpkms://…", "azurekms://…", "hashivault://…" for a key in such a service,
// or "SCHEME://…" for one that the program sigstore-kms-SCHEME reaches: "pkcs11:…" is one
// of these.
package keys

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"

	"github.com/sigstore/sigstore/pkg/signature"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Options of a Keychain.
type Options struct {
	// Prompt asks a person for a password; nil when there is nobody to ask.
	Prompt func(ctx context.Context, ask Ask) ([]byte, error)

	// Warn is told, in one line, what is unsafe about a key; nil leaves it unsaid.
	Warn func(line string)
}

// Ask says what a password is for.
type Ask struct {
	Key string // its name
	New bool   // the key is being made, so the password is to be typed twice
}

// Keychain opens keys by name, each once: a file is decrypted slowly by intent. It is safe
// for concurrent use.
type Keychain struct {
	options Options

	mu   sync.Mutex
	held map[string]*held
}

// held is a key that is open, or being opened by whoever has the lock.
type held struct {
	mu     sync.Mutex
	signer *Signer
}

// New gives a Keychain that holds no key yet.
func New(options Options) *Keychain {
	return &Keychain{options: options, held: map[string]*held{}}
}

// Signer gives the key of the name to sign with.
func (k *Keychain) Signer(ctx context.Context, name string) (*Signer, error) {
	return k.hold(name, func() (*Signer, error) {
		kind, rest, err := parse(name)
		if err != nil {
			return nil, err
		}
		if kind == inService {
			return openService(ctx, name, rest)
		}
		text, err := k.read(kind, rest, true)
		if err != nil {
			return nil, err
		}
		defer clear(text)
		return k.open(ctx, name, text)
	})
}

// hold gives the key of the name, which open opens at the first call that succeeds.
func (k *Keychain) hold(name string, open func() (*Signer, error)) (*Signer, error) {
	k.mu.Lock()
	h := k.held[name]
	if h == nil {
		h = &held{}
		k.held[name] = h
	}
	k.mu.Unlock()

	h.mu.Lock()
	defer h.mu.Unlock()
	if h.signer != nil {
		return h.signer, nil
	}
	signer, err := open()
	h.signer = signer
	return signer, err
}

// Public gives the public key of the name: of a PEM file or variable that holds one or a
// private key, or of a key in a service. Of an encrypted file it is the public key beside it,
// where that stands, for which nobody needs the password.
func (k *Keychain) Public(ctx context.Context, name string) (crypto.PublicKey, error) {
	kind, rest, err := parse(name)
	if err != nil {
		return nil, err
	}
	if kind == inService {
		signer, err := k.Signer(ctx, name)
		if err != nil {
			return nil, err
		}
		return signer.PublicKey(), nil
	}
	text, err := k.read(kind, rest, false)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	block, _ := pem.Decode(text)
	if block == nil || !strings.HasSuffix(block.Type, "PRIVATE KEY") {
		return parsePublic(name, block)
	}
	if kind == inFile && isEncrypted(block) {
		beside := PublicPath(rest)
		text, err := k.read(inFile, beside, false)
		if err == nil {
			block, _ := pem.Decode(text)
			return parsePublic(beside, block)
		}
	}
	signer, err := k.Signer(ctx, name)
	if err != nil {
		return nil, err
	}
	return signer.PublicKey(), nil
}

// place is where a key is.
type place int

const (
	inFile place = iota
	inVariable
	inService
)

// A scheme becomes a part of a program's name.
var scheme = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// parse gives the place that the name says, and what is left of it: a path, a variable, or
// an address as sigstore writes them.
func parse(name string) (place, string, error) {
	switch {
	case name == "":
		return 0, "", fault.Newf(fault.Usage, "read key name", "", "it is empty").WithHint(hintNames)
	case strings.Contains(name, "-----BEGIN"):
		// Not quoted: it may be a private key.
		return 0, "", fault.Newf(fault.Usage, "read key name", "", "it is a key, not the name of one").
			WithHint("put the key into a file, or into a variable and name it env://VARIABLE")
	case strings.Contains(name, "pin-value"):
		return 0, "", fault.Newf(fault.Usage, "read key name", "pkcs11", "it holds a PIN, which every user of the machine can read in the list of processes").
			WithHint("set PLIMSOLL_PKCS11_PIN, or name a file with pin-source=file:/PATH")
	case strings.HasPrefix(name, "pkcs11:"):
		token := strings.TrimPrefix(strings.TrimPrefix(name, "pkcs11:"), "//")
		if token == "" {
			return 0, "", fault.Newf(fault.Usage, "read key name", "pkcs11", "it names neither a token nor a key").
				WithHint("name them: pkcs11:token=NAME;object=NAME")
		}
		return inService, "pkcs11://" + token, nil
	}
	before, after, isAddress := strings.Cut(name, "://")
	switch {
	case !isAddress:
		return inFile, name, nil
	case !scheme.MatchString(before) || after == "":
		return 0, "", fault.Newf(fault.Usage, "read key name", name, "it is neither a path nor an address").WithHint(hintNames)
	case before == "env":
		return inVariable, after, nil
	}
	return inService, name, nil
}

const hintNames = "name a file, env://VARIABLE, awskms://…, gcpkms://…, azurekms://…, hashivault://… or pkcs11:…"

const maxText = 64 << 10 // bytes of PEM; the longest RSA key needs 7 kB

// read gives the text of a file or of a variable.
func (k *Keychain) read(kind place, rest string, private bool) ([]byte, error) {
	if kind == inVariable {
		text, ok := os.LookupEnv(rest)
		if !ok || len(text) > maxText {
			return nil, fault.Newf(fault.NotFound, "read key", "env://"+rest, "there is no such variable, or it holds no key")
		}
		return []byte(text), nil
	}
	f, err := os.Open(rest)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fault.Newf(fault.NotFound, "read key", rest, "there is no such file").WithHint(hintNames)
	}
	if err != nil {
		return nil, fault.New(fault.Failed, "read key", rest, bare(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err != nil {
		return nil, fault.New(fault.Failed, "read key", rest, bare(err))
	}
	if len(text) > maxText {
		return nil, fault.Newf(fault.Usage, "read key", rest, "it is too long for a key")
	}
	if info, err := f.Stat(); err == nil && private && info.Mode().IsRegular() && othersRead(info) {
		k.warn("others can read the key " + rest + ": take the rights away with chmod 600")
	}
	return text, nil
}

// othersRead says whether somebody else than this process may read the file. Where it is not the
// owner, as with a secret that Kubernetes mounts, its group's right is its own.
func othersRead(info os.FileInfo) bool {
	others := os.FileMode(0o077)
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() {
		others = 0o007
	}
	return info.Mode().Perm()&others != 0
}

func (k *Keychain) warn(line string) {
	if k.options.Warn != nil {
		k.options.Warn(line)
	}
}

// bare gives the reason of a failure on a file without the path, which the fault says.
func bare(err error) error {
	var failed *os.PathError
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}

// parsePublic reads a public key from its PEM block, nil where a text has none.
func parsePublic(name string, block *pem.Block) (crypto.PublicKey, error) {
	if block == nil {
		return nil, fault.Newf(fault.Usage, "read public key", name, "it is not in PEM form")
	}
	if block.Type != "PUBLIC KEY" {
		return nil, fault.Newf(fault.Usage, "read public key", name, "it is not a public key: its PEM type is another than PUBLIC KEY")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err == nil {
		err = usable(public)
	}
	if err != nil {
		return nil, fault.New(fault.Usage, "read public key", name, err)
	}
	return public, nil
}

// usable says why sigstore's programs would not take the key.
func usable(public crypto.PublicKey) error {
	if _, err := signature.GetDefaultAlgorithmDetails(public); err != nil {
		return errors.New("it is of a kind that is not used: want ECDSA P-256, P-384 or P-521, Ed25519, or RSA of 2048, 3072 or 4096 bits")
	}
	return nil
}

// Hint gives what sigstore's bundles call a key by: the base64 of the SHA-256 of its DER
// form (SubjectPublicKeyInfo, RFC 5280 section 4.1). public is of a kind that Public gives.
func Hint(public crypto.PublicKey) string {
	sum := sumOf(public)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Fingerprint gives what people compare: "sha256:" and the hexadecimal SHA-256 of the same
// form.
func Fingerprint(public crypto.PublicKey) string {
	sum := sumOf(public)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func sumOf(public crypto.PublicKey) [sha256.Size]byte {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return [sha256.Size]byte{} // of a kind that no function here gives
	}
	return sha256.Sum256(der)
}

// PEM gives the text of a public key file.
func PEM(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fault.New(fault.Failed, "write public key", "", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// Signer signs with one key. It is safe for concurrent use.
type Signer struct {
	public crypto.PublicKey
	sign   func(ctx context.Context, message []byte) ([]byte, error)
}

// newSigner gives a signer with a private key that this process holds.
func newSigner(private crypto.PrivateKey) (*Signer, error) {
	local, err := signature.LoadDefaultSigner(private)
	if err != nil {
		return nil, err
	}
	public, err := local.PublicKey()
	if err != nil {
		return nil, err
	}
	sign := func(_ context.Context, message []byte) ([]byte, error) {
		return local.SignMessage(bytes.NewReader(message))
	}
	return &Signer{public, sign}, nil
}

// Sign signs the message, which it hashes itself as sigstore's algorithm registry has it:
// ECDSA in ASN.1 form with SHA-256, 384 or 512 by the curve, RSA PKCS #1 v1.5 with SHA-256,
// Ed25519 without a hash.
func (s *Signer) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.sign(ctx, message)
}

// PublicKey gives an *ecdsa.PublicKey, *rsa.PublicKey or ed25519.PublicKey.
func (s *Signer) PublicKey() crypto.PublicKey { return s.public }

// Hint gives Hint of the public key.
func (s *Signer) Hint() string { return Hint(s.public) }
