package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"plimsoll.dev/plimsoll/internal/fault"
)

var (
	errBroken = errors.New("the feed cannot be read")   // the network failed, or the server for now
	errAbsent = errors.New("the feed has no such file") // the server answered so
	errLarge  = errors.New("it is larger than a feed may be")
)

// origin reads files below a feed's URL.
type origin struct {
	base   string
	client *http.Client
	agent  string
}

// validators are what a server, or a disk, tells one version of a file from the next by
// (RFC 9110, section 8.8).
type validators struct {
	ETag     string `json:"etag,omitempty"`
	Modified string `json:"modified,omitempty"` // Last-Modified
}

// strong gives the validator that bytes of one version may be told by (RFC 9110, section
// 13.1.5), or "".
func (v validators) strong() string {
	if v.ETag != "" && !strings.HasPrefix(v.ETag, "W/") {
		return v.ETag
	}
	if v.ETag == "" {
		return v.Modified
	}
	return ""
}

// answer is a file, from the offset from on.
type answer struct {
	body io.ReadCloser
	from int64
	size int64 // of the whole file in bytes; -1 when the server does not say
	validators
}

// newClient gives the client of all feeds: it never decompresses, for sizes and ranges are
// of what is sent, and never follows from https to http.
func newClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true
	transport.MaxConnsPerHost = connections
	transport.MaxIdleConnsPerHost = connections
	transport.ResponseHeaderTimeout = time.Minute
	return &http.Client{Transport: transport, CheckRedirect: func(request *http.Request, via []*http.Request) error {
		if len(via) == 10 || via[0].URL.Scheme == "https" && request.URL.Scheme != "https" {
			return errors.New("the server redirects too often, or away from https")
		}
		return nil
	}}
}

// connections bounds those to one server.
const connections = 4

// open gives the file at path below the base, "" being the base itself; nil, when it is
// still the version that seen tells. resume asks for what comes after the first bytes of
// that version, which have.strong() tells.
func (o *origin) open(ctx context.Context, path string, seen, have validators, resume int64) (*answer, error) {
	if dir, ok := localPath(o.base); ok {
		return openLocal(filepath.Join(dir, filepath.FromSlash(path)), seen, have, resume)
	}
	address := o.base
	if path != "" {
		address = strings.TrimSuffix(o.base, "/") + "/" + (&url.URL{Path: path}).EscapedPath()
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	a, err := o.get(ctx, address, seen, have, resume)
	if err != nil || a == nil {
		cancel()
		return nil, err
	}
	a.body = &body{a.body, time.AfterFunc(stall, cancel)}
	return a, nil
}

func (o *origin) get(ctx context.Context, address string, seen, have validators, resume int64) (*answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, withoutAddress(err)
	}
	request.Header.Set("User-Agent", o.agent)
	setIf := func(name, value string) {
		if value != "" {
			request.Header.Set(name, value)
		}
	}
	setIf("If-None-Match", seen.ETag)
	setIf("If-Modified-Since", seen.Modified)
	if resume > 0 {
		setIf("Range", fmt.Sprintf("bytes=%d-", resume))
		setIf("If-Range", have.strong())
	}
	response, err := o.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBroken, withoutAddress(err))
	}
	a := &answer{body: response.Body, size: response.ContentLength, validators: validators{response.Header.Get("ETag"), response.Header.Get("Last-Modified")}}
	switch status := response.StatusCode; {
	case status == http.StatusOK:
		return a, nil
	case status == http.StatusPartialContent && resume > 0:
		a.from = resume
		if a.size, err = rangeSize(response.Header.Get("Content-Range"), resume); err == nil {
			return a, nil
		}
	case status == http.StatusNotModified:
	case status == http.StatusNotFound || status == http.StatusGone:
		err = fmt.Errorf("%w (%s)", errAbsent, response.Status)
	default:
		err = refusal(status)
	}
	response.Body.Close()
	return nil, err
}

// rangeSize gives the size of the whole from "bytes 5-9/10", which must begin where asked.
func rangeSize(text string, from int64) (int64, error) {
	span, total, _ := strings.Cut(strings.TrimPrefix(text, "bytes "), "/")
	size, err := strconv.ParseInt(total, 10, 64)
	if err != nil || !strings.HasPrefix(span, strconv.FormatInt(from, 10)+"-") {
		return 0, fmt.Errorf("%w: the server sends the part %.60q, not the one from byte %d", errBroken, text, from)
	}
	return size, nil
}

// refusal is a status that says nothing about the file.
type refusal int

func (r refusal) Error() string {
	return fmt.Sprintf("the server answered %d %s", int(r), http.StatusText(int(r)))
}

// Is makes those broken that may pass.
func (r refusal) Is(target error) bool {
	return target == errBroken && (r >= 500 || r == http.StatusRequestTimeout || r == http.StatusTooManyRequests)
}

// stall bounds the wait for the next bytes of an answer, longest that for all of them: a
// server that drips is left, and resumed with.
const (
	stall   = time.Minute
	longest = time.Hour
)

// body is an answer's bytes; that they break off is told from what they hold.
type body struct {
	io.ReadCloser
	watch *time.Timer // ends the request when nothing comes
}

func (b *body) Read(p []byte) (int, error) {
	b.watch.Reset(stall)
	n, err := b.ReadCloser.Read(p)
	b.watch.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", errBroken, err)
	}
	return n, err
}

// Close ends the request.
func (b *body) Close() error {
	b.watch.Reset(0)
	return b.ReadCloser.Close()
}

func openLocal(path string, seen, have validators, resume int64) (*answer, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errAbsent
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular(): // a pipe would not even open
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	a := &answer{size: info.Size(), validators: validators{ETag: fmt.Sprintf(`"%x-%x"`, info.Size(), info.ModTime().UnixNano())}}
	if a.validators == seen {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	a.body = f
	if a.validators == have && resume > 0 {
		a.from, err = f.Seek(resume, io.SeekStart)
	}
	return a, err
}

// localPath gives the path that the address is, if it is one.
func localPath(address string) (string, bool) {
	if path, ok := strings.CutPrefix(address, "file://"); ok {
		return path, true
	}
	return address, filepath.IsAbs(address)
}

// withoutAddress drops the address, which may hold credentials, from a client's error.
func withoutAddress(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

// redact gives the address without credentials: those of its user and of its query.
func redact(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address[strings.LastIndexByte(address, '@')+1:]
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// judge tells a feed that is away from one that lacks the file, one that lies, and a disk
// that fails.
func judge(ctx context.Context, what, which string, err error) error {
	var known *fault.Error
	var disk *fs.PathError
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case ctx.Err() != nil:
		return fault.New(fault.Canceled, what, which, ctx.Err())
	case errors.Is(err, errAbsent):
		return fault.New(fault.NotFound, what, which, err).WithHint("check the feed's url and ecosystems")
	case errors.Is(err, errBroken):
		return fault.New(fault.Unavailable, what, which, err).WithHint("check the network and the feed's url, then sync again: what is here stays as it is")
	case errors.Is(err, errShrunk), errors.Is(err, errOlder), errors.Is(err, errEmpty):
		return fault.New(fault.Denied, what, which, err).WithHint("what is here stays as it is; if the loss is meant, sync once with --force")
	case errors.As(err, &disk):
		return fault.New(fault.Failed, what, which, err).WithHint("check the disk: is it full, read-only, or the path wrong?")
	}
	return fault.New(fault.Denied, what, which, err).WithHint("what is here stays as it is; tell the feed's keeper, or use another copy of it")
}
