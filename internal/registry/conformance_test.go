package registry_test

import (
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// TestConformance runs the suite of the OCI distribution-spec against a running server:
// pull, push, content discovery and content management, all on. Of what the suite offers,
// only sparse manifests are off: the specification lets a registry insist that what a
// manifest names is there, and ours does, so that no half image is served. An anonymous
// mount is answered with 202, as the specification allows: a client must name a
// repository it may read. "dev" adds what the next specification proposes.
func TestConformance(t *testing.T) {
	suite := buildPinned(t, "conformance", conformanceSuite)
	for _, version := range []string{"1.1", "dev"} {
		t.Run(version, func(t *testing.T) { conform(t, open(t, registry.Options{}), suite, version) })
	}
}

const conformanceSuite = "github.com/opencontainers/distribution-spec/conformance"

// buildPinned builds a program as the nested module in the folder pins it, and gives its
// path.
func buildPinned(t *testing.T, module, program string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), filepath.Base(program))
	build := exec.Command(testbed.Tool(t, "go"), "build", "-o", file, program)
	build.Dir = filepath.Join("..", "..", filepath.FromSlash(module))
	build.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", program, err, out)
	}
	return file
}

func conform(t *testing.T, reg *registry.Registry, suite, version string) {
	addr := serve(t, reg, registry.ServeOptions{})
	results := t.TempDir()
	run := exec.Command(suite)
	run.Dir = results
	run.Env = append(os.Environ(), "OCI_REGISTRY="+addr, "OCI_TLS=disabled", "OCI_VERSION="+version, "OCI_RESULTS_DIR="+results)
	out, err := run.CombinedOutput()
	if ran, failed := readJUnit(t, filepath.Join(results, "junit.xml")); ran < 650 || failed > 0 {
		t.Errorf("of %d cases %d failed: want at least 650 and none", ran, failed)
	}
	if err != nil {
		t.Errorf("the suite ended with %v:\n%s", err, failures(string(out)))
	}
	t.Logf("%s", summary(string(out)))
}

// readJUnit gives how many cases ran and how many failed.
func readJUnit(t *testing.T, path string) (ran, failed int) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Cases []struct {
			Status string `xml:"status,attr"`
		} `xml:"testsuite>testcase"`
	}
	if err := xml.Unmarshal(content, &doc); err != nil {
		t.Fatal(err)
	}
	for _, c := range doc.Cases {
		switch c.Status {
		case "failure", "error":
			failed++
			ran++
		case "pass", "passed", "success":
			ran++
		}
	}
	return ran, failed
}

// failures gives the lines of the report that are worth reading.
func failures(out string) string {
	var kept []string
	for line := range strings.Lines(out) {
		if !strings.HasSuffix(strings.TrimSpace(line), "Pass") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// summary gives the report's tables.
func summary(out string) string {
	_, tables, _ := strings.Cut(out, "OCI Conformance Result:")
	return tables
}
