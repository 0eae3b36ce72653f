package plane

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/figures"
)

// shared is a buffer for two goroutines.
type shared struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func TestPage(t *testing.T) {
	now := time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)
	f := figures.Figures{
		At:       now,
		Images:   map[figures.State]int{{Ready: "True", Reason: "UpToDate"}: 9000, {Ready: "False", Reason: "BuildFailed"}: 3},
		Verdicts: map[string]int{"deny": 2, "allow": 9001},
		Waiting:  map[figures.Line]figures.Waiting{{Method: v1alpha1.MethodRebase, Priority: v1alpha1.PrioritySecurity}: {Builds: 400, Oldest: now.Add(-90 * time.Second)}},
		Running:  []figures.Running{{Namespace: "shop", Image: "<script>alert(1)</script>", Build: "web-b1", Reason: "COMMIT", Since: now.Add(-3 * time.Hour)}},
		Feeds:    []figures.Feed{{Name: "debian", Ready: true, Synced: now.Add(-72 * time.Hour)}, {Name: "osv"}},
		Builds:   1, Problems: 3,
	}
	for name, c := range map[string]struct {
		names        bool
		err          error
		wants, lacks []string
	}{
		"of a home": {true, nil, []string{
			`<td class="n">3</td><td class="bad">BuildFailed</td>`, `<td class="n">9000</td><td>UpToDate</td>`, `<td class="n">2</td><td class="bad">deny</td>`,
			`<td class="n">400</td><td>rebase, security</td><td>1m30s</td>`, "&lt;script&gt;alert(1)&lt;/script&gt;</td><td>web-b1</td><td>COMMIT</td><td>3h0m</td>",
			"feeds in step, the newest 3 days old", "feeds that are not", "(3 not ready)",
		}, []string{"<script"}},
		"of a cluster that others reach, too": {false, nil, []string{"BuildFailed", "1 from source", "400"}, []string{"web-b1", "shop/"}},
		"before there are figures":            {true, errors.New("the cache is being filled"), []string{"figures follow", "What runs here"}, []string{"<table>"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := links{Version: "plimsoll 1", Since: now, names: c.names, count: func(context.Context) (figures.Figures, error) { return f, c.err }}
			answer := httptest.NewRecorder()
			l.ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
			text := answer.Body.String()
			for _, want := range c.wants {
				if !strings.Contains(text, want) {
					t.Errorf("it lacks %s", want)
				}
			}
			for _, lack := range c.lacks {
				if strings.Contains(text, lack) {
					t.Errorf("it has %s", lack)
				}
			}
			if policy := answer.Header().Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(text, "http-equiv=\"Content") || strings.Contains(text, "src=") {
				t.Errorf("it may load from elsewhere: %s", policy)
			}
			if t.Failed() {
				t.Log(text)
			}
		})
	}
}
