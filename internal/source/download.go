package source

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
)

const silence = time.Minute // how long a server may send nothing

// readDownload fetches an archive and unpacks it once its checksum holds.
func (j *job) readDownload(ctx context.Context, s *artifact.Source) error {
	f, err := os.OpenFile(filepath.Join(j.staging, "archive"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	size, digest, err := j.download(ctx, f)
	if err != nil {
		return err
	}
	return j.readArchive(ctx, f, size, digest, s)
}

func (j *job) download(ctx context.Context, w io.Writer) (size int64, digest string, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(silence, func() { cancel(fmt.Errorf("the server sent nothing for %v", silence)) })
	defer watch.Stop()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, j.at, nil)
	if err != nil {
		return 0, "", j.usage("it is not a URL", "")
	}
	if j.login != nil {
		password, _ := j.login.Password()
		request.SetBasicAuth(j.login.Username(), password)
	}
	if j.Agent != "" {
		request.Header.Set("User-Agent", j.Agent)
	}
	if etag := j.known.Validator; strings.HasPrefix(etag, `"`) || strings.HasPrefix(etag, "W/") {
		request.Header.Set("If-None-Match", etag)
	} else if etag != "" {
		request.Header.Set("If-Modified-Since", etag)
	}
	answer, err := j.client().Do(request)
	if err != nil {
		return 0, "", j.unreachable(ctx, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusNotModified && j.known.Validator != "" {
		return 0, j.known.ID, nil
	}
	j.known.Validator = cmp.Or(answer.Header.Get("ETag"), answer.Header.Get("Last-Modified"))
	if answer.StatusCode != http.StatusOK {
		return 0, "", j.answered(answer.StatusCode)
	}
	if answer.ContentLength > j.tree.limits.Download {
		return 0, "", j.tree.allow(answer.ContentLength)
	}
	body := &watched{r: answer.Body, heard: func(n int) {
		watch.Reset(silence)
		j.stage("download KiB", n>>10, int(answer.ContentLength>>10))
	}}
	sum := sha256.New()
	size, err = io.Copy(io.MultiWriter(w, sum), io.LimitReader(body, j.tree.limits.Download+1))
	if _, ours := errors.AsType[*os.PathError](err); ours {
		return 0, "", err
	}
	if err != nil {
		return 0, "", j.unreachable(ctx, err)
	}
	return size, "sha256:" + hex.EncodeToString(sum.Sum(nil)), j.tree.allow(size)
}

// watched tells of each part that was read how many bytes there are so far.
type watched struct {
	r     io.Reader
	heard func(total int)
	total int
}

func (w *watched) Read(p []byte) (int, error) {
	if w.total == 0 {
		w.heard(0)
	}
	n, err := w.r.Read(p)
	w.total += n
	w.heard(w.total)
	return n, err
}

// client gives the job's client, which does not leave https on a redirect unless a checksum
// says what must come of it.
func (j *job) client() *http.Client {
	c := http.Client{}
	if j.Client != nil {
		c = *j.Client
	}
	c.CheckRedirect = func(request *http.Request, via []*http.Request) error {
		switch {
		case len(via) >= 10:
			return errors.New("it redirects more than 10 times")
		case request.URL.Scheme != "https" && via[0].URL.Scheme == "https" && j.options.Checksum == "":
			return errors.New("it redirects to plain http, and no checksum is named")
		}
		return nil
	}
	return &c
}

// unreachable says why nothing came. The URL in the client's own error could be a login.
func (j *job) unreachable(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return fault.New(fault.Unavailable, "download source", j.shown, err).
		WithHint("check that the server can be reached, and the proxy settings")
}

func (j *job) answered(status int) error {
	why := fmt.Sprintf("the server answered %d %s", status, http.StatusText(status))
	switch {
	case status == http.StatusNotFound || status == http.StatusGone:
		return fault.Newf(fault.NotFound, "download source", j.shown, why).WithHint("check the URL")
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return fault.Newf(fault.Denied, "download source", j.shown, why).WithHint("put a login into the URL, https://user:password@host/…; it is used and not kept")
	case status >= 500 || status == http.StatusTooManyRequests:
		return fault.Newf(fault.Unavailable, "download source", j.shown, why).WithHint("try again later")
	}
	return fault.Newf(fault.Failed, "download source", j.shown, why)
}
