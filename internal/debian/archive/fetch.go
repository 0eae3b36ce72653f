package archive

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
	"strings"
	"time"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/fault"
)

// errBroken says that the network failed, not the archive.
var errBroken = errors.New("the mirror cannot be read")

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
		if status, ok := errors.AsType[answer](err); ok && status.isFinal() {
			break
		}
	}
	return nil, fmt.Errorf("%w: %w", errBroken, last)
}

// judge tells a mirror that lies from one that is away, one that lacks the file, and a
// disk that fails; absent is the hint for a file that is not there.
func judge(ctx context.Context, what, which string, err error, absent string) error {
	switch {
	case ctx.Err() != nil:
		return fault.New(fault.Canceled, what, which, ctx.Err())
	case errors.Is(err, errAbsent):
		return fault.New(fault.NotFound, what, which, err).WithHint(absent)
	case errors.Is(err, errBroken):
		return fault.New(fault.Unavailable, what, which, err).WithHint("check the network and the mirror, then run the command again")
	case errors.Is(err, errUnsigned):
		return fault.New(fault.Denied, what, which, err).WithHint("the mirror was tampered with, or is in the middle of an update: try again, or another mirror")
	case isDisk(err):
		return fault.New(fault.Failed, what, which, err).WithHint("check the disk below the home folder: is it full, or read-only?")
	}
	return fault.New(fault.Denied, what, which, err).WithHint("it is signed, but malformed: tell the archive's keeper, or use another archive")
}

// isDisk tells errors of files and folders.
func isDisk(err error) bool {
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return true
	}
	_, ok := errors.AsType[*os.LinkError](err)
	return ok
}

// answer is a status other than 200 that says nothing about the file.
type answer int

func (a answer) Error() string {
	return fmt.Sprintf("the server answered %d %s", int(a), http.StatusText(int(a)))
}

// isFinal tells a refusal, which asking again does not change.
func (a answer) isFinal() bool {
	return a < 500 && a != http.StatusRequestTimeout && a != http.StatusTooManyRequests
}

// stall bounds the wait for the next bytes of an answer.
const stall = time.Minute

// body is an answer's bytes; that they break off is told from what they hold.
type body struct {
	io.ReadCloser
	watch *time.Timer // ends the request when nothing comes
}

func (b body) Read(p []byte) (int, error) {
	b.watch.Reset(stall)
	n, err := b.ReadCloser.Read(p)
	b.watch.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", errBroken, err)
	}
	return n, err
}

// Close ends the request.
func (b body) Close() error {
	b.watch.Reset(0)
	return b.ReadCloser.Close()
}

func (f *fetcher) get(ctx context.Context, address string) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		cancel()
		return nil, withoutAddress(err)
	}
	request.Header.Set("User-Agent", f.agent)
	response, err := f.client.Do(request)
	if err != nil {
		cancel()
		return nil, withoutAddress(err)
	}
	if response.StatusCode == http.StatusOK {
		return body{response.Body, time.AfterFunc(stall, cancel)}, nil
	}
	response.Body.Close()
	cancel()
	switch response.StatusCode {
	case http.StatusNotFound, http.StatusGone, http.StatusForbidden:
		return nil, fmt.Errorf("%w (%s)", errAbsent, response.Status)
	}
	return nil, answer(response.StatusCode)
}

// withoutAddress drops the address, which may hold credentials, from a client's error.
func withoutAddress(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
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
		err = fmt.Errorf("%w: it is larger than %d bytes", errUnsigned, limit)
	}
	return text, err
}

// store copies a stream that must have the size and hash into target, and gives that open.
func store(r io.Reader, want File, target string) (*os.File, error) {
	return aside.WriteOpen(target, func(f *os.File) error {
		checked := newCheck(r, want)
		if _, err := io.Copy(f, checked); err != nil {
			return err
		}
		return checked.end()
	})
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
	switch {
	case err != nil: // no address at all: what stands before the last "@" may be credentials
		return base[strings.LastIndexByte(base, '@')+1:]
	case u.User == nil:
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
