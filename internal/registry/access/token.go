package access

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/access/scope"
	"plimsoll.dev/plimsoll/internal/registry/access/ticket"
	"plimsoll.dev/plimsoll/internal/registry/call"
)

const (
	tokenPath = "/token"
	loginPath = "/token/login"

	accessPeriod = 5 * time.Minute
	maxForm      = 64 << 10
)

// Pages answers /token, the token server of the distribution project's specifications ("Token
// Authentication" and "OAuth2 Token Authentication"), and /token/login, which tells how people
// log in. All else is 404; so is everything while there are no settings.
func (a *Access) Pages() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rules, err := a.current()
		if err != nil {
			a.broken(err, w, r)
			return
		}
		if rules == nil || r.URL.Path != tokenPath && r.URL.Path != loginPath {
			refuse(w, r, call.Refusal{Status: http.StatusNotFound, Code: "UNSUPPORTED", Message: "there is no such page"})
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		r = rules.forwarded(r)
		switch {
		case r.URL.Path == loginPath && r.Method == http.MethodGet:
			a.tellLogin(rules, w)
		case r.URL.Path == tokenPath && r.Method == http.MethodGet:
			a.getToken(rules, w, r)
		case r.URL.Path == tokenPath && r.Method == http.MethodPost:
			a.postToken(rules, w, r)
		default:
			refuse(w, r, call.Refusal{Status: http.StatusMethodNotAllowed, Code: "UNSUPPORTED", Message: "no such method"})
		}
	})
}

// Login tells how people log in at a registry: the answer of /token/login.
type Login struct {
	Service  string        `json:"service"`
	Origin   string        `json:"origin"` // what logins are bound to: see Nonce
	Password bool          `json:"password"`
	Issuers  []LoginIssuer `json:"issuers"`
}

// LoginIssuer is an issuer at which people log in.
type LoginIssuer struct {
	Name     string   `json:"name"`
	URL      string   `json:"url"`
	ClientID string   `json:"clientID"`
	Scopes   []string `json:"scopes"`
}

func (a *Access) tellLogin(rules *rules, w http.ResponseWriter) {
	out := Login{Service: rules.service, Origin: rules.of.ExternalURL, Password: rules.accounts != nil, Issuers: []LoginIssuer{}}
	for _, one := range rules.of.Auth.Issuers {
		if one.Login == nil {
			continue
		}
		scopes := one.Login.Scopes
		if len(scopes) == 0 {
			scopes = []string{"openid", "email", "profile", "groups"}
		}
		out.Issuers = append(out.Issuers, LoginIssuer{one.Name, one.URL, one.Login.ClientID, scopes})
	}
	answer(w, http.StatusOK, out)
}

// granted is what the token server answers.
type granted struct {
	Token        string `json:"token,omitempty"` // the older name of the next
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"`
	IssuedAt     string `json:"issued_at"`
	Scope        string `json:"scope"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IssuedType   string `json:"issued_token_type,omitempty"` // RFC 8693, section 2.2.1
}

// getToken answers GET: whoever shows a password is known by it, anybody else is anybody.
func (a *Access) getToken(rules *rules, w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	who, err := a.knock(rules, r)
	if err == nil && who.limited {
		err = errWrong // a token does not beget another
	}
	if err = a.unhurried(rules, who, err, r); err != nil {
		a.refuseToken(rules, err, w, r)
		return
	}
	out, err := a.grant(rules, who, query["scope"], query.Get("service"), query.Get("offline_token") == "true", r)
	if err != nil {
		a.refuseToken(rules, err, w, r)
		return
	}
	out.Token = out.AccessToken
	answer(w, http.StatusOK, out)
}

func (a *Access) refuseToken(rules *rules, why error, w http.ResponseWriter, r *http.Request) {
	var asked *badRequest
	var wait *mustWait
	switch {
	case errors.As(why, &asked):
		refuse(w, r, call.Bad("UNSUPPORTED", asked.why))
	case errors.As(why, &wait), fault.KindOf(why) == fault.Unavailable:
		a.turnAway(rules, nil, why, w, r)
	case !errors.Is(why, errWrong) && !errors.Is(why, errTwo):
		a.log.Error("a token cannot be issued", "error", why)
		refuse(w, r, call.Refusal{Status: http.StatusInternalServerError, Code: "UNKNOWN", Message: "the registry failed"})
	default:
		w.Header().Set("WWW-Authenticate", `Basic realm="plimsoll registry", charset="UTF-8"`)
		refuse(w, r, call.Refusal{Status: http.StatusUnauthorized, Code: "UNAUTHORIZED", Message: why.Error()})
	}
}

// unhurried gives the error, or that of one who asks too often.
func (a *Access) unhurried(rules *rules, who asker, err error, r *http.Request) error {
	if wait := a.hurried(rules, who, r); wait > 0 {
		return &mustWait{wait, tooOften}
	}
	return err
}

// badRequest is the error of a request that is not well formed.
type badRequest struct{ why string }

func (b *badRequest) Error() string { return b.why }

// grant gives a token for as much of what is asked as may be done.
func (a *Access) grant(rules *rules, who asker, scopes []string, service string, offline bool, r *http.Request) (granted, error) {
	call.RecordOf(r.Context()).Principal = who.Principal()
	if service != "" && service != rules.service {
		return granted{}, &badRequest{"the service is not this registry"}
	}
	asked, err := scope.Parse(scopes)
	if err != nil {
		return granted{}, &badRequest{err.Error()}
	}
	now := rules.now()
	allowed := scope.Granted(asked, who.may)
	t := ticket.Ticket{
		Use: ticket.Access, Service: rules.service, Holder: who.Holder, Scopes: allowed,
		Expires: earlier(now.Add(accessPeriod), who.expires),
	}
	out := granted{
		TokenType: "Bearer", ExpiresIn: int(t.Expires.Sub(now).Seconds()),
		IssuedAt: now.UTC().Format(time.RFC3339), Scope: scope.Text(allowed),
	}
	if out.AccessToken, err = rules.office.Issue(t); err != nil {
		return granted{}, err
	}
	if until := rules.loginUntil(who, now); offline && !until.IsZero() {
		out.RefreshToken, err = rules.office.Issue(ticket.Ticket{Use: ticket.Refresh, Service: rules.service, Holder: who.Holder, Expires: until})
	}
	return out, err
}

// loginUntil says how long a login lasts; zero for those who have none: anybody, and workloads,
// which have an issuer to ask again.
func (r *rules) loginUntil(who asker, now time.Time) time.Time {
	switch who.Kind {
	case ticket.Person:
		if b := r.named[who.Issuer]; b != nil {
			return now.Add(b.period)
		}
	case ticket.User, ticket.Robot:
		return earlier(now.Add(ticket.MaxPeriod), who.expires)
	}
	return time.Time{}
}

func earlier(t, other time.Time) time.Time {
	if !other.IsZero() && other.Before(t) {
		return other
	}
	return t
}

var hostForm = regexp.MustCompile(`^[A-Za-z0-9.:\[\]_-]{1,255}$`)

// origin gives how clients reach this registry: as the settings say, else as this one does.
func (r *rules) origin(request *http.Request) string {
	if r.of.ExternalURL != "" {
		return r.of.ExternalURL
	}
	scheme, host := "http", request.Host
	if request.TLS != nil {
		scheme = "https"
	}
	if !hostForm.MatchString(host) {
		host = "localhost"
	}
	return scheme + "://" + host
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	text, err := json.Marshal(body)
	if err != nil {
		status, text = http.StatusInternalServerError, []byte("{}")
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, "%s\n", text)
}
