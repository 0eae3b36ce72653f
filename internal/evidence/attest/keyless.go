package attest

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"sync"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"google.golang.org/protobuf/encoding/protojson"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Keyless signs with a key that is thrown away, and a certificate for it that names who
// asked. The services are the site's to name.
type Keyless struct {
	Fulcio string // URL of the certificate authority
	Rekor  string // URL of the transparency log; "" for none
	TSA    string // URL, with its path, of the timestamp authority; "" for none

	// RekorVersion is the major version of the log's API: 1 or 2; 0 is 1. The second gives
	// no time, so it needs a timestamp authority beside it.
	RekorVersion uint32

	// Token gives an OpenID Connect identity token for the audience that Fulcio expects.
	Token func(context.Context) (string, error)

	// Transport carries the requests to Fulcio and the TSA; nil is http.DefaultTransport.
	Transport http.RoundTripper
}

// timeout of one request to a service.
const timeout = 30 * time.Second

func (k *Keyless) sealer(ctx context.Context) (sealer, error) {
	switch {
	case k.Fulcio == "" || k.Token == nil:
		return nil, fault.Newf(fault.Usage, "sign keyless", "", "it wants a certificate authority and an identity token")
	case k.Rekor == "" && k.TSA == "" || k.RekorVersion == 2 && k.TSA == "":
		return nil, fault.Newf(fault.Usage, "sign keyless", "", "nothing would prove when it was signed: certificates are valid for minutes").
			WithHint("name a timestamp authority")
	}
	keypair, err := sign.NewEphemeralKeypair(nil)
	if err != nil {
		return nil, fault.New(fault.Failed, "sign keyless", "", err)
	}
	token, err := k.Token(ctx)
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "get identity token", "", err)
	}
	fulcio := sign.NewFulcio(&sign.FulcioOptions{BaseURL: k.Fulcio, Timeout: timeout, Retries: 1, Transport: k.Transport})
	der, err := fulcio.GetCertificate(ctx, keypair, &sign.CertificateProviderOptions{IDToken: token})
	if err != nil {
		return nil, fault.New(fault.Unavailable, "get certificate", k.Fulcio, err).WithHint("check the identity token and its audience")
	}
	who, err := whose(der)
	if err != nil {
		return nil, fault.New(fault.Failed, "read certificate", k.Fulcio, err)
	}
	return &keylessSealer{services: k, keypair: keypair, certificate: der, who: who}, nil
}

// whose gives whom a certificate names.
func whose(der []byte) (string, error) {
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return "", err
	}
	summary, err := certificate.SummarizeCertificate(parsed)
	if err != nil {
		return "", err
	}
	return summary.SubjectAlternativeName + " (" + summary.Issuer + ")", nil
}

// keylessSealer seals all of one call of Issue with one certificate.
type keylessSealer struct {
	services    *Keyless
	keypair     sign.Keypair
	certificate []byte
	who         string

	mu sync.Mutex // a keypair says nothing about use by several
}

// GetCertificate implements sign.CertificateProvider.
func (k *keylessSealer) GetCertificate(context.Context, sign.Keypair, *sign.CertificateProviderOptions) ([]byte, error) {
	return k.certificate, nil
}

func (k *keylessSealer) name() string { return k.who }

// verifies is false: whether what was issued before holds is the business of those who have
// a trusted root.
func (k *keylessSealer) verifies(_, _ []byte) bool { return false }

func (k *keylessSealer) seal(ctx context.Context, payload []byte, enveloped bool) (seal, error) {
	var content sign.Content = &sign.PlainData{Data: payload}
	if enveloped {
		content = &sign.DSSEData{Data: payload, PayloadType: payloadType}
	}
	options := sign.BundleOptions{Context: ctx, CertificateProvider: k}
	if k.services.TSA != "" {
		options.TimestampAuthorities = []*sign.TimestampAuthority{k.authority()}
	}
	if at := k.services.Rekor; at != "" {
		version := max(1, k.services.RekorVersion)
		options.TransparencyLogs = []sign.Transparency{sign.NewRekor(&sign.RekorOptions{BaseURL: at, Timeout: timeout, Retries: 1, Version: version})}
	}
	k.mu.Lock()
	made, err := sign.Bundle(content, k.keypair, options)
	k.mu.Unlock()
	if err != nil {
		return seal{}, k.unreached(err)
	}
	out, err := k.sealed(made)
	if err != nil || !enveloped || k.services.TSA == "" {
		return out, err
	}
	// Below the older tag, it is the envelope as a whole that must have a time.
	stamp, err := k.authority().GetTimestamp(ctx, envelope{payload, [][]byte{out.signature}}.json())
	if err != nil {
		return seal{}, k.unreached(err)
	}
	return out, noteTime(out.beside, stamp)
}

func (k *keylessSealer) authority() *sign.TimestampAuthority {
	return sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{URL: k.services.TSA, Timeout: timeout, Retries: 1, Transport: k.services.Transport})
}

func (k *keylessSealer) unreached(err error) error {
	return fault.New(fault.Unavailable, "sign keyless", k.who, err).WithHint("check that the log and the timestamp authority can be reached")
}

// sealed takes the bundle apart.
func (k *keylessSealer) sealed(made *protobundle.Bundle) (seal, error) {
	loose, err := protojson.Marshal(made.GetVerificationMaterial())
	if err != nil {
		return seal{}, err
	}
	var material bytes.Buffer // protojson's spaces differ from time to time
	if err := json.Compact(&material, loose); err != nil {
		return seal{}, err
	}
	out := seal{material: material.Bytes(), signature: made.GetMessageSignature().GetSignature()}
	out.beside = map[string]string{
		signatureAnnotation:   base64.StdEncoding.EncodeToString(out.signature),
		certificateAnnotation: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.certificate})),
	}
	if signatures := made.GetDsseEnvelope().GetSignatures(); len(signatures) > 0 {
		out.signature, out.beside[signatureAnnotation] = signatures[0].GetSig(), ""
	}
	if len(out.signature) == 0 {
		return seal{}, errors.New("there is no signature in the bundle")
	}
	return out, besides(made.GetVerificationMaterial(), out.beside)
}

// besides notes log entries and timestamps as cosign did before it had bundles.
func besides(material *protobundle.VerificationMaterial, beside map[string]string) error {
	for _, entry := range material.GetTlogEntries() {
		promise := entry.GetInclusionPromise().GetSignedEntryTimestamp()
		if len(promise) == 0 {
			continue // the second API has none, and older signatures know nothing else
		}
		text, err := json.Marshal(logged{SignedEntryTimestamp: promise, Payload: logPayload{
			Body: entry.GetCanonicalizedBody(), IntegratedTime: entry.GetIntegratedTime(),
			LogIndex: entry.GetLogIndex(), LogID: hex.EncodeToString(entry.GetLogId().GetKeyId()),
		}})
		if err != nil {
			return err
		}
		beside[logAnnotation] = string(text)
	}
	for _, stamp := range material.GetTimestampVerificationData().GetRfc3161Timestamps() {
		if err := noteTime(beside, stamp.GetSignedTimestamp()); err != nil {
			return err
		}
	}
	return nil
}

// stamped is a timestamp as cosign keeps it beside an older signature (RFC 3161, section
// 2.4.2, TimeStampResp).
type stamped struct{ SignedRFC3161Timestamp []byte }

func noteTime(beside map[string]string, stamp []byte) error {
	text, err := json.Marshal(stamped{stamp})
	beside[timestampAnnotation] = string(text)
	return err
}
