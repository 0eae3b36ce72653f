package access

import (
	"errors"
	"net/http"
	"strings"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/access/ticket"
	"plimsoll.dev/plimsoll/internal/registry/call"
)

// Types of RFC 8693, "OAuth 2.0 Token Exchange".
const (
	grantExchange   = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeIDToken     = "urn:ietf:params:oauth:token-type:id_token"
	typeJWT         = "urn:ietf:params:oauth:token-type:jwt"
	typeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
)

// postToken answers POST: the form of OAuth2.
func (a *Access) postToken(rules *rules, w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		a.refuseGrant(&grantError{"invalid_request", "the form cannot be read"}, w, r)
		return
	}
	form := r.PostForm // never of the query, which logs keep
	who, offline, err := a.granter(rules, r)
	if err = a.unhurried(rules, who, err, r); err != nil {
		a.refuseGrant(err, w, r)
		return
	}
	out, err := a.grant(rules, who, form["scope"], form.Get("service"), offline, r)
	if err != nil {
		a.refuseGrant(err, w, r)
		return
	}
	if form.Get("grant_type") == grantExchange {
		out.IssuedType = typeAccessToken
	}
	answer(w, http.StatusOK, out)
}

// granter gives who asks by what the grant shows, and whether he wants to stay logged in.
func (a *Access) granter(rules *rules, r *http.Request) (who asker, offline bool, err error) {
	form := r.PostForm
	offline = form.Get("access_type") == "offline"
	switch form.Get("grant_type") {
	case "password":
		who, err = a.byPassword(rules, r, form.Get("username"), form.Get("password"))
	case "refresh_token":
		who, err = a.byLogin(rules, form.Get("refresh_token"))
		offline = false // what was granted once ends when that did
	case grantExchange:
		if kind := form.Get("subject_token_type"); kind != typeIDToken && kind != typeJWT {
			return who, false, &grantError{"invalid_request", "subject_token_type: want " + typeIDToken}
		}
		if kind := form.Get("requested_token_type"); kind != "" && kind != typeAccessToken {
			return who, false, &grantError{"invalid_request", "requested_token_type: only access tokens are given"}
		}
		who, err = a.byPassword(rules, r, oidcUser, form.Get("subject_token"))
	default:
		return who, false, &grantError{"unsupported_grant_type", "want password, refresh_token or " + grantExchange}
	}
	return who, offline, err
}

// byLogin believes a refresh token.
func (a *Access) byLogin(rules *rules, text string) (asker, error) {
	t, err := rules.office.Read(text, ticket.Refresh, rules.service)
	if err != nil || !rules.current(t.Issued) || !rules.alive(t.Holder) {
		return asker{}, errWrong
	}
	return asker{Holder: t.Holder, rules: rules, expires: t.Expires}, nil
}

// grantError is an error of RFC 6749, section 5.2.
type grantError struct{ code, why string }

func (e *grantError) Error() string { return e.why }

func (a *Access) refuseGrant(why error, w http.ResponseWriter, r *http.Request) {
	var (
		known *grantError
		asked *badRequest
		wait  *mustWait
	)
	status := http.StatusBadRequest
	switch {
	case errors.As(why, &known):
	case errors.As(why, &asked):
		known = &grantError{"invalid_scope", asked.why}
	case errors.As(why, &wait):
		refuse(w, r, tooMany(w, wait))
		return
	case fault.KindOf(why) == fault.Unavailable:
		w.Header().Set("Retry-After", "30")
		status, known = http.StatusServiceUnavailable, &grantError{"temporarily_unavailable", why.Error()}
	case errors.Is(why, errWrong):
		status, known = http.StatusUnauthorized, &grantError{"invalid_grant", why.Error()}
	default:
		a.log.Error("a token cannot be issued", "error", why)
		status, known = http.StatusInternalServerError, &grantError{"server_error", "the registry failed"}
	}
	call.RecordOf(r.Context()).Why = known.why
	answer(w, status, map[string]string{"error": known.code, "error_description": strings.ReplaceAll(known.why, `"`, "'")})
}
