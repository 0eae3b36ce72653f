package registry

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/internal/registry/call"
)

// serveFile answers GET and HEAD of a blob in a local store from its file, which the
// kernel can send by itself; the next handler would copy it through a buffer of 4 MiB a
// request. It answers as that does.
func (f *front) serveFile(w http.ResponseWriter, r *http.Request, to call.Endpoint, canonical digest.Digest) {
	d := digest.Digest(to.Reference)
	file, err := os.Open(filepath.Join(f.store.root, filepath.FromSlash(path.Join(blobDir(canonical), "data"))))
	if errors.Is(err, os.ErrNotExist) {
		unknown(w, to.Kind)
		return
	}
	if err != nil {
		broken(w, f.log, err)
		return
	}
	defer file.Close()
	h := w.Header()
	h.Set("Docker-Content-Digest", d.String())
	h.Set("Etag", strconv.Quote(d.String()))
	h.Set("Cache-Control", "max-age=31536000")
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Docker-Distribution-Api-Version", "registry/2.0")
	http.ServeContent(w, r, "", time.Time{}, file)
}

// ReadFrom implements io.ReaderFrom, so that a file reaches the connection unseen.
func (t *tracker) ReadFrom(r io.Reader) (int64, error) {
	if t.status == 0 {
		t.status = http.StatusOK
	}
	n, err := io.Copy(t.ResponseWriter, r)
	t.bytes += n
	return n, err
}

// sendPart is how much of a file is sent before the stall clock is looked at.
const sendPart = 1 << 20

// ReadFrom implements io.ReaderFrom in parts, each of which may take as long as a stall
// may.
func (w *stallWriter) ReadFrom(r io.Reader) (int64, error) {
	limited, ok := r.(*io.LimitedReader)
	if !ok {
		return io.Copy(struct{ io.Writer }{w}, r)
	}
	var sent int64
	for limited.N > 0 {
		w.clock.writing()
		part := &io.LimitedReader{R: limited.R, N: min(limited.N, sendPart)}
		n, err := io.Copy(w.ResponseWriter, part)
		sent += n
		limited.N -= n
		if err != nil || n == 0 {
			return sent, err
		}
	}
	return sent, nil
}
