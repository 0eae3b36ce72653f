package plane

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plimsoll.dev/plimsoll/internal/controller/figures"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// links is what the page of links shows: what runs, where, how to speak to it, and how things stand.
type links struct {
	Version  string
	Since    time.Time
	Parts    []part
	Commands []string

	Figures *shown // nil until there are some

	count func(context.Context) (figures.Figures, error)
	names bool // of Builds are shown to whoever reaches the page
}

// part is one thing that runs.
type part struct{ Name, Text, URL string }

// ServeHTTP writes the page with the figures of now.
func (l links) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, done := context.WithTimeout(r.Context(), time.Second)
	defer done()
	if f, err := l.count(ctx); err == nil {
		l.Figures = show(f, l.names)
	}
	var text bytes.Buffer
	if err := page.Execute(&text, l); err != nil {
		http.Error(w, "the page cannot be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(text.Bytes()) // whoever asked has gone
}

// shown are figures as people read them.
type shown struct {
	Problems, Builds int
	Groups           []group
	Running          []building
	Waiting          []waiting
}

// group is a list of counts.
type group struct {
	Title string
	Rows  []row
}

type row struct {
	Count       int
	Text, Class string
}

type building struct{ Namespace, Image, Build, Reason, Since string }

type waiting struct {
	Builds    int
	What, For string
}

// show gives the figures as the page has them. Without names it tells nothing that is somebody's.
func show(f figures.Figures, names bool) *shown {
	s := &shown{Problems: f.Problems, Builds: f.Builds, Groups: []group{
		states("Images", f.Images), decided("Verdicts", f.Verdicts), states("Bases", f.Bases), states("Builders", f.Builders), advisories(f),
	}}
	if names {
		for _, r := range f.Running {
			s.Running = append(s.Running, building{r.Namespace, r.Image, r.Build, r.Reason, ago(f.At, r.Since)})
		}
	}
	for line, w := range f.Waiting {
		s.Waiting = append(s.Waiting, waiting{w.Builds, strings.ToLower(fmt.Sprintf("%s, %s", line.Method, line.Priority)), ago(f.At, w.Oldest)})
	}
	slices.SortFunc(s.Waiting, func(a, b waiting) int { return cmp.Compare(a.What, b.What) })
	return s
}

// states gives counts by state, what is wrong first.
func states(title string, of map[figures.State]int) group {
	g := group{Title: title}
	for state, n := range of {
		class := map[metav1.ConditionStatus]string{metav1.ConditionFalse: "bad", metav1.ConditionUnknown: "wait"}[state.Ready]
		g.Rows = append(g.Rows, row{n, state.Reason, class})
	}
	return g.sorted()
}

func decided(title string, of map[string]int) group {
	g := group{Title: title}
	for action, n := range of {
		class := map[string]string{"deny": "bad", "warn": "wait"}[action]
		g.Rows = append(g.Rows, row{n, cmp.Or(action, "not decided"), class})
	}
	return g.sorted()
}

func advisories(f figures.Figures) group {
	g := group{Title: "Advisories"}
	ready, newest := 0, time.Time{}
	for _, feed := range f.Feeds {
		if feed.Ready {
			ready++
		}
		if feed.Synced.After(newest) {
			newest = feed.Synced
		}
	}
	if ready > 0 {
		text := "feeds in step"
		if !newest.IsZero() {
			text += ", the newest " + ago(f.At, newest) + " old"
		}
		g.Rows = append(g.Rows, row{ready, text, ""})
	}
	if bad := len(f.Feeds) - ready; bad > 0 {
		g.Rows = append(g.Rows, row{bad, "feeds that are not", "bad"})
	}
	return g.sorted()
}

// sorted puts what is wrong first, then what waits, each the most first.
func (g group) sorted() group {
	gravity := []string{"bad", "wait", ""}
	slices.SortFunc(g.Rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(slices.Index(gravity, a.Class), slices.Index(gravity, b.Class)), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Text, b.Text))
	})
	return g
}

// ago gives a time as people say it: "3m20s", "5h10m".
func ago(now, since time.Time) string {
	d := max(0, now.Sub(since))
	switch {
	case d < time.Hour:
		return d.Round(time.Second).String()
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
