package plane

import (
	_ "embed"
	"html/template"
	"net/http"
	"time"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// links is what the page of links shows: what runs, where, and how to speak to it.
type links struct {
	Version  string
	Since    time.Time
	Parts    []part
	Commands []string
}

// part is one thing that runs.
type part struct{ Name, Text, URL string }

func (l links) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_ = page.Execute(w, l) // whoever asked has gone
}
