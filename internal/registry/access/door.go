package access

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/access/scope"
	"plimsoll.dev/plimsoll/internal/registry/call"
)

// Door stands before the registry API: next gets only what whoever asks may do, with a
// call.Principal in its context and without his credentials.
func (a *Access) Door(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch rules, err := a.current(); {
		case err != nil:
			a.broken(err, w, r)
		case rules != nil:
			a.guard(rules, next, w, rules.forwarded(r))
		case a.accounts != nil:
			a.guardAccounts(next, w, r)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// broken lets nobody in: there are settings, and they could not be taken up even once.
func (a *Access) broken(why error, w http.ResponseWriter, r *http.Request) {
	a.log.Error("registry settings cannot be taken up: nobody is let in", "error", why)
	refuse(w, r, call.Refusal{Status: http.StatusServiceUnavailable, Code: "UNAVAILABLE", Message: "the registry's settings cannot be taken up"})
}

func (a *Access) guard(rules *rules, next http.Handler, w http.ResponseWriter, r *http.Request) {
	to, refusal := endpoint(r)
	if refusal != nil {
		refuse(w, r, *refusal)
		return
	}
	needs := to.Needs(r)
	who, err := a.knock(rules, r)
	if wait := a.hurried(rules, who, r); wait > 0 { // who is not known counts as anybody from there
		refuse(w, r, tooMany(w, &mustWait{wait, tooOften}))
		return
	}
	if err != nil {
		a.turnAway(rules, needs, err, w, r)
		return
	}
	call.RecordOf(r.Context()).Principal = who.Principal()
	if len(needs) == 0 && who.Principal() == "" {
		// So clients learn that there are tokens to be had, for anybody too.
		a.turnAway(rules, nil, errNobody, w, r)
		return
	}
	for i, need := range needs {
		if who.may(need.Action, need.Repository) {
			continue
		}
		if i > 0 { // a mount from where he may not pull: he sends the blob, as if it were not there
			r = r.Clone(r.Context())
			r.URL.RawQuery = withoutMount(r.URL.Query())
			break
		}
		a.deny(rules, who, needs[:1], w, r)
		return
	}
	p := &call.Principal{Name: who.Principal(), May: who.may}
	if len(r.Header["Authorization"]) == 0 {
		p.Ask = func(w http.ResponseWriter, message string) {
			a.challenge(rules, needs, "", w, r)
			ask(w, r, errNobody, message)
		}
	}
	r = stripped(r, p)
	a.bounded(rules, who, to, next, w, r)
}

// guardAccounts is for a site without settings: whoever has an account may do everything but
// see what is quarantined, for nobody said who may.
func (a *Access) guardAccounts(next http.Handler, w http.ResponseWriter, r *http.Request) {
	user, password, ok := r.BasicAuth()
	ok = ok && len(r.Header["Authorization"]) == 1
	err := errNobody
	if ok {
		err = a.checked(a.accounts, r, user, password)
	}
	var wait *mustWait
	if errors.As(err, &wait) {
		refuse(w, r, tooMany(w, wait))
		return
	}
	if err != nil {
		w.Header().Set("WWW-Authenticate", `Basic realm="plimsoll registry", charset="UTF-8"`)
		ask(w, r, err, "a user name and password are needed")
		return
	}
	call.RecordOf(r.Context()).Principal = user
	may := func(action call.Action, _ string) bool { return action != call.ActionInspect }
	next.ServeHTTP(w, stripped(r, &call.Principal{Name: user, May: may}))
}

// endpoint reads what a request names. Paths that a handler further on could read in another
// way are refused, whoever asks.
func endpoint(r *http.Request) (call.Endpoint, *call.Refusal) {
	to, ok := call.Parse(r.URL.Path)
	raw := strings.ToLower(r.URL.RawPath)
	bad := call.Bad("NAME_INVALID", "the repository name is not valid")
	switch {
	case strings.Contains(raw, "%2f"), strings.Contains(raw, "%2e"), strings.Contains(raw, "%5c"):
		return to, &bad
	case !ok:
		return to, &call.Refusal{Status: http.StatusNotFound, Code: "UNSUPPORTED", Message: "no such endpoint"}
	case to.Kind != call.KindOther && to.Kind != call.KindCatalog && !call.IsRepository(to.Repository):
		return to, &bad
	}
	return to, nil
}

// stripped gives the request with who asks, and without his credentials: what lies behind has
// no use for them, so it cannot leak them.
func stripped(r *http.Request, p *call.Principal) *http.Request {
	r = r.Clone(call.WithPrincipal(r.Context(), p))
	r.Header.Del("Authorization")
	return r
}

func withoutMount(query url.Values) string {
	query.Del("mount")
	query.Del("from")
	return query.Encode()
}

// turnAway answers one who is not known: with what to ask the token server for.
func (a *Access) turnAway(rules *rules, needs []call.Need, why error, w http.ResponseWriter, r *http.Request) {
	var wait *mustWait
	switch {
	case errors.As(why, &wait):
		refuse(w, r, tooMany(w, wait))
		return
	case fault.KindOf(why) == fault.Unavailable:
		w.Header().Set("Retry-After", "30")
		refuse(w, r, call.Refusal{Status: http.StatusServiceUnavailable, Code: "UNAVAILABLE", Message: why.Error()})
		return
	}
	a.challenge(rules, needs, "", w, r)
	ask(w, r, why, why.Error())
}

// ask answers one who is not known with 401. Where he did not say who he is nothing was
// refused, and nothing is noted: every client is asked first.
func ask(w http.ResponseWriter, r *http.Request, why error, message string) {
	refusal := call.Refusal{Status: http.StatusUnauthorized, Code: "UNAUTHORIZED", Message: message}
	if errors.Is(why, errNobody) {
		refusal.Write(w)
		return
	}
	refuse(w, r, refusal)
}

// challenge says where tokens are to be had (RFC 6750, section 3, and the distribution
// project's "Token Authentication Specification").
func (a *Access) challenge(rules *rules, needs []call.Need, problem string, w http.ResponseWriter, r *http.Request) {
	text := fmt.Sprintf("Bearer realm=%q,service=%q", rules.origin(r)+tokenPath, rules.service)
	if len(needs) > 0 {
		text += fmt.Sprintf(",scope=%q", scope.Text(scope.For(needs)))
	}
	if problem != "" {
		text += fmt.Sprintf(",error=%q", problem)
	}
	w.Header().Set("WWW-Authenticate", text)
}

// deny answers one who may not: anybody is asked who he is, a token that reaches less far than
// its holder may is sent for a better one, and everybody else is told what he lacks. All is
// the same whether or not the repository is there.
func (a *Access) deny(rules *rules, who asker, needs []call.Need, w http.ResponseWriter, r *http.Request) {
	need := needs[0]
	switch {
	case who.Principal() == "":
		a.turnAway(rules, needs, errNobody, w, r)
	case rules.allow(who.Holder, need.Action, need.Repository):
		a.challenge(rules, needs, "insufficient_scope", w, r)
		refuse(w, r, call.Refusal{Status: http.StatusUnauthorized, Code: "UNAUTHORIZED", Message: "the token is not for this"})
	default:
		where, whose := need.Repository, "the project"
		if where == "" {
			where, whose = "the whole registry", "the registry"
		}
		refuse(w, r, call.Refusal{
			Status: http.StatusForbidden, Code: "DENIED",
			Message: fmt.Sprintf("%s may not %s in %s: an admin of %s can let it", who.Principal(), need.Action, where, whose),
			Detail:  map[string]string{"action": string(need.Action), "repository": need.Repository},
		})
	}
}

// refuse answers with the refusal and notes why.
func refuse(w http.ResponseWriter, r *http.Request, refusal call.Refusal) {
	call.RecordOf(r.Context()).Why = refusal.Message
	refusal.Write(w)
}
