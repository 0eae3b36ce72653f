package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/buildpacks/internal/command"
)

func TestParse(t *testing.T) {
	got, err := parse("# how it runs\nweb: harbour --tls\r\n\nworker-2:  QUEUE=mail ./bin/worker 'a b'\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []process{
		{"web", command.Command{Args: []string{"harbour", "--tls"}}},
		{"worker-2", command.Command{Env: []command.Variable{{Name: "QUEUE", Value: "mail"}}, Args: []string{"./bin/worker", "a b"}}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(process{})); diff != "" {
		t.Error(diff)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, why := range map[string]string{
		"web harbour":            `line 1: "web harbour" is not NAME: COMMAND`,
		"\nweb:":                 "line 2",
		"web: a\nweb: b":         "line 2: process web is there twice",
		"web: cd x && node y":    "line 1: web: \"cd x && node y\" needs a shell for `&&`",
		"a: b\nweb: run $(date)": "line 2: web",
		"not a name: something":  "line 1",
	} {
		if _, err := parse(text); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: got %v, want %q in it", text, err, why)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("web: harbour\n# x\nworker: A=1 b 'c'\n")
	f.Add("web: a && b")
	f.Add(":\n: :")
	f.Fuzz(func(t *testing.T, text string) {
		processes, err := parse(text)
		if err != nil {
			return
		}
		for _, p := range processes {
			if p.name == "" || len(p.command.Args) == 0 {
				t.Errorf("%q gives %+v", text, p)
			}
		}
	})
}
