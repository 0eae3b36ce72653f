package scope_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/registry/access/scope"
	"plimsoll.dev/plimsoll/internal/registry/call"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name  string
		texts []string
		want  string
		bad   bool
	}{
		{name: "one", texts: []string{"repository:team/app:pull,push"}, want: "repository:team/app:pull,push"},
		{name: "several, both ways", texts: []string{"repository:a:pull repository:b:push", "registry:catalog:*"}, want: "repository:a:pull repository:b:push registry:catalog:*"},
		{name: "unknown type", texts: []string{"repository(plugin):a:pull", "artifactory:x:*"}},
		{name: "unknown part of the registry", texts: []string{"registry:keys:*"}},
		{name: "no actions", texts: []string{"repository:a:"}, want: "repository:a:"},
		{name: "nothing", texts: []string{"", " "}},
		{name: "dots", texts: []string{"repository:team/../other:pull"}, bad: true},
		{name: "a host", texts: []string{"repository:evil.example:443/team:pull"}, bad: true},
		{name: "capitals", texts: []string{"repository:Team/app:pull"}, bad: true},
		{name: "no name", texts: []string{"repository::pull"}, bad: true},
		{name: "half", texts: []string{"repository:a"}, bad: true},
		{name: "too many", texts: []string{strings.Repeat("repository:a:pull ", 101)}, bad: true},
		{name: "too many actions", texts: []string{"repository:a:" + strings.Repeat("pull,", 11)}, bad: true},
	} {
		got, err := scope.Parse(c.texts)
		if (err != nil) != c.bad {
			t.Errorf("%s: got error %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, scope.Text(got)); err == nil && diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// may is somebody who may pull team/app, all of admin/app, and the catalog if named so.
func may(action call.Action, repository string) bool {
	return repository == "team/app" && action == call.ActionPull || repository == "admin/app"
}

func TestGrantedIsNeverMore(t *testing.T) {
	for _, c := range []struct{ asked, want string }{
		{"repository:team/app:pull,push,delete", "repository:team/app:pull"},
		{"repository:team/app:*", "repository:team/app:pull"},
		{"repository:team/ap:pull repository:team/app/sub:pull repository:team:pull", ""},
		{"repository:admin/app:*", "repository:admin/app:pull,push,delete,*"},
		{"repository:admin/app:pull", "repository:admin/app:pull"},
		{"repository:admin/app:admin,approve,inspect", ""},
		{"registry:catalog:*", ""},
	} {
		asked, err := scope.Parse([]string{c.asked})
		if err != nil {
			t.Fatal(err)
		}
		if got := scope.Text(scope.Granted(asked, may)); got != c.want {
			t.Errorf("%s: granted %q, want %q", c.asked, got, c.want)
		}
	}
}

func TestAllows(t *testing.T) {
	for _, c := range []struct {
		scopes     string
		action     call.Action
		repository string
		want       bool
	}{
		{"repository:team/a:pull", call.ActionPull, "team/a", true},
		{"repository:team/a:pull", call.ActionPull, "team/ab", false},
		{"repository:team/a:pull", call.ActionPull, "team/a/b", false},
		{"repository:team:pull", call.ActionPull, "team/a", false},
		{"repository:team/a:pull", call.ActionPush, "team/a", false},
		{"repository:team/a:pull", call.ActionInspect, "team/a", true},
		{"repository:team/a:pull", call.ActionApprove, "team/a", false},
		{"repository:team/a:pull,push", call.ActionApprove, "team/a", true},
		{"repository:team/a:pull,push,delete", call.ActionAdmin, "team/a", false},
		{"repository:team/a:*", call.ActionAdmin, "team/a", true},
		{"registry:catalog:*", call.ActionList, "", true},
		{"registry:catalog:*", call.ActionPull, "catalog", false},
		{"repository:catalog:*", call.ActionList, "", false},
	} {
		scopes, err := scope.Parse([]string{c.scopes})
		if err != nil {
			t.Fatal(err)
		}
		if got := scope.Allows(scopes, c.action, c.repository); got != c.want {
			t.Errorf("%s lets %s %q: %t, want %t", c.scopes, c.action, c.repository, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"repository:team/app:pull,push", "registry:catalog:*", "repository:a:b:c", ":::", "a b c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		asked, err := scope.Parse([]string{text})
		if err != nil {
			return
		}
		for _, s := range scope.Granted(asked, may) {
			if s.Type != scope.Repository || s.Name != "team/app" && s.Name != "admin/app" {
				t.Fatalf("%q gave %v", text, s)
			}
			for _, action := range s.Actions {
				if s.Name == "team/app" && action != "pull" {
					t.Fatalf("%q gave %v", text, s)
				}
			}
		}
	})
}
