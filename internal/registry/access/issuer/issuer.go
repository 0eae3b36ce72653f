// Package issuer takes tokens of OpenID Connect issuers and gives what is verified in them.
package issuer

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Bounds of what comes from outside.
const (
	maxToken  = 16 << 10
	maxAnswer = 1 << 20
	maxKeys   = 200
	patience  = 5 * time.Second
)

// algorithms are those with a public key: "none" and those whose key is a secret are not.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
		jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	}
}

// Claims are what a token says.
type Claims struct {
	Subject string
	Nonce   string
	Expires time.Time
	All     map[string]any
}

// Issuer verifies the tokens of one. It is safe for concurrent use.
type Issuer struct {
	url  string
	keys *keySet
	now  func() time.Time
}

// New gives the issuer at an URL as its tokens name it. caFile, in PEM, says by which
// certificates its server is known; "" is the machine's. Nothing is asked of it yet.
func New(url, caFile string, now func() time.Time, log *slog.Logger) (*Issuer, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		text, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fault.New(fault.Usage, "read issuer's certificates", caFile, err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fault.Newf(fault.Usage, "read issuer's certificates", caFile, "it has none in PEM form")
		}
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, MaxIdleConns: 1, IdleConnTimeout: time.Minute}}
	return Over(client, url, now, log), nil
}

// Over is New with a client that knows the issuer's server.
func Over(client *http.Client, url string, now func() time.Time, log *slog.Logger) *Issuer {
	own := *client
	own.Timeout = patience
	// An issuer is where its name says.
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return errors.New("it redirects") }
	return &Issuer{url: url, keys: &keySet{issuer: url, client: &own, now: now, log: log}, now: now}
}

// Verify gives the claims of a token that the issuer signed for the audience and that is good
// now. A fault of kind Unavailable says that the issuer's keys cannot be had, Denied anything
// else; neither tells anything of the token.
func (i *Issuer) Verify(ctx context.Context, token, audience string) (Claims, error) {
	if len(token) > maxToken || audience == "" {
		return Claims{}, denied(i.url, "the token is too long")
	}
	var names []string
	for _, a := range algorithms() {
		names = append(names, string(a))
	}
	keys := &asked{keys: i.keys}
	verifier := oidc.NewVerifier(i.url, keys, &oidc.Config{ClientID: audience, SupportedSigningAlgs: names, Now: i.now})
	verified, err := verifier.Verify(ctx, token)
	if err != nil {
		return Claims{}, i.refused(cmp.Or(keys.err, err))
	}
	c := Claims{Subject: verified.Subject, Nonce: verified.Nonce, Expires: verified.Expiry}
	if err := verified.Claims(&c.All); err != nil || c.Subject == "" {
		return Claims{}, denied(i.url, "the token names nobody")
	}
	return c, nil
}

// asked keeps what the keys said: the verifier gives only its text.
type asked struct {
	keys *keySet
	err  error
}

// VerifySignature implements oidc.KeySet.
func (a *asked) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := a.keys.VerifySignature(ctx, token)
	a.err = err
	return payload, err
}

// refused says why in words of its own: the library's quote the token.
func (i *Issuer) refused(err error) error {
	var expired *oidc.TokenExpiredError
	switch {
	case fault.KindOf(err) == fault.Unavailable:
		return err
	case errors.As(err, &expired):
		return denied(i.url, "the token is expired")
	}
	return denied(i.url, "the token is not this issuer's, or not for this registry")
}

func denied(url, why string) error { return fault.Newf(fault.Denied, "verify token", url, why) }

// Of gives, unverified, who is said to have issued a token and for whom. It serves to choose
// by whom to have it verified, and for nothing else.
func Of(token string) (url string, audience []string, ok bool) {
	if len(token) > maxToken {
		return "", nil, false
	}
	parsed, err := jwt.ParseSigned(token, algorithms())
	if err != nil {
		return "", nil, false
	}
	var said jwt.Claims
	if err := parsed.UnsafeClaimsWithoutVerification(&said); err != nil {
		return "", nil, false
	}
	return said.Issuer, said.Audience, said.Issuer != ""
}

// get reads a JSON document of the issuer's.
func get(ctx context.Context, client *http.Client, url string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, answer.Status)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}
