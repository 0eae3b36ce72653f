package keys

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Generate makes a key pair (ECDSA P-256), as `cosign generate-key-pair` does: the private
// key in the file at path, encrypted with the password that is set or that a person gives,
// the public one at PublicPath(path). It never replaces a file.
func (k *Keychain) Generate(ctx context.Context, path string) (*Signer, error) {
	for _, at := range []string{path, PublicPath(path)} {
		if _, err := os.Lstat(at); err == nil {
			return nil, exists(at)
		}
	}
	password, variable := passwordSet()
	if variable == "" {
		if k.options.Prompt == nil {
			return nil, fault.Newf(fault.Usage, "make key", path, "there is no password for it").
				WithHint("set " + passwordVariables[0] + "; the empty one leaves the key as safe as its file")
		}
		var err error
		if password, err = k.options.Prompt(ctx, Ask{Key: path, New: true}); err != nil {
			return nil, fault.New(fault.KindOf(err), "ask for the password of key", path, err)
		}
	}
	defer clear(password)
	signer, err := generate(path, password)
	if errors.Is(err, os.ErrExist) {
		return nil, exists(path)
	}
	return signer, err
}

func exists(path string) error {
	return fault.Newf(fault.Usage, "make key", path, "there is such a file, and a key is never replaced").
		WithHint("name another file, or move this one away: what it signed can be verified only with its public key")
}

// Pair is the keys of a home. A verifier of Sigstore bundles takes any attestation by a
// key for a signature of the image by it, so each has its own.
type Pair struct {
	Images       *Signer // signs images
	Attestations *Signer // signs what is said of them
}

// Default gives the keys of the home, "keys/images.key" and "keys/attestations.key" in it,
// and makes those that are not there, with the password that is set, else the empty one.
// Processes that do so at once get the same keys.
func (k *Keychain) Default(ctx context.Context, home string) (Pair, error) {
	var pair Pair
	var opening errgroup.Group // opening one takes a processor 50 ms or more
	for name, into := range map[string]**Signer{"images.key": &pair.Images, "attestations.key": &pair.Attestations} {
		opening.Go(func() (err error) {
			*into, err = k.ensure(ctx, filepath.Join(home, "keys", name))
			return err
		})
	}
	if err := opening.Wait(); err != nil {
		return Pair{}, err
	}
	return pair, nil
}

func (k *Keychain) ensure(ctx context.Context, path string) (*Signer, error) {
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		password, _ := passwordSet()
		defer clear(password)
		// Where another process was faster, its key counts.
		if _, err := generate(path, password); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, err
		}
	}
	signer, err := k.Signer(ctx, path)
	if err != nil {
		return nil, err
	}
	return signer, publish(path, signer.PublicKey())
}

// generate writes a new pair, or gives an error that is os.ErrExist.
func generate(path string, password []byte) (*Signer, error) {
	signer, text, err := pair(password)
	if err != nil {
		return nil, fault.New(fault.Failed, "make key", path, err)
	}
	if err := writeNew(path, text); err != nil {
		return nil, fault.New(fault.Failed, "write key", path, bare(err))
	}
	return signer, publish(path, signer.PublicKey())
}

// pair gives a new key, and its text encrypted with the password.
func pair(password []byte) (*Signer, []byte, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	defer clear(der)
	strength := encrypted.Standard // cosign's
	if len(password) == 0 {
		strength = encrypted.Legacy // nothing to guess: the fastest of those that cosign takes
	}
	box, err := encrypted.EncryptWithCustomKDFParameters(der, password, strength)
	if err != nil {
		return nil, nil, err
	}
	signer, err := newSigner(private)
	return signer, pem.EncodeToMemory(&pem.Block{Type: typeSigstore, Bytes: box}), err
}

// PublicPath gives where the public key of the private one at path stands: "cosign.pub" of
// "cosign.key".
func PublicPath(path string) string {
	return strings.TrimSuffix(path, ".key") + ".pub"
}

// publish writes the public key beside the private one at path, where it is not there.
func publish(path string, public crypto.PublicKey) error {
	at := PublicPath(path)
	text, err := PEM(public)
	if err != nil {
		return err
	}
	there, err := os.ReadFile(at)
	switch {
	case errors.Is(err, os.ErrNotExist):
		err = aside.WriteDurable(at, text)
	case err == nil && !bytes.Equal(there, text):
		return fault.Newf(fault.Denied, "open key", path, "the public key beside it is another's").
			WithHint("if nobody else put it there, remove " + at + ": it will be written anew")
	}
	if err != nil {
		return fault.New(fault.Failed, "write public key", at, bare(err))
	}
	return nil
}

// writeNew makes the file, whole, for the user alone, and never in place of another: a
// link, unlike a rename, fails when its name is taken.
func writeNew(path string, text []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".key-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	err = os.Link(f.Name(), path)
	var failed *os.LinkError
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}
