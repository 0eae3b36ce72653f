package feed

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"plimsoll.dev/plimsoll/internal/fault"
)

// sumsFile is what sha256sum(1) writes; sumsFile + ".sig" is a signature of its bytes.
const sumsFile = "SHA256SUMS"

const maxSums = 16 << 20

// errTampered says that bytes are not those that the feed's keeper vouched for.
var errTampered = errors.New("it is not what its keeper vouched for")

// vouchers are the sums of the files below a feed's URL; nil is nobody's word.
type vouchers map[string]string

// vouched gives the vouchers that the feed wants, from its own sums file once that was
// found to be the one that was pinned or signed.
func (f Feed) vouched(ctx context.Context, o *origin) (vouchers, error) {
	if f.Checksums == "" && f.Key == "" {
		return nil, nil
	}
	text, _, err := o.small(ctx, sumsFile, validators{}, maxSums)
	if err != nil {
		return nil, judge(ctx, "read checksums", sumsFile+" at "+redact(o.base), err)
	}
	if sum := sha256.Sum256(text); sumPattern.MatchString(f.Checksums) && hex.EncodeToString(sum[:]) != f.Checksums {
		return nil, f.tampered("its SHA-256 is " + hex.EncodeToString(sum[:]))
	}
	if f.Key != "" {
		signature, _, err := o.small(ctx, sumsFile+".sig", validators{}, 1<<12)
		if err != nil {
			return nil, judge(ctx, "read signature", sumsFile+".sig at "+redact(o.base), err)
		}
		key, err := readKey(f.Key)
		if err != nil {
			return nil, err
		}
		if !verifies(key, text, signature) {
			return nil, f.tampered("its signature does not verify with " + f.Key)
		}
	}
	return parseSums(text)
}

func (f Feed) tampered(why string) error {
	return fault.New(fault.Denied, "verify checksums", f.Name, fmt.Errorf("%w: %s", errTampered, why)).
		WithHint("what is here stays as it is; if the feed's keeper made a new one, take its checksum or key into the configuration")
}

// check refuses a file with another sum, or with none.
func (v vouchers) check(file, sum string) error {
	want, known := v[file]
	switch {
	case v == nil:
		return nil
	case !known:
		return fmt.Errorf("%w: %s does not list %s", errTampered, sumsFile, file)
	case want != sum:
		return fmt.Errorf("%w: the SHA-256 of %s is %s, not %s", errTampered, file, sum, want)
	}
	return nil
}

// parseSums reads lines of a sum, a space, "*" or another space, and a path.
func parseSums(text []byte) (vouchers, error) {
	sums := vouchers{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		sum, file, _ := strings.Cut(line, " ")
		file = path.Clean(strings.TrimLeft(file, "* "))
		if !sumPattern.MatchString(sum) || file == "." {
			return nil, fault.Newf(fault.Denied, "read checksums", sumsFile, fmt.Sprintf("%.80q is no line of it", line))
		}
		sums[file] = sum
	}
	return sums, nil
}

func readKey(file string) (any, error) {
	const hint = "give a PEM file with a public key, ECDSA or Ed25519"
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.New(fault.Usage, "read the feed's key", file, errors.Unwrap(err)).WithHint(hint)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fault.Newf(fault.Usage, "read the feed's key", file, "it is no PEM file").WithHint(hint)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fault.New(fault.Usage, "read the feed's key", file, err).WithHint(hint)
	}
	return key, nil
}

// verifies takes signatures as `openssl dgst -sha256 -sign` (ECDSA), `openssl pkeyutl -sign
// -rawin` (Ed25519) and `cosign sign-blob` (the same in base64) write them.
func verifies(key any, text, signature []byte) bool {
	if plain, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(signature))); err == nil {
		signature = plain
	}
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(text)
		return ecdsa.VerifyASN1(key, sum[:], signature)
	case ed25519.PublicKey:
		return ed25519.Verify(key, text, signature)
	}
	return false
}
