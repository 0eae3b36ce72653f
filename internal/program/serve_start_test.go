package program_test

import (
	"bytes"
	"context"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const siteSettings = "apiVersion: plimsoll.dev/v1alpha1\nkind: Registry\nmetadata: {name: here}\nspec:\n"

// TestSecondServerIsRefused: where there are policies one server has the home. Another one ends at
// once, without a trace, and starts when the first has ended.
func TestSecondServerIsRefused(t *testing.T) {
	home := t.TempDir()
	denyUnless(t, home, `"maker" in image.labels`)
	addr, stop := served(t, home)
	pushed(t, addr+"/team/app:1", runnable(t))
	answered(t, addr, http.StatusForbidden)
	log, access := files(t, filepath.Join(home, "audit")), files(t, filepath.Join(home, "access"))
	if said := refusedStart(t, home, 1, "--addr", "127.0.0.1:0"); !strings.Contains(said, "another process keeps them") || !strings.Contains(said, "hint: stop the other server") {
		t.Errorf("it is told %s", said)
	}
	for folder, before := range map[string]map[string]string{"audit": log, "access": access} {
		if diff := cmp.Diff(before, files(t, filepath.Join(home, folder))); diff != "" {
			t.Errorf("the second server has written to %s: %s", folder, diff)
		}
	}
	stop()
	next, stop := served(t, home)
	defer stop()
	answered(t, next, http.StatusForbidden)
}

// TestStartThatFailsLeavesNothing: what is wrong with the flags shows before the home is made.
func TestStartThatFailsLeavesNothing(t *testing.T) {
	for _, c := range []struct {
		name  string
		code  int
		flags []string
	}{
		{"no port", 2, []string{"--addr", "127.0.0.1"}},
		{"no certificate", 2, []string{"--addr", "127.0.0.1:0", "--tls-cert", "nowhere.pem", "--tls-key", "nowhere.key"}},
		{"half a certificate", 2, []string{"--addr", "127.0.0.1:0", "--tls-cert", "nowhere.pem"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			home := t.TempDir()
			refusedStart(t, home, c.code, c.flags...)
			if left := files(t, home); len(left) > 0 {
				t.Errorf("it leaves %v", left)
			}
		})
	}
}

// TestLostPoliciesOpenNothing: a home that had policies and has none lets nothing through, until
// they are back or the gate is switched off.
func TestLostPoliciesOpenNothing(t *testing.T) {
	home := t.TempDir()
	denyUnless(t, home, `"maker" in image.labels`)
	addr, stop := served(t, home)
	pushed(t, addr+"/team/app:1", runnable(t))
	answered(t, addr, http.StatusForbidden)
	stop()
	if err := os.RemoveAll(filepath.Join(home, "policies")); err != nil {
		t.Fatal(err)
	}

	if said := startLog(t, home); !strings.Contains(said, "level=ERROR") || !strings.Contains(said, "--gate=false") {
		t.Errorf("the log says %s", said)
	}
	addr, stop = served(t, home)
	if status, body := fetched(t, "http://"+addr+"/v2/team/app/manifests/1"); status != http.StatusForbidden || !strings.Contains(body, "this registry had policies and cannot find them") {
		t.Errorf("it is answered with %d %s", status, body)
	}
	if status, body := fetched(t, "http://"+addr+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "not ready: policies") {
		t.Errorf("it says of itself %d %s", status, body)
	}
	denyUnless(t, home, `!("maker" in image.labels)`)
	answered(t, addr, http.StatusOK)
	stop()

	denyUnless(t, home, `"maker" in image.labels`)
	if said := startLog(t, home, "--gate=false"); !strings.Contains(said, "the gate is off") {
		t.Errorf("the log says %s", said)
	}
	addr, stop = served(t, home, "--gate=false")
	defer stop()
	if status, body := fetched(t, "http://"+addr+"/v2/team/app/manifests/1"); status != http.StatusOK {
		t.Errorf("without the gate it is answered with %d %s", status, body)
	}
}

// TestReadyTellsOfStaleFiles: what is broken on disk changes nothing, and shows until it is mended.
func TestReadyTellsOfStaleFiles(t *testing.T) {
	home := t.TempDir()
	settings := filepath.Join(home, "registry.yaml")
	denyUnless(t, home, `"maker" in image.labels`)
	write(t, settings, siteSettings+"  projects: []\n")
	addr, stop := served(t, home)
	defer stop()
	shows := func(want ...string) {
		t.Helper()
		var ready, figures string
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			_, ready = fetched(t, "http://"+addr+"/readyz")
			_, figures = fetched(t, "http://"+addr+"/metrics")
			missing := false
			for _, line := range want {
				missing = missing || !strings.Contains(ready+figures, line+"\n")
			}
			if !missing {
				return
			}
		}
		t.Fatalf("it never shows %q, but %s", want, ready)
	}
	shows("ready", "plimsoll_registry_policies_stale 0", "plimsoll_registry_settings_stale 0")
	denyUnless(t, home, "nonsense")
	shows("not ready: policies", "ok settings", "plimsoll_registry_policies_stale 1")
	denyUnless(t, home, `!("maker" in image.labels)`)
	shows("ok policies", "plimsoll_registry_policies_stale 0")
	write(t, settings, siteSettings+"  nonsense: true\n")
	shows("not ready: settings", "ok policies", "plimsoll_registry_settings_stale 1")
	write(t, settings, siteSettings+"  projects: []\n")
	shows("ready", "plimsoll_registry_settings_stale 0")
}

