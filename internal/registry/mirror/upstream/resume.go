package upstream

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxBreaks is how often a body may break without a byte in between.
const maxBreaks = 4

// resuming is a body that goes on where it broke (RFC 9110, 14: Range Requests). What comes is not
// to be believed before its digest is verified: the other end may be another by then.
type resuming struct {
	transport *Transport
	request   *http.Request
	body      io.ReadCloser
	etag      string
	read      int64
	breaks    int
}

func (b *resuming) Read(p []byte) (int, error) {
	for {
		n, err := b.body.Read(p)
		if b.read += int64(n); n > 0 {
			b.breaks = 0
			if err != nil && err != io.EOF {
				err = nil // it comes again with the next read
			}
			return n, err
		}
		if err == nil || err == io.EOF {
			return 0, err
		}
		if ctx := b.request.Context(); ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if b.breaks++; b.breaks > maxBreaks || !isPassing(err) {
			return 0, unanswered(b.request.URL.Host, fmt.Errorf("what it sent broke off after %d bytes: %w", b.read, err))
		}
		if err := b.resume(); err != nil {
			return 0, err
		}
	}
}

func (b *resuming) Close() error { return b.body.Close() }

// resume asks for the rest; a host that sends all again is heard up to there.
func (b *resuming) resume() error {
	b.body.Close()
	b.body = http.NoBody
	r := b.request.Clone(b.request.Context())
	if b.read > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", b.read))
		if strings.HasPrefix(b.etag, `"`) { // a weak one does not tell bytes
			r.Header.Set("If-Range", b.etag)
		}
	}
	resp, err := b.transport.ask(r)
	if err != nil {
		return err
	}
	skip := int64(0)
	switch {
	case resp.StatusCode == http.StatusPartialContent && beginsAt(resp.Header.Get("Content-Range"), b.read):
	case resp.StatusCode == http.StatusOK:
		skip = b.read
	default:
		resp.Body.Close()
		return unavailable(r.URL.Host, fmt.Errorf("what it sent broke off after %d bytes, and it does not go on: it answered %d", b.read, resp.StatusCode))
	}
	b.body = resp.Body
	if _, err := io.CopyN(io.Discard, resp.Body, skip); err != nil {
		resp.Body.Close()
		b.body = broken{errors.Join(io.ErrUnexpectedEOF, err)} // counts as another break
	}
	return nil
}

func beginsAt(contentRange string, offset int64) bool {
	return strings.HasPrefix(contentRange, fmt.Sprintf("bytes %d-", offset))
}

// broken is a body that cannot be read.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }
func (b broken) Close() error             { return nil }
