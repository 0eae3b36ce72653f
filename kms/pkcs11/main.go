// Command sigstore-kms-pkcs11 takes a request of sigstore's protocol for KMS plugins and
// answers it with a key in a PKCS #11 token: a smart card or an HSM. Plimsoll and cosign
// run it for keys named "pkcs11://URI", with a URI as RFC 7512 has it.
//
// The protocol: https://github.com/sigstore/sigstore/tree/main/pkg/signature/kms/cliplugin
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/common"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/handler"
)

func main() {
	if err := answer(os.Args, os.Stdin, os.Stdout); err != nil {
		// The protocol has errors on the standard output; the status is for people.
		_ = handler.WriteErrorResponse(os.Stdout, err)
		os.Exit(1)
	}
}

// answer does what the arguments ask, and gives the errors that are not told yet.
func answer(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 3 || args[1] != common.ProtocolVersion {
		return errors.New("this is a plugin that plimsoll and cosign run, by protocol " + common.ProtocolVersion)
	}
	request, err := handler.GetPluginArgs(args)
	if err != nil {
		return err
	}
	if request.InitOptions == nil || request.MethodArgs == nil {
		return errors.New("the request names no key, or nothing to do with it")
	}
	wanted, err := parse(request.InitOptions.KeyResourceID)
	if err != nil {
		return fmt.Errorf("read the URI of the key: %w", err)
	}
	token, err := open(wanted, request.InitOptions.HashFunc)
	if err != nil {
		return err
	}
	defer token.close()
	_, err = handler.Dispatch(out, in, request, token)
	return err
}
