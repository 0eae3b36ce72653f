package access

import (
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/manifest"
	"plimsoll.dev/plimsoll/internal/registry/access/htpasswd"
	"plimsoll.dev/plimsoll/internal/registry/access/issuer"
	"plimsoll.dev/plimsoll/internal/registry/access/pattern"
	"plimsoll.dev/plimsoll/internal/registry/access/robot"
	"plimsoll.dev/plimsoll/internal/registry/access/ticket"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

// claimSeparators part what claims are made of: "repo:acme/app:ref:refs/heads/main".
const claimSeparators = "/:"

// defaultLogin is how long a login lasts: a working day.
const defaultLogin = 12 * time.Hour

var issuerName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Check gives the first problem of what the settings say of members, issuers and limits. It
// also reads the files that they name.
func Check(s *settings.Settings) *manifest.Problem {
	c := checker{s: s, issuers: map[string]*v1alpha1.RegistryIssuer{}}
	for _, check := range []func() *manifest.Problem{c.auth, c.everywhere, c.projects, c.limits} {
		if problem := check(); problem != nil {
			return problem
		}
	}
	return nil
}

type checker struct {
	s       *settings.Settings
	issuers map[string]*v1alpha1.RegistryIssuer // by name
}

func (c checker) auth() *manifest.Problem {
	if file := c.s.Auth.Htpasswd; file != "" {
		if _, err := htpasswd.Open(c.s.Path(file), slog.New(slog.DiscardHandler)); err != nil {
			return manifest.Bad("spec.auth.htpasswd", err.Error())
		}
	}
	urls := map[string]bool{}
	for i := range c.s.Auth.Issuers {
		one, field := &c.s.Auth.Issuers[i], fmt.Sprintf("spec.auth.issuers[%d]", i)
		switch u, err := url.Parse(one.URL); {
		case !issuerName.MatchString(one.Name):
			return manifest.Bad(field+".name", fmt.Sprintf("want lower-case letters, digits and dashes, got %q", one.Name))
		case c.issuers[one.Name] != nil:
			return manifest.Bad(field+".name", fmt.Sprintf("%q occurs twice", one.Name))
		case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
			return manifest.Bad(field+".url", "want https://HOST, with the path that the issuer's tokens name")
		case urls[one.URL]:
			return manifest.Bad(field+".url", "another issuer has it")
		case one.Audience == "" && one.Login == nil:
			return manifest.Bad(field, "want audience, for workloads, or login, for people")
		}
		if problem := c.issuer(one, field); problem != nil {
			return problem
		}
		c.issuers[one.Name], urls[one.URL] = one, true
	}
	return nil
}

func (c checker) issuer(one *v1alpha1.RegistryIssuer, field string) *manifest.Problem {
	if one.CAFile != "" {
		if _, err := issuer.New(one.URL, c.s.Path(one.CAFile), time.Now, nil); err != nil {
			return manifest.Bad(field+".caFile", err.Error())
		}
	}
	login := one.Login
	if login == nil {
		return nil
	}
	switch {
	case login.ClientID == "":
		return manifest.Bad(field+".login.clientID", "want the registry's client ID at the issuer")
	case login.ClientID == one.Audience:
		return manifest.Bad(field+".login.clientID", "want another name than audience: it tells people from workloads")
	case c.s.ExternalURL == "":
		return manifest.Bad(field+".login", "it needs spec.externalURL: logins are bound to it")
	}
	if login.Period == "" {
		return nil
	}
	if period, err := settings.Period(login.Period); err != nil || period <= 0 || period > ticket.MaxPeriod {
		return manifest.Bad(field+".login.period", "want a time of at most 30d, such as 12h")
	}
	return nil
}

func (c checker) everywhere() *manifest.Problem {
	for _, all := range []struct {
		field string
		list  []v1alpha1.RegistryMember
	}{{"spec.admins", c.s.Admins}, {"spec.auditors", c.s.Auditors}} {
		for i, m := range all.list {
			field := fmt.Sprintf("%s[%d]", all.field, i)
			if m.Role != "" {
				return manifest.Bad(field+".role", "it has none here")
			}
			if problem := c.member(m, field); problem != nil {
				return problem
			}
		}
	}
	return nil
}

func (c checker) projects() *manifest.Problem {
	roles := []v1alpha1.RegistryRole{v1alpha1.RoleReader, v1alpha1.RolePublisher, v1alpha1.RoleApprover, v1alpha1.RoleAdmin}
	for i, p := range c.s.Projects {
		for j, m := range p.Members {
			field := fmt.Sprintf("spec.projects[%d].members[%d]", i, j)
			if !slices.Contains(roles, m.Role) {
				return manifest.Bad(field+".role", fmt.Sprintf("want reader, publisher, approver or admin, got %q", m.Role))
			}
			if problem := c.member(m, field); problem != nil {
				return problem
			}
		}
	}
	return nil
}

func (c checker) member(m v1alpha1.RegistryMember, field string) *manifest.Problem {
	given := 0
	for _, is := range []bool{m.User != "", m.Group != "", m.Robot != "", m.Workload != nil} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return manifest.Bad(field, "want one of user, group, robot and workload")
	case m.User != "":
		return c.user(m.User, field+".user")
	case m.Group != "":
		return c.login(m.Group, field+".group")
	case m.Robot != "":
		if _, _, err := robot.Split(m.Robot); err != nil {
			return manifest.Bad(field+".robot", "want PROJECT/NAME")
		}
		return nil
	}
	return c.workload(m.Workload, field+".workload")
}

