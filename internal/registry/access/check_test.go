package access_test

import (
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/internal/registry/access"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

const (
	header = "apiVersion: plimsoll.dev/v1alpha1\nkind: Registry\nmetadata: {name: site}\nspec:\n"
	issuer = "  externalURL: https://registry.example.com\n  auth: {issuers: [{name: corp, url: https://id.example.com, audience: registry, login: {clientID: x}}]}\n"
)

func TestCheckNamesTheLine(t *testing.T) {
	member := func(text string) string {
		return issuer + "  projects:\n  - name: team\n    members:\n    - " + text + "\n"
	}
	for _, c := range []struct{ name, spec, want string }{
		{"no role", member("{user: ann}"), "line 10: spec.projects[0].members[0].role"},
		{"unknown role", member("{user: ann, role: owner}"), "line 10: spec.projects[0].members[0].role"},
		{"nobody", member("{role: reader}"), "want one of user, group, robot and workload"},
		{"two at once", member("{user: ann, group: 'corp:x', role: reader}"), "want one of user"},
		{"a robot as a user", member("{user: robot+team/ci, role: reader}"), "it is a robot's name"},
		{"a robot without a project", member("{robot: ci, role: reader}"), "want PROJECT/NAME"},
		{"a group of nobody's", member("{group: sailors, role: reader}"), "members[0].group: want ISSUER:NAME"},
		{"a group of an unknown issuer", member("{group: 'other:sailors', role: reader}"), "want ISSUER:NAME"},
		{"a workload of an unknown issuer", member("{workload: {issuer: other, claims: {sub: a}}, role: reader}"), "workload.issuer"},
		{"a workload without claims", member("{workload: {issuer: corp, claims: {}}, role: reader}"), "it is anybody whom the issuer knows"},
		{"a workload that is anybody", member("{workload: {issuer: corp, claims: {sub: '**'}}, role: reader}"), "it is anybody whom the issuer knows"},
		{"an empty claim", member("{workload: {issuer: corp, claims: {sub: ''}}, role: reader}"), "claims.sub"},
		{"an admin with a role", "  admins: [{user: ann, role: admin}]\n", "line 5: spec.admins[0].role"},
		{"no accounts there", "  auth: {htpasswd: none}\n", "spec.auth.htpasswd"},
		{"an issuer without TLS", strings.Replace(issuer, "https://id", "http://id", 1), "issuers[0].url"},
		{"an issuer with a query", strings.Replace(issuer, "https://id.example.com", "'https://id.example.com/?a=b'", 1), "issuers[0].url"},
		{"an issuer without a name", strings.Replace(issuer, "name: corp", "name: 'c:d'", 1), "issuers[0].name"},
		{"an issuer for nobody", strings.Replace(issuer, "audience: registry, login: {clientID: x}", "caFile: ''", 1), "want audience, for workloads, or login"},
		{"a client that is the audience", strings.Replace(issuer, "clientID: x", "clientID: registry", 1), "clientID"},
		{"a login without a name to bind it to", strings.Replace(issuer, "  externalURL: https://registry.example.com\n", "", 1), "it needs spec.externalURL"},
		{"a login for ever", strings.Replace(issuer, "clientID: x", "clientID: x, period: 31d", 1), "login.period"},
		{"no CA there", strings.Replace(issuer, "audience", "caFile: none, audience", 1), "caFile"},
		{"a negative limit", "  limits: {requests: {perSecond: -1}}\n", "limits.requests.perSecond"},
		{"a manifest that the store does not take", "  limits: {manifestSize: 5Mi}\n", "limits.manifestSize"},
		{"a proxy that is no network", "  trustedProxies: [proxy.example.com]\n", "line 5: spec.trustedProxies"},
		{"a size that is none", "  limits: {blobSize: big}\n", "quantities"},
	} {
		_, err := settings.Parse([]byte(header+c.spec), t.TempDir(), access.Check)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := settings.Parse([]byte(header+member("{workload: {issuer: corp, claims: {sub: 'a:*'}}, role: reader}")), "", access.Check); err != nil {
		t.Errorf("what is right: %v", err)
	}
}

func FuzzSettings(f *testing.F) {
	f.Add([]byte(header + issuer + "  projects: [{name: team, public: true, members: [{user: ann, role: admin}]}]"))
	f.Add([]byte(header + "  limits: {blobSize: 1Gi}"))
	f.Add([]byte(header + "  auth: {notBefore: 2026-01-01T00:00:00Z}"))
	f.Add([]byte("&a [*a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if strings.Contains(string(text), "ile") || strings.Contains(string(text), "htpasswd") {
			return // it would read files of this machine
		}
		s, err := settings.Parse(text, "/nonexistent", access.Check)
		if err != nil {
			return
		}
		for _, p := range s.Projects {
			if s.ProjectOf(p.Name+"/x") == nil || s.ProjectOf(p.Name+"x") == s.Project(p.Name) {
				t.Fatalf("took a project %q", p.Name)
			}
		}
	})
}
