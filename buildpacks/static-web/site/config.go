package site

import (
	"cmp"
	"fmt"
	"strings"
)

// Config gives lighttpd's configuration for the settings. Three things are chosen when the
// server starts, by its environment: PORT, WEB_BIND and WEB_ACCESS_LOG.
//
// All files of an image have the same date, so lighttpd's own validators, made of date and
// size, would call a changed file unchanged. They are switched off, and the whole folder has
// one entity tag, made of its content. mod_deflate appends "-gzip" or "-br" to it.
func (s Settings) Config() string {
	var c config
	c.set("server.document-root", s.Root)
	c.line(`server.port = env.PORT`)
	c.line(`server.bind = env.WEB_BIND`)
	c.line(`server.v4mapped = "enable"`)
	c.set("server.tag", "")
	c.list("server.modules", "mod_expire", "mod_setenv", "mod_access", "mod_redirect", "mod_rewrite", "mod_deflate", "mod_accesslog")
	c.line(`accesslog.filename = env.WEB_ACCESS_LOG`)
	c.list("server.upload-dirs", "/tmp")
	c.line(`server.max-request-size = 64`)
	c.list("index-file.names", "index.html")
	if s.NotFound {
		c.set("server.errorfile-prefix", s.Root+"/")
	}
	c.mimetypes()
	c.list("deflate.mimetypes", "text/", "application/javascript", "application/json", "application/ld+json",
		"application/manifest+json", "application/wasm", "application/xml", "image/svg+xml")
	c.list("deflate.allowed-encodings", "br", "gzip")

	c.set("static-file.etags", "disable")
	c.table("setenv.set-request-header", "If-Modified-Since", "")
	headers := []string{
		"ETag", `\"` + s.Tag + `\"`,
		"Last-Modified", "",
		"Referrer-Policy", "strict-origin-when-cross-origin",
		"X-Content-Type-Options", "nosniff",
		"X-Frame-Options", "SAMEORIGIN",
	}
	if s.CSP != "" {
		headers = append(headers, "Content-Security-Policy", s.CSP)
	}
	c.table("setenv.set-response-header", headers...)
	c.line(`$HTTP["url"] !~ "` + cmp.Or(s.Immutable, "^$") + `" {`)
	c.line(`setenv.set-response-header += ("Cache-Control" => "no-cache")`) // kept, but asked for again each time
	c.line(`}`)
	if s.Immutable != "" {
		// mod_expire leaves errors alone: a file that is missing today may be there tomorrow.
		c.line(`$HTTP["url"] =~ "` + s.Immutable + `" {`)
		c.table("expire.url", "", "access plus 1 years")
		c.line(`}`)
	}
	c.line(`$REQUEST_HEADER["If-None-Match"] =~ "` + s.Tag + `" {`)
	c.line(`url.redirect = ("^" => "/")`)
	c.line(`url.redirect-code = 304`)
	c.line(`setenv.set-response-header += ("Location" => "")`)
	c.line(`}`)

	if s.SPA {
		// A name with a dot is a file's: when it is missing, a page is no answer.
		c.table("url.rewrite-if-not-file", `^[^?]*/[^/.?]*(?:\?.*)?$`, "/index.html")
	}
	c.line(`$HTTP["url"] =~ "/\.(?!well-known/)|^/(?:Procfile|project\.toml)$" {`)
	c.list("url.access-deny", "")
	c.line(`}`)
	return c.String()
}

// config is lighttpd's configuration as it is written.
type config struct{ strings.Builder }

func (c *config) line(text string) { c.WriteString(text + "\n") }

func (c *config) set(name, value string) { c.line(name + ` = "` + value + `"`) }

func (c *config) list(name string, values ...string) {
	c.line(name + ` = ("` + strings.Join(values, `", "`) + `")`)
}

func (c *config) table(name string, pairs ...string) {
	c.line(name + " = (")
	for i := 0; i+1 < len(pairs); i += 2 {
		c.line(fmt.Sprintf("\t\"%s\" => \"%s\",", pairs[i], pairs[i+1]))
	}
	c.line(")")
}

// mimetypes gives the types of the files that sites are made of
// (https://www.iana.org/assignments/media-types). The empty suffix comes last: it matches
// whatever is left.
func (c *config) mimetypes() {
	c.table("mimetype.assign",
		".html", "text/html; charset=utf-8",
		".htm", "text/html; charset=utf-8",
		".css", "text/css; charset=utf-8",
		".js", "text/javascript; charset=utf-8",
		".mjs", "text/javascript; charset=utf-8",
		".json", "application/json",
		".map", "application/json",
		".jsonld", "application/ld+json",
		".webmanifest", "application/manifest+json",
		".xml", "application/xml",
		".atom", "application/atom+xml",
		".rss", "application/rss+xml",
		".txt", "text/plain; charset=utf-8",
		".md", "text/markdown; charset=utf-8",
		".csv", "text/csv; charset=utf-8",
		".ics", "text/calendar; charset=utf-8",
		".vtt", "text/vtt; charset=utf-8",
		".svg", "image/svg+xml",
		".png", "image/png",
		".jpg", "image/jpeg",
		".jpeg", "image/jpeg",
		".gif", "image/gif",
		".webp", "image/webp",
		".avif", "image/avif",
		".ico", "image/x-icon",
		".woff", "font/woff",
		".woff2", "font/woff2",
		".ttf", "font/ttf",
		".otf", "font/otf",
		".mp3", "audio/mpeg",
		".ogg", "audio/ogg",
		".wav", "audio/wav",
		".mp4", "video/mp4",
		".webm", "video/webm",
		".pdf", "application/pdf",
		".wasm", "application/wasm",
		".zip", "application/zip",
		".gz", "application/gzip",
		"", "application/octet-stream",
	)
}
