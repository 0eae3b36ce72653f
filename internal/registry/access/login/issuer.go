package login

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/access"
	"plimsoll.dev/plimsoll/internal/registry/access/issuer"
)

// patience is how long a person may take to log in.
const patience = 5 * time.Minute

// AtIssuer lets a person log in at the issuer, in a browser on this machine, and gives his ID
// token, bound to this registry. show gets what he has to open.
func (r *Registry) AtIssuer(ctx context.Context, one access.LoginIssuer, show func(line string)) (string, error) {
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, r.Client), patience)
	defer cancel()
	config, err := discover(ctx, one)
	if err != nil {
		return "", err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fault.New(fault.Failed, "log in", one.URL, err).WithHint("log in on another machine with --device")
	}
	config.RedirectURL = "http://" + listener.Addr().String() + "/callback"
	state, verifier, nonce := rand.Text(), oauth2.GenerateVerifier(), access.Nonce(r.Origin)
	wait := callback(ctx, listener, state)
	show("open this page to log in:")
	show("  " + config.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier), oidc.Nonce(nonce)))
	code, err := wait()
	if err != nil {
		return "", err
	}
	token, err := config.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		return "", refused(one.URL, err)
	}
	return r.verified(ctx, one, token, nonce)
}

// ByDevice is AtIssuer for a person whose browser is on another machine (RFC 8628). The token
// is not bound to this registry: the flow has no place for it.
func (r *Registry) ByDevice(ctx context.Context, one access.LoginIssuer, show func(line string)) (string, error) {
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, r.Client), patience)
	defer cancel()
	config, err := discover(ctx, one)
	if err != nil {
		return "", err
	}
	if config.Endpoint.DeviceAuthURL == "" {
		return "", fault.Newf(fault.Usage, "log in", one.URL, "the issuer has no device logins").WithHint("leave --device away")
	}
	device, err := config.DeviceAuth(ctx)
	if err != nil {
		return "", refused(one.URL, err)
	}
	show(fmt.Sprintf("open %s on any machine, and enter %s", device.VerificationURI, device.UserCode))
	token, err := config.DeviceAccessToken(ctx, device)
	if err != nil {
		return "", refused(one.URL, err)
	}
	return r.verified(ctx, one, token, "")
}

func discover(ctx context.Context, one access.LoginIssuer) (*oauth2.Config, error) {
	if u, err := url.Parse(one.URL); err != nil || u.Scheme != "https" {
		return nil, fault.Newf(fault.Denied, "log in", one.URL, "the issuer is not at an https address")
	}
	provider, err := oidc.NewProvider(ctx, one.URL)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "log in", one.URL, err).WithHint("check that the issuer can be reached from here")
	}
	endpoint := provider.Endpoint()
	endpoint.AuthStyle = oauth2.AuthStyleInParams // a public client has no secret to try another with
	return &oauth2.Config{ClientID: one.ClientID, Endpoint: endpoint, Scopes: one.Scopes}, nil
}

// verified gives the ID token once it is sure that it is the answer to this login.
func (r *Registry) verified(ctx context.Context, one access.LoginIssuer, token *oauth2.Token, nonce string) (string, error) {
	raw, _ := token.Extra("id_token").(string)
	id, err := issuer.Over(r.Client, one.URL, time.Now, slog.New(slog.DiscardHandler)).Verify(ctx, raw, one.ClientID)
	if err == nil && id.Nonce != nonce {
		err = fault.Newf(fault.Denied, "log in", one.URL, "the issuer's answer is not to this login").WithHint("try again")
	}
	return raw, err
}

// refused keeps what an issuer says out of errors but for its code.
func refused(issuer string, err error) error {
	if said, ok := err.(*oauth2.RetrieveError); ok {
		return fault.Newf(fault.Denied, "log in", issuer, fmt.Sprintf("the issuer refuses: %.100q", said.ErrorCode))
	}
	return fault.New(fault.Unavailable, "log in", issuer, bare(err))
}

// callback listens, and gives what waits until the issuer sends the person's browser back with
// a code, and listens no longer.
func callback(ctx context.Context, listener net.Listener, state string) (wait func() (string, error)) {
	came := make(chan returned, 1)
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: back(state, came)}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	return func() (string, error) {
		defer func() {
			wind, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second) // the page is still on its way
			defer cancel()
			if server.Shutdown(wind) != nil {
				server.Close()
			}
			<-ended
		}()
		select {
		case got := <-came:
			return got.code, got.err
		case <-ctx.Done():
			return "", fault.New(fault.Canceled, "log in", "", ctx.Err()).WithHint("nobody logged in: try again")
		}
	}
}

// returned is what a browser came back with.
type returned struct {
	code string
	err  error
}

func back(state string, came chan<- returned) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		// Whoever else reaches the port does not know the state.
		if r.URL.Path != "/callback" || subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(state)) != 1 {
			http.NotFound(w, r)
			return
		}
		got := returned{code: query.Get("code")}
		text := "You are logged in. Close this page."
		if got.code == "" {
			got.err = fault.Newf(fault.Denied, "log in", "", fmt.Sprintf("the issuer refuses: %.100q", query.Get("error")))
			text = "You are not logged in. Close this page."
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		fmt.Fprintln(w, text)
		select {
		case came <- got:
		default:
		}
	}
}
