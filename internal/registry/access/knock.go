package access

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/access/htpasswd"
	"plimsoll.dev/plimsoll/internal/registry/access/issuer"
	"plimsoll.dev/plimsoll/internal/registry/access/robot"
	"plimsoll.dev/plimsoll/internal/registry/access/scope"
	"plimsoll.dev/plimsoll/internal/registry/access/ticket"
	"plimsoll.dev/plimsoll/internal/registry/call"
)

// asker is who asks, as far as what he showed proves.
type asker struct {
	ticket.Holder
	rules   *rules
	expires time.Time     // of what he showed; zero is never
	limited bool          // to the scopes
	scopes  []scope.Scope // of his token
}

// may says whether he may do that now, with what he showed.
func (who asker) may(action call.Action, repository string) bool {
	if who.limited && !scope.Allows(who.scopes, action, repository) {
		return false
	}
	return who.rules.allow(who.Holder, action, repository)
}

// Why somebody is not let in. That is all he learns.
var (
	errNobody = errors.New("authentication is needed")
	errWrong  = errors.New("the user name, password or token is wrong, expired or revoked")
	errTwo    = errors.New("the request has two credentials")
)

// mustWait is the error of one who did something too often.
type mustWait struct {
	time time.Duration
	why  string
}

const (
	tooWrong = "too many failed logins"
	tooOften = "too many requests: the limit is the site's"
)

func (m *mustWait) Error() string { return m.why }

// oidcUser is the user name that goes with an issuer's token. Any other does as well.
const oidcUser = "oidc"

// knock finds out who asks. An error is one of those above, or a fault of kind Unavailable.
func (a *Access) knock(rules *rules, r *http.Request) (asker, error) {
	shown := r.Header["Authorization"]
	switch {
	case len(shown) == 0:
		return asker{rules: rules}, nil
	case len(shown) > 1:
		return asker{}, errTwo
	}
	if token, ok := bearer(shown[0]); ok {
		return a.byTicket(rules, token)
	}
	user, password, ok := r.BasicAuth()
	if !ok {
		return asker{}, errWrong
	}
	return a.byPassword(rules, r, user, password)
}

func bearer(header string) (token string, ok bool) {
	scheme, token, ok := strings.Cut(header, " ")
	return strings.TrimSpace(token), ok && strings.EqualFold(scheme, "Bearer")
}

// byTicket believes a token of our own, and nothing in it that is no longer so.
func (a *Access) byTicket(rules *rules, text string) (asker, error) {
	t, err := rules.office.Read(text, ticket.Access, rules.service)
	if err != nil || !rules.current(t.Issued) || !rules.alive(t.Holder) {
		return asker{}, errWrong
	}
	return asker{Holder: t.Holder, rules: rules, expires: t.Expires, limited: true, scopes: t.Scopes}, nil
}

// byPassword takes a user's password, a robot's secret or an issuer's token.
func (a *Access) byPassword(rules *rules, r *http.Request, user, password string) (asker, error) {
	if full, ok := strings.CutPrefix(user, robot.Prefix); ok {
		known, mark := rules.robots.Check(full, password)
		if known == nil {
			return asker{}, errWrong
		}
		rules.robots.Note(full)
		return asker{rules: rules, Holder: ticket.Holder{Kind: ticket.Robot, Name: full, Mark: mark}, expires: known.Expires}, nil
	}
	if believed, audience := rules.issuerOf(password); believed != nil {
		who, err := rules.byIssuer(r.Context(), believed, audience, password)
		if fault.KindOf(err) == fault.Denied && err != nil {
			// He learns no more than anybody; whoever set the issuer up must.
			a.log.Info("an issuer's token is not believed", "issuer", believed.Name, "error", err)
			return asker{}, errWrong
		}
		return who, err
	}
	if rules.accounts == nil || user == oidcUser {
		return asker{}, errWrong
	}
	if err := a.checked(rules.accounts, r, user, password); err != nil {
		return asker{}, err
	}
	return asker{rules: rules, Holder: ticket.Holder{Kind: ticket.User, Name: user, Mark: rules.accounts.Mark(user)}}, nil
}

