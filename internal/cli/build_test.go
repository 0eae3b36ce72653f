package cli

import (
	"bytes"
	"strings"
	"testing"
	"unicode"

	"plimsoll.dev/plimsoll/internal/build"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/site"
)

// TestBuildIsSafeToShow: names that foreign code chose do nothing to a terminal.
func TestBuildIsSafeToShow(t *testing.T) {
	const evil = "x\x1b]0;owned\x07\x9b31m\u202e"
	var out, errs bytes.Buffer
	env := &Env{Out: &out, Err: &errs}
	env.note(build.Note{Phase: "detect", Text: evil})
	printError(env, fault.Newf(fault.Failed, "build", "app:1", evil).WithHint(evil))
	err := printBuilt(env, &site.Built{Ref: "app:1", Result: &build.Result{Images: []build.Built{{
		Architecture: "amd64", RunImage: evil, Buildpacks: []string{evil}, Layers: []build.Layer{{Name: evil, Buildpack: evil}},
	}}}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, said := range []string{out.String(), errs.String()} {
		if !strings.Contains(said, `x\x1b]0;owned`) {
			t.Errorf("it does not say what there is: %q", said)
		}
		for _, c := range said {
			if c != '\n' && !unicode.IsPrint(c) {
				t.Errorf("it prints %q: %q", c, said)
			}
		}
	}
}
