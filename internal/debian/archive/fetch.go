package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"plimsoll.dev/plimsoll/internal/fault"
)

// errAbsent says that a server answered, and has no such file.
var errAbsent = errors.New("the archive has no such file")

// fetcher reads files below mirrors: http, https, file and plain paths.
type fetcher struct {
	client *http.Client
	agent  string
}

// tries bounds attempts at a file when the network, not the archive, fails.
const tries = 3

// open gives the stream at base/path. The caller closes it.
func (f *fetcher) open(ctx context.Context, base, path string) (io.ReadCloser, error) {
	if dir, ok := localFolder(base); ok {
		file, err := os.Open(filepath.Join(dir, filepath.FromSlash(path)))
		if errors.Is(err, os.ErrNotExist) {
			return nil, errAbsent
		}
		return file, err
	}
	address := strings.TrimSuffix(base, "/") + "/" + (&url.URL{Path: path}).EscapedPath()
	var last error
	for try := range tries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(time.Duration(try) * 500 * time.Millisecond):
			}
		}
		body, err := f.get(ctx, address)
		if err == nil || errors.Is(err, errAbsent) || ctx.Err() != nil {
			return body, err
		}
		last = err
	}
	return nil, last
}

func (f *fetcher) get(ctx context.Context, address string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", f.agent)
	response, err := f.client.Do(request)
	if err != nil {
		var wrapped *url.Error // its text repeats the address, which may hold credentials
		if errors.As(err, &wrapped) {
			return nil, wrapped.Err
		}
		return nil, err
	}
	switch response.StatusCode {
	case http.StatusOK:
		return response.Body, nil
	case http.StatusNotFound, http.StatusGone, http.StatusForbidden:
		response.Body.Close()
		return nil, fmt.Errorf("%w (%s)", errAbsent, response.Status)
	}
	response.Body.Close()
	return nil, fmt.Errorf("the server answered %s", response.Status)
}

// small reads a file of at most limit bytes whole.
func (f *fetcher) small(ctx context.Context, base, path string, limit int64) ([]byte, error) {
	body, err := f.open(ctx, base, path)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("it is larger than %d bytes", limit)
	}
	return text, err
}

// store copies a stream that must have the size and hash into target: written aside, then
// renamed, so that target is whole or absent.
func store(r io.Reader, want File, target string) error {
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	aside, err := os.CreateTemp(filepath.Dir(target), ".aside-*")
	if err != nil {
		return err
	}
	defer os.Remove(aside.Name())
	defer aside.Close()
	checked := newCheck(r, want)
	if _, err := io.Copy(aside, checked); err != nil {
		return err
	}
	if err := checked.end(); err != nil {
		return err
	}
	if err := aside.Chmod(0o644); err != nil {
		return err
	}
	if err := aside.Close(); err != nil {
		return err
	}
	return os.Rename(aside.Name(), target)
}

func localFolder(base string) (string, bool) {
	if filepath.IsAbs(base) {
		return base, true
	}
	if u, err := url.Parse(base); err == nil && u.Scheme == "file" {
		return u.Path, true
	}
	return "", false
}

// Redact gives a mirror's address without credentials, fit for messages and records.
func Redact(base string) string {
	u, err := url.Parse(base)
	if err != nil || u.User == nil {
		return base
	}
	u.User = nil
	return u.String()
}

// checkMirror refuses addresses that cannot be read.
func checkMirror(base string) error {
	if _, ok := localFolder(base); ok {
		return nil
	}
	if u, err := url.Parse(base); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fault.Newf(fault.Usage, "read mirror", Redact(base), "want an http, https or file address, or an absolute folder")
	}
	return nil
}