// checked looks whether that is the user's password. Of all secrets only those that people
// choose can be guessed: who guesses is made to wait, also when he guesses right at last.
func (a *Access) checked(accounts *htpasswd.File, r *http.Request, user, password string) error {
	g := guessesOf(r, user)
	if wait := a.wrong.wait(g, a.machine()); wait > 0 {
		return &mustWait{wait, tooWrong}
	}
	if !accounts.Check(r.Context(), user, password) {
		if r.Context().Err() == nil { // else nothing was checked
			a.wrong.note(g, a.machine())
		}
		return errWrong
	}
	a.wrong.forgive(g, a.machine())
	return nil
}

// issuerOf gives who says to have issued the token and for which audience it is to be
// verified; nil where that is nobody who is believed.
func (r *rules) issuerOf(token string) (*believed, string) {
	url, audience, ok := issuer.Of(token)
	b := r.issuers[url]
	if !ok || b == nil {
		return nil, ""
	}
	for _, one := range audience {
		if b.Login != nil && one == b.Login.ClientID {
			return b, one
		}
	}
	if b.Audience == "" {
		return nil, ""
	}
	return b, b.Audience
}

// byIssuer believes a token that an issuer signed: a person's, where it is for the login's
// client, else a workload's. Its errors are faults of kind Denied or Unavailable.
func (r *rules) byIssuer(ctx context.Context, b *believed, audience, token string) (asker, error) {
	claims, err := b.Verify(ctx, token, audience)
	if err != nil {
		return asker{}, err
	}
	denied := func(why string) error { return fault.Newf(fault.Denied, "believe token", b.URL, why) }
	who := asker{rules: r, expires: claims.Expires, Holder: ticket.Holder{Kind: ticket.Workload, Name: claims.Subject, Issuer: b.Name, Mark: b.mark}}
	if b.Login != nil && audience == b.Login.ClientID {
		if !boundHere(claims.Nonce, r.of.ExternalURL) {
			return asker{}, denied("it is bound to a login at another registry")
		}
		who.Kind, who.Name = ticket.Person, personOf(claims.All, b.Login.UserClaim)
		who.Groups = r.groups(b.Name, values(claims.All[cmp.Or(b.Login.GroupsClaim, "groups")]))
	} else {
		who.Claims = r.wanted(b.Name, claims.All)
	}
	if !nameForm.MatchString(who.Name) {
		return asker{}, denied("it has no name that is verified, and of at most 300 printable characters without spaces")
	}
	return who, nil
}

// nameForm keeps names from outside printable, on one line and short.
var nameForm = regexp.MustCompile(`^[\x21-\x7e]{1,300}$`)

// personOf gives a person's name: an address counts only when the issuer has verified it.
func personOf(claims map[string]any, claim string) string {
	claim = cmp.Or(claim, "email")
	if claim == "email" && claims["email_verified"] != true {
		return ""
	}
	name, _ := claims[claim].(string)
	return name
}

// values gives a claim as text: that of numbers and truths is their JSON.
func values(claim any) []string {
	switch v := claim.(type) {
	case string:
		return []string{v}
	case bool:
		if v {
			return []string{"true"}
		}
		return []string{"false"}
	case []any:
		var out []string
		for _, one := range v[:min(len(v), 1000)] {
			if text, ok := one.(string); ok {
				out = append(out, text)
			}
		}
		return out
	}
	return nil
}

// groups gives those that some member is: a token carries no more than counts.
func (r *rules) groups(issuer string, all []string) []string {
	var out []string
	for _, group := range all {
		if r.knows(func(m member) bool { return m.Group == issuer+":"+group }) {
			out = append(out, group)
		}
	}
	return out
}

// wanted gives the claims that some member has conditions for.
func (r *rules) wanted(issuer string, all map[string]any) map[string][]string {
	out := map[string][]string{}
	for name, claim := range all {
		if r.knows(func(m member) bool {
			_, wanted := m.claims[name]
			return wanted && m.Workload.Issuer == issuer
		}) {
			out[name] = values(claim)
		}
	}
	return out
}

// knows says whether some member is so.
func (r *rules) knows(is func(member) bool) bool {
	for _, list := range [][]member{r.admins, r.auditors} {
		for _, m := range list {
			if is(m) {
				return true
			}
		}
	}
	for _, list := range r.members {
		for _, m := range list {
			if is(m) {
				return true
			}
		}
	}
	return false
}