func (c checker) user(name, field string) *manifest.Problem {
	if strings.Contains(name, ":") {
		return c.login(name, field)
	}
	if strings.HasPrefix(name, robot.Prefix) {
		return manifest.Bad(field, "it is a robot's name: say robot: PROJECT/NAME")
	}
	return nil
}

// login checks "ISSUER:NAME".
func (c checker) login(name, field string) *manifest.Problem {
	issuer, rest, ok := strings.Cut(name, ":")
	if !ok || rest == "" || c.issuers[issuer] == nil || c.issuers[issuer].Login == nil {
		return manifest.Bad(field, fmt.Sprintf("want ISSUER:NAME with one of auth.issuers that has a login, got %q", name))
	}
	return nil
}

func (c checker) workload(w *v1alpha1.RegistryWorkload, field string) *manifest.Problem {
	if one := c.issuers[w.Issuer]; one == nil || one.Audience == "" {
		return manifest.Bad(field+".issuer", fmt.Sprintf("want the name of one of auth.issuers that has an audience, got %q", w.Issuer))
	}
	distinct := false
	for _, name := range slices.Sorted(maps.Keys(w.Claims)) {
		text := w.Claims[name]
		if _, err := pattern.Compile(text, claimSeparators); err != nil {
			return manifest.Bad(field+".claims."+name, err.Error())
		}
		distinct = distinct || text[0] != '*'
	}
	if !distinct {
		return manifest.Bad(field+".claims", "want at least one whose pattern does not begin with *: else it is anybody whom the issuer knows")
	}
	return nil
}

func (c checker) limits() *manifest.Problem {
	if _, err := networks(c.s.TrustedProxies); err != nil {
		return manifest.Bad("spec.trustedProxies", "want networks such as 10.0.0.0/8")
	}
	l := c.s.Limits
	for _, one := range []struct {
		field string
		n     int
	}{
		{"requests.perSecond", l.Requests.PerSecond}, {"requests.burst", l.Requests.Burst},
		{"anonymous.perSecond", l.Anonymous.PerSecond}, {"anonymous.burst", l.Anonymous.Burst}, {"uploads", l.Uploads},
	} {
		if one.n < 0 || one.n > 1_000_000 {
			return manifest.Bad("spec.limits."+one.field, "want a number from 1 to 1000000")
		}
	}
	switch {
	case l.BlobSize.Sign() < 0:
		return manifest.Bad("spec.limits.blobSize", "want a size such as 10Gi")
	case l.ManifestSize.Sign() < 0 || l.ManifestSize.Value() > maxManifest:
		return manifest.Bad("spec.limits.manifestSize", "want a size of at most 4Mi")
	}
	return nil
}
