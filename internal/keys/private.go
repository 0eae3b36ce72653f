package keys

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"

	"plimsoll.dev/plimsoll/internal/fault"
)

// PEM types of keys that cosign encrypts: NaCl's secretbox under a key that scrypt derives
// from the password. The second is the older name of the first.
const (
	typeSigstore = "ENCRYPTED SIGSTORE PRIVATE KEY"
	typeCosign   = "ENCRYPTED COSIGN PRIVATE KEY"
)

func isEncrypted(block *pem.Block) bool {
	return block.Type == typeSigstore || block.Type == typeCosign
}

// open gives a signer with the private key in the text.
func (k *Keychain) open(ctx context.Context, name string, text []byte) (*Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fault.Newf(fault.Usage, "read key", name, "it is not in PEM form").
			WithHint("make a key with `cosign generate-key-pair`, or name another file")
	}
	defer clear(block.Bytes)
	der := block.Bytes
	parse := x509.ParsePKCS8PrivateKey
	switch {
	case isEncrypted(block):
		var err error
		if der, err = k.decrypt(ctx, name, block.Bytes); err != nil {
			return nil, err
		}
		defer clear(der)
	case block.Type == "EC PRIVATE KEY" && block.Headers["DEK-Info"] == "":
		parse = as(x509.ParseECPrivateKey)
	case block.Type == "RSA PRIVATE KEY" && block.Headers["DEK-Info"] == "":
		parse = as(x509.ParsePKCS1PrivateKey)
	case block.Type == "PUBLIC KEY":
		return nil, fault.Newf(fault.Usage, "read key", name, "it is a public key, which cannot sign").WithHint("name the private key")
	case block.Type != "PRIVATE KEY":
		return nil, fault.Newf(fault.Usage, "read key", name, "it is of a PEM type that is not read").
			WithHint("convert it with `openssl pkcs8 -topk8 -nocrypt`, then encrypt it with `cosign import-key-pair`")
	}
	private, err := parse(der)
	if err != nil {
		// The parser's own words may quote bytes of the key.
		return nil, fault.Newf(fault.Usage, "read key", name, "its PEM holds no private key that can be read")
	}
	signer, err := newSigner(private)
	if err != nil {
		return nil, fault.New(fault.Usage, "read key", name, unusable(private))
	}
	return signer, nil
}

// as gives a parser of one kind of key as a parser of any.
func as[K any](parse func([]byte) (K, error)) func([]byte) (any, error) {
	return func(der []byte) (any, error) { return parse(der) }
}

func unusable(private crypto.PrivateKey) error {
	if with, ok := private.(crypto.Signer); ok {
		return usable(with.Public())
	}
	return errors.New("it is of a kind that cannot sign")
}

// decrypt opens the box with the password that is set, else with the empty one, which
// default keys have, else with one that a person gives.
func (k *Keychain) decrypt(ctx context.Context, name string, box []byte) ([]byte, error) {
	password, variable := passwordSet()
	defer clear(password)
	der, err := encrypted.Decrypt(box, password)
	switch {
	case err == nil:
		return der, nil
	case variable != "":
		return nil, wrongPassword(name).WithHint("the password was taken from " + variable)
	case k.options.Prompt == nil:
		return nil, fault.Newf(fault.Usage, "open key", name, "it needs a password, or is damaged").
			WithHint("set " + passwordVariables[0])
	}
	asked, err := k.options.Prompt(ctx, Ask{Key: name})
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "ask for the password of key", name, err)
	}
	defer clear(asked)
	if der, err = encrypted.Decrypt(box, asked); err != nil {
		return nil, wrongPassword(name)
	}
	return der, nil
}

func wrongPassword(name string) *fault.Error {
	return fault.Newf(fault.Usage, "open key", name, "the password is wrong, or the file is damaged")
}

// passwordVariables hold the password of key files; the first that is set counts, be it
// empty. The second is cosign's.
var passwordVariables = [...]string{"PLIMSOLL_KEY_PASSWORD", "COSIGN_PASSWORD"}

// passwordSet gives the password of the environment, and the variable that holds it: ""
// when there is none.
func passwordSet() (password []byte, variable string) {
	for _, variable := range passwordVariables {
		if text, ok := os.LookupEnv(variable); ok {
			return []byte(text), variable
		}
	}
	return nil, ""
}
