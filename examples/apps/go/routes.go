package main

import (
	"crypto/fips140"
	"crypto/tls"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/google/uuid"
	qrcode "github.com/skip2/go-qrcode"
)

func routes() http.Handler {
	r := chi.NewRouter()
	r.Use(middleware.Recoverer, middleware.Compress(5))
	r.Get("/", about)
	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	r.Get("/id", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, uuid.New()) })
	r.Get("/qr", qr)
	return r
}

// about says what the program is made of.
func about(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintf(w, "harbour, compiled by %s for %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	fmt.Fprintf(w, "crypto: Go's own, up to %s, FIPS 140 mode %t\n", tls.VersionName(tls.VersionTLS13), fips140.Enabled())
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			fmt.Fprintf(w, "module: %s %s\n", dep.Path, dep.Version)
		}
	}
}

// qr draws the text in the query as a PNG.
func qr(w http.ResponseWriter, r *http.Request) {
	png, err := qrcode.Encode(r.URL.Query().Get("text"), qrcode.Medium, 256)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "image/png")
	_, _ = w.Write(png)
}
