package program

import (
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

// TestUpgrade has the program of the commit before this one build an image, and this one go on with
// its home: all is known, nothing is lost, and what is wanted then is done.
func TestUpgrade(t *testing.T) {
	c := newControl(t)
	c.up.program = builtBefore(t)
	c.start()
	c.applyBuildBase()
	c.applyBefore("web")
	c.apply(smallBuilder)
	c.apply(strings.ReplaceAll(smallShop, "REPOSITORY", c.repo.url))
	c.eventually(builtWithin, "the Image is built", func() error { return c.settled("static") })
	old, err := c.tagged("static")
	if err != nil {
		t.Fatal(err)
	}
	c.stop()

	c.up.program = ""
	c.start()
	c.eventually(builtWithin, "the Image is kept", func() error { return c.settled("static") })
	c.verified("static@" + old)
	if first, err := c.builds("static"); err != nil || first[0].Status.Digest != old || first[0].Status.Phase != v1alpha1.BuildSucceeded {
		t.Errorf("the Build of before is gone: %+v, %v", first, err)
	}
	if known := c.plimsoll("query", "what contains zlib1g"); !strings.Contains(known, old[:len("sha256:")+12]) {
		t.Errorf("the inventory does not know %s:\n%s", old, known)
	}
	c.flip(false, "web")
	c.repo.say("Under a new captain.")
	c.eventually(builtWithin, "the Image is of the newest", func() error { return c.settled("static") })
	c.verified("static")
	c.stop()
}

// builtBefore gives the program of the commit before this one.
func builtBefore(t *testing.T) string {
	t.Helper()
	tree, program := t.TempDir(), filepath.Join(t.TempDir(), "plimsoll")
	archive := exec.CommandContext(t.Context(), "git", "-C", "../..", "archive", "HEAD~1")
	out, err := archive.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	unpack := exec.CommandContext(t.Context(), "tar", "-x", "-C", tree)
	unpack.Stdin = out
	if err := archive.Start(); err != nil {
		t.Fatal(err)
	}
	if text, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("unpack the commit before this one: %v\n%s", err, text)
	}
	_, _ = io.Copy(io.Discard, out) // what tar leaves of the last block
	if err := archive.Wait(); err != nil {
		t.Fatalf("git archive HEAD~1: %v: the clone must hold at least two commits", err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", program, "./cmd/plimsoll")
	build.Dir = tree
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the commit before this one: %v\n%s", err, text)
	}
	return program
}
