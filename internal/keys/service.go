package keys

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"os/exec"
	"strings"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms"
	_ "github.com/sigstore/sigstore/pkg/signature/kms/aws"   // awskms://
	_ "github.com/sigstore/sigstore/pkg/signature/kms/azure" // azurekms://
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin"
	_ "github.com/sigstore/sigstore/pkg/signature/kms/gcp"        // gcpkms://
	_ "github.com/sigstore/sigstore/pkg/signature/kms/hashivault" // hashivault://, openbao://
	"github.com/sigstore/sigstore/pkg/signature/options"

	"plimsoll.dev/plimsoll/internal/fault"
)

// openService gives a signer whose key is in the service at the address: each signature is
// a request to it, or a run of a plugin. People are told the name, which they gave.
func openService(ctx context.Context, name, address string) (*Signer, error) {
	service, public, err := connect(ctx, address, crypto.SHA256)
	if err != nil {
		return nil, serviceFailure(ctx, "open key", name, err)
	}
	details, err := signature.GetDefaultAlgorithmDetails(public)
	if err != nil {
		return nil, fault.New(fault.Usage, "open key", name, usable(public))
	}
	// A driver may hash as it was told before the kind of key was known.
	if hash := details.GetHashType(); hash != crypto.SHA256 && hash != 0 {
		if service, public, err = connect(ctx, address, hash); err != nil {
			return nil, serviceFailure(ctx, "open key", name, err)
		}
	}
	sign := func(ctx context.Context, message []byte) ([]byte, error) {
		var out []byte
		err := guard(func() (err error) {
			out, err = service.SignMessage(bytes.NewReader(message), options.WithContext(ctx))
			return err
		})
		if err == nil && len(out) == 0 {
			err = errors.New("the answer holds no signature")
		}
		if err != nil {
			return nil, serviceFailure(ctx, "sign with key", name, err)
		}
		return out, nil
	}
	return &Signer{public, sign}, nil
}

func connect(ctx context.Context, address string, hash crypto.Hash) (service kms.SignerVerifier, public crypto.PublicKey, err error) {
	err = guard(func() error {
		if service, err = kms.Get(ctx, address, hash); err != nil {
			return err
		}
		public, err = service.PublicKey(options.WithContext(ctx))
		return err
	})
	return service, public, err
}

// guard gives an error where a driver panics: sigstore's client of plugins does on an
// answer without the part that was asked for.
func guard(call func() error) (err error) {
	defer func() {
		if caught := recover(); caught != nil {
			err = errors.New("the answer is incomplete")
		}
	}()
	return call()
}

// serviceFailure turns what a driver says into a fault. Drivers say what the service said,
// at any length.
func serviceFailure(ctx context.Context, what, name string, err error) error {
	if ctx.Err() != nil { // a plugin that was killed for it says otherwise
		return fault.New(fault.Unavailable, what, name, ctx.Err())
	}
	scheme, _, _ := strings.Cut(name, ":")
	if errors.Is(err, exec.ErrNotFound) {
		program := "sigstore-kms-" + scheme
		return fault.Newf(fault.Usage, what, name, "the program "+program+" is not on the PATH").
			WithHint("install " + program + ", or name another key")
	}
	kind := fault.Unavailable
	if errors.Is(err, cliplugin.ErrorPluginReturnError) {
		kind = fault.Failed // it may have been the PIN: a token locks itself after a few wrong ones
	}
	const longest = 400
	text := err.Error()
	hint := "check the address of the key, and that you are logged in to the service"
	if strings.Contains(text, "CKR_PIN_") {
		hint = "check the PIN, which PLIMSOLL_PKCS11_PIN or the file of pin-source holds: the token locks itself after a few wrong ones"
	}
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return fault.Newf(kind, what, name, text).WithHint(hint)
}