// TestStartWarns: the log says at the start what stands open.
func TestStartWarns(t *testing.T) {
	const open, clear, ungated = "whoever reaches the address may push and pull", "travel in the clear", "there are no policies"
	for _, c := range []struct {
		name, addr, settings, policy string
		want, not                    []string
	}{
		{"alone", "127.0.0.1:0", "", "", []string{"accounts=false"}, []string{open, clear, ungated}},
		{"open to all", "0.0.0.0:0", "", "", []string{open, clear}, []string{ungated}},
		{"behind what has TLS", "0.0.0.0:0", "  externalURL: https://registry.example.com\n", "", []string{ungated}, []string{open, clear}},
		{"with accounts", "127.0.0.1:0", "  auth: {htpasswd: users}\n", "true", []string{"accounts=true", "settings=true"}, []string{open, clear, ungated}},
	} {
		t.Run(c.name, func(t *testing.T) {
			home := t.TempDir()
			write(t, filepath.Join(home, "users"), "ann:$2y$05$XZXq5Ph0yz3AK6dtpvKKGuxhxTf3zXkoqRF6rjCZ1l5qDGU8CyiQS\n")
			if c.settings != "" {
				write(t, filepath.Join(home, "registry.yaml"), siteSettings+c.settings)
			}
			if c.policy != "" {
				denyUnless(t, home, c.policy)
			}
			said := startLog(t, home, "--addr", c.addr)
			for _, want := range c.want {
				if !strings.Contains(said, want) {
					t.Errorf("%q is missing: %s", want, said)
				}
			}
			for _, not := range c.not {
				if strings.Contains(said, not) {
					t.Errorf("it says %q: %s", not, said)
				}
			}
		})
	}
}

// startLog gives what a server logs until it serves; then it ends.
func startLog(t *testing.T, home string, flags ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	log := &cutoff{at: "msg=serving", cut: cancel}
	if _, code := typed(ctx, home, log, append([]string{"registry", "serve", "--addr", "127.0.0.1:0"}, flags...)...); code != 0 {
		t.Fatalf("exit %d: %s", code, log.String())
	}
	return log.String()
}

// cutoff keeps what is written, and calls cut once that has a text in it.
type cutoff struct {
	at  string
	cut func()

	mu   sync.Mutex
	text bytes.Buffer
}

func (c *cutoff) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if bytes.Contains(p, []byte(c.at)) {
		c.cut()
	}
	return c.text.Write(p)
}

func (c *cutoff) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// refusedStart gives what a server says that does not start.
func refusedStart(t *testing.T, home string, want int, flags ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var errs bytes.Buffer
	if _, code := typed(ctx, home, &errs, append([]string{"registry", "serve"}, flags...)...); code != want {
		t.Errorf("exit %d, want %d: %s", code, want, errs.String())
	}
	return errs.String()
}

// files gives the contents of all files of a folder, which need not be there, and "" for folders.
func files(t *testing.T, folder string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == folder {
			return err
		}
		if d.IsDir() {
			found[path] = ""
			return nil
		}
		text, err := os.ReadFile(path)
		found[path] = string(text)
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return found
}
