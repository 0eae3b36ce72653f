package access

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/registry/access/htpasswd"
	"plimsoll.dev/plimsoll/internal/registry/access/issuer"
	"plimsoll.dev/plimsoll/internal/registry/access/pattern"
	"plimsoll.dev/plimsoll/internal/registry/access/ticket"
	"plimsoll.dev/plimsoll/internal/registry/call"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

// rules are what one state of the settings comes to.
type rules struct {
	of       *settings.Settings
	accounts *htpasswd.File // may be nil
	file     string         // of the accounts
	*kept

	service string               // whom tokens are for
	issuers map[string]*believed // by URL
	named   map[string]*believed // by name

	admins, auditors []member
	members          map[string][]member // by project

	limits  limits
	proxies []netip.Prefix
}

// believed is an issuer whose tokens count.
type believed struct {
	v1alpha1.RegistryIssuer
	*issuer.Issuer
	caFile string
	period time.Duration // of a login
	mark   string        // of what a ticket rests on
}

// member is somebody with a role.
type member struct {
	v1alpha1.RegistryMember
	claims map[string]pattern.Pattern
}

// defaultService is whom tokens are for where the settings do not say what the registry is
// called.
const defaultService = "plimsoll"

// compile makes rules of settings that Check found right. What takes time to learn, the
// issuers' keys and passwords that matched, is taken over from before.
func (a *Access) compile(s *settings.Settings, before *rules) (r *rules, err error) {
	r = &rules{
		of: s, accounts: a.accounts, kept: a.kept, service: defaultService,
		issuers: map[string]*believed{}, named: map[string]*believed{}, members: map[string][]member{},
		limits: limitsOf(s.Limits),
	}
	if r.proxies, err = networks(s.TrustedProxies); err != nil {
		return nil, err
	}
	if u, err := url.Parse(s.ExternalURL); err == nil && u.Host != "" {
		r.service = u.Host
	}
	if s.Auth.Htpasswd != "" {
		r.file = s.Path(s.Auth.Htpasswd)
		if before != nil && before.file == r.file {
			r.accounts = before.accounts
		} else if r.accounts, err = htpasswd.Open(r.file, a.log); err != nil {
			return nil, err
		}
	}
	for _, one := range s.Auth.Issuers {
		b, err := a.believe(s, one, before)
		if err != nil {
			return nil, err
		}
		r.issuers[one.URL], r.named[one.Name] = b, b
	}
	r.admins, r.auditors = membersOf(s.Admins), membersOf(s.Auditors)
	for _, p := range s.Projects {
		r.members[p.Name] = membersOf(p.Members)
	}
	return r, nil
}

func (a *Access) believe(s *settings.Settings, one v1alpha1.RegistryIssuer, before *rules) (*believed, error) {
	b := &believed{RegistryIssuer: one, period: defaultLogin}
	text := one.URL + "\n" + one.Audience
	if one.CAFile != "" {
		b.caFile = s.Path(one.CAFile)
	}
	if one.Login != nil {
		text += "\n" + one.Login.ClientID
		if period, err := settings.Period(one.Login.Period); err == nil {
			b.period = period
		}
	}
	sum := sha256.Sum256([]byte(text))
	b.mark = hex.EncodeToString(sum[:8])
	if before != nil {
		if old := before.issuers[one.URL]; old != nil && old.caFile == b.caFile {
			b.Issuer = old.Issuer
			return b, nil
		}
	}
	var err error
	b.Issuer, err = issuer.New(one.URL, b.caFile, a.kept.now, a.log)
	return b, err
}

func membersOf(list []v1alpha1.RegistryMember) []member {
	out := make([]member, 0, len(list))
	for _, m := range list {
		one := member{RegistryMember: m}
		if m.Workload != nil {
			one.claims = map[string]pattern.Pattern{}
			for name, text := range m.Workload.Claims {
				// One that Check let pass compiles; the zero pattern is like nothing.
				one.claims[name], _ = pattern.Compile(text, claimSeparators)
			}
		}
		out = append(out, one)
	}
	return out
}

// is says whether the holder is that member.
func (m member) is(h ticket.Holder) bool {
	switch h.Kind {
	case ticket.User:
		return m.User != "" && m.User == h.Name
	case ticket.Person:
		group, ours := strings.CutPrefix(m.Group, h.Issuer+":")
		return m.User == h.Issuer+":"+h.Name || ours && slices.Contains(h.Groups, group)
	case ticket.Robot:
		return m.Robot != "" && m.Robot == h.Name
	case ticket.Workload:
		return m.Workload != nil && m.Workload.Issuer == h.Issuer && m.claimed(h.Claims)
	}
	return false
}

// claimed says whether each claim wanted has a value as wanted.
func (m member) claimed(claims map[string][]string) bool {
	for name, wanted := range m.claims {
		if !slices.ContainsFunc(claims[name], wanted.Match) {
			return false
		}
	}
	return len(m.claims) > 0
}

// alive says whether what a holder rests on is still there: his account and its password, the
// robot and its secret, the issuer.
func (r *rules) alive(h ticket.Holder) bool {
	switch h.Kind {
	case ticket.Anybody:
		return true
	case ticket.User:
		return r.accounts != nil && h.Mark != "" && r.accounts.Mark(h.Name) == h.Mark
	case ticket.Robot:
		found := r.robots.Find(h.Name)
		return found != nil && found.Live(r.now()) && found.Marked(h.Mark, r.now())
	case ticket.Person:
		b := r.named[h.Issuer]
		return b != nil && b.Login != nil && b.mark == h.Mark
	case ticket.Workload:
		b := r.named[h.Issuer]
		return b != nil && b.Audience != "" && b.mark == h.Mark
	}
	return false
}

// current says whether a ticket issued then counts.
func (r *rules) current(issued time.Time) bool {
	return r.of.Auth.NotBefore == nil || !issued.Before(r.of.Auth.NotBefore.Time)
}

// allow says whether a holder who is alive may do that.
func (r *rules) allow(h ticket.Holder, action call.Action, repository string) bool {
	is := func(m member) bool { return m.is(h) }
	if repository == "" {
		return (action == call.ActionList || action == call.ActionAudit) && h.Kind != ticket.Robot &&
			(slices.ContainsFunc(r.admins, is) || slices.ContainsFunc(r.auditors, is))
	}
	project := r.of.ProjectOf(repository)
	if project != nil && project.Public && action == call.ActionPull {
		return true
	}
	if h.Kind == ticket.Robot {
		program := r.robots.Find(h.Name)
		if program == nil || !program.Allows(action) { // which bounds it wherever it is let in
			return false
		}
		if project != nil && program.Project == project.Name {
			return program.Covers(repository)
		}
	}
	if slices.ContainsFunc(r.admins, is) {
		return true
	}
	return project != nil && slices.ContainsFunc(r.members[project.Name], func(m member) bool { return m.is(h) && can(m.Role, action) })
}

// can says what the roles are.
func can(role v1alpha1.RegistryRole, action call.Action) bool {
	switch role {
	case v1alpha1.RoleReader:
		return action == call.ActionPull
	case v1alpha1.RolePublisher:
		return action == call.ActionPull || action == call.ActionPush || action == call.ActionInspect
	case v1alpha1.RoleApprover:
		return action == call.ActionPull || action == call.ActionInspect || action == call.ActionApprove
	case v1alpha1.RoleAdmin:
		return action != call.ActionList && action != call.ActionAudit
	}
	return false
}
