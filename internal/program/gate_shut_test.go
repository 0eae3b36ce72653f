package program_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestFirstPoliciesThatAreWrong: a registry that is served without policies lets all through. Once
// there are some that cannot be taken up it lets nothing through, until they can be.
func TestFirstPoliciesThatAreWrong(t *testing.T) {
	home := t.TempDir()
	addr, stop := served(t, home)
	defer stop()
	pushed(t, addr+"/team/app:1", runnable(t))
	answered(t, addr, http.StatusOK)
	denyUnless(t, home, "nonsense")
	answered(t, addr, http.StatusForbidden, http.StatusServiceUnavailable)
	denyUnless(t, home, `!("maker" in image.labels)`)
	answered(t, addr, http.StatusOK)
}

// TestTwoServersOfOneHome: one keeps the verdicts; the other, which does not know them, lets
// nothing through, and takes over when that one ends.
func TestTwoServersOfOneHome(t *testing.T) {
	home := t.TempDir()
	first, stopFirst := served(t, home)
	second, stopSecond := served(t, home)
	pushed(t, first+"/team/app:1", runnable(t))
	answered(t, second, http.StatusOK)
	denyUnless(t, home, `"maker" in image.labels`)
	answered(t, first, http.StatusForbidden, http.StatusServiceUnavailable)
	answered(t, second, http.StatusForbidden, http.StatusServiceUnavailable)
	stopFirst()
	defer stopSecond()
	if err := os.Remove(filepath.Join(home, "policies", "all.yaml")); err != nil {
		t.Fatal(err)
	}
	denyUnless(t, home, `!("maker" in image.labels)`)
	answered(t, second, http.StatusOK)
}

// answered waits until the image is answered with one of the statuses.
func answered(t *testing.T, addr string, statuses ...int) {
	t.Helper()
	var status int
	var body string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		status, body = fetched(t, "http://"+addr+"/v2/team/app/manifests/1")
		for _, want := range statuses {
			if status == want {
				return
			}
		}
	}
	t.Fatalf("it is never answered with %d; last was %d %s", statuses, status, body)
}
