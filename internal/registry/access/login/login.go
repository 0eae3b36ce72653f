// Package login takes the address of a registry and who somebody is, and gives a token with
// which he stays logged in there.
package login

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/access"
)

const maxAnswer = 1 << 20

// Registry is one to log in at.
type Registry struct {
	Origin string // "https://HOST"
	Client *http.Client

	about access.Login
}

// Ask asks a registry how people log in there. Errors are *fault.Error.
func Ask(ctx context.Context, client *http.Client, origin string) (*Registry, error) {
	r := &Registry{Origin: origin, Client: client}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, origin+"/token/login", nil)
	if err != nil {
		return nil, fault.New(fault.Usage, "log in", origin, err).WithHint("name the registry as HOST or HOST:PORT")
	}
	status, err := r.do(request, &r.about)
	if err == nil && status != http.StatusOK {
		err = fault.Newf(fault.Failed, "log in", origin, fmt.Sprintf("it answers %d where it would say how", status)).
			WithHint("log in with your tool's own command: this registry has no logins of plimsoll's")
	}
	return r, err
}

// Issuer gives the issuer at which people log in: the one of that name, or the only one.
func (r *Registry) Issuer(name string) (access.LoginIssuer, error) {
	issuers := r.about.Issuers
	var names []string
	for _, one := range issuers {
		if one.Name == name {
			return one, r.named()
		}
		names = append(names, one.Name)
	}
	switch {
	case name == "" && len(issuers) == 1:
		return issuers[0], r.named()
	case len(issuers) == 0:
		return access.LoginIssuer{}, fault.Newf(fault.Usage, "log in", r.Origin, "it has no issuer to log in at").
			WithHint("give a user name with --username")
	}
	return access.LoginIssuer{}, fault.Newf(fault.Usage, "log in", r.Origin, "it has several issuers").
		WithHint("name one with --issuer: " + strings.Join(slices.Sorted(slices.Values(names)), ", "))
}

// named refuses a registry that calls itself otherwise than its user does: a login is bound to
// the name, so that whoever shows it is where its user wanted to be.
func (r *Registry) named() error {
	if r.about.Origin == r.Origin {
		return nil
	}
	return fault.Newf(fault.Denied, "log in", r.Origin, fmt.Sprintf("it calls itself %.200q", r.about.Origin)).
		WithHint("log in by that name, if that is the registry you mean")
}

// Password gives a token for a user's password or a robot's secret.
func (r *Registry) Password(ctx context.Context, user, password string) (string, error) {
	return r.token(ctx, url.Values{"grant_type": {"password"}, "username": {user}, "password": {password}})
}

// IDToken gives a token for an issuer's.
func (r *Registry) IDToken(ctx context.Context, token string) (string, error) {
	return r.token(ctx, url.Values{
		"grant_type":    {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token": {token}, "subject_token_type": {"urn:ietf:params:oauth:token-type:id_token"},
	})
}

func (r *Registry) token(ctx context.Context, form url.Values) (string, error) {
	form.Set("access_type", "offline")
	form.Set("client_id", "plimsoll")
	form.Set("service", r.about.Service)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.Origin+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", fault.New(fault.Usage, "log in", r.Origin, err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var got struct {
		Refresh string `json:"refresh_token"`
		Why     string `json:"error_description"`
	}
	status, err := r.do(request, &got)
	switch {
	case err != nil:
		return "", err
	case status != http.StatusOK:
		return "", fault.Newf(fault.Denied, "log in", r.Origin, fmt.Sprintf("it answers %d: %.200q", status, got.Why)).
			WithHint("check the user name and password, and that you are a member of a project")
	case got.Refresh == "":
		return "", fault.Newf(fault.Failed, "log in", r.Origin, "it gives no token to stay logged in with").
			WithHint("a workload shows its issuer's token each time instead: docs/registry-access.md")
	}
	return got.Refresh, nil
}

// do sends a request and reads the JSON of its answer. No part of a request is in its errors.
func (r *Registry) do(request *http.Request, into any) (status int, err error) {
	answer, err := r.Client.Do(request)
	if err != nil {
		return 0, fault.New(fault.Unavailable, "log in", r.Origin, bare(err)).WithHint("check the name, and that the registry is served there")
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return 0, fault.New(fault.Unavailable, "log in", r.Origin, err)
	}
	if json.Unmarshal(text, into) != nil && answer.StatusCode == http.StatusOK {
		return 0, fault.Newf(fault.Failed, "log in", r.Origin, "its answer cannot be read").
			WithHint("check that it is a plimsoll registry")
	}
	if answer.StatusCode == http.StatusTooManyRequests {
		return 0, r.tooMany(answer.Header, text)
	}
	return answer.StatusCode, nil
}

// tooMany is the error of one who has to wait.
func (r *Registry) tooMany(header http.Header, text []byte) error {
	var told struct {
		Errors []struct{ Message string }
	}
	why := "too many requests"
	if json.Unmarshal(text, &told) == nil && len(told.Errors) > 0 {
		why = fmt.Sprintf("%.200q", told.Errors[0].Message)
	}
	if seconds, err := strconv.Atoi(header.Get("Retry-After")); err == nil && seconds > 0 {
		why += fmt.Sprintf(", try again in %d s", seconds)
	}
	return fault.Newf(fault.Unavailable, "log in", r.Origin, why).
		WithHint("wait; each further wrong password makes the wait longer")
}

// bare takes the URL from an error: the fault names it.
func bare(err error) error {
	if named, ok := err.(*url.Error); ok {
		return named.Err
	}
	return err
}
