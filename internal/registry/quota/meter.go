package quota

import (
	"errors"
	"io"
	"net/http"
)

// step is in what pieces a body of unknown length takes from its project's quota, in bytes.
const step = 1 << 20

var errOver = errors.New("the project's quota is used up")

// meter lets as much of a body pass as the project's quota has room for.
type meter struct {
	io.ReadCloser
	q       *Quotas
	project string
	exact   bool  // all of it was granted before
	free    int64 // of what is granted, that nothing is taken for: the project has the content
	granted int64
	read    int64
	over    bool
}

// Read implements io.Reader.
func (m *meter) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return m.ReadCloser.Read(p)
	}
	if m.read == m.granted && !m.exact {
		m.granted += m.q.take(m.project, step, 1)
	}
	if m.read == m.granted {
		// It may end right where the room does.
		n, err := m.ReadCloser.Read(make([]byte, 1))
		if n == 0 {
			return 0, err
		}
		m.over = true
		return 0, errOver
	}
	n, err := m.ReadCloser.Read(p[:min(int64(len(p)), m.granted-m.read)])
	m.read += int64(n)
	return n, err
}

// take reserves up to so many bytes, and nothing when there is no room for at least so many.
// It gives how many.
func (q *Quotas) take(name string, most, least int64) int64 {
	limit := limitsOf(q.now(), name).bytes
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.of(name)
	if limit > 0 {
		most = min(most, limit-p.bytes-p.reserved)
	}
	if most < least {
		return 0
	}
	p.reserved += most
	return most
}

// overruled answers with a refusal in place of what the store makes of a body that was cut
// short by its meter.
type overruled struct {
	http.ResponseWriter
	meter   *meter
	refuse  func()
	status  int
	refused bool
}

// WriteHeader implements http.ResponseWriter.
func (w *overruled) WriteHeader(status int) {
	switch {
	case w.status != 0:
	case w.meter.over && status >= 300:
		w.refuseNow()
	default:
		w.status = status
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *overruled) refuseNow() {
	w.status, w.refused = http.StatusForbidden, true
	clear(w.Header())
	w.refuse()
}

// Write implements io.Writer.
func (w *overruled) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.refused {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// end answers where the store did not.
func (w *overruled) end() {
	if w.status == 0 && w.meter.over {
		w.refuseNow()
	}
}

// Unwrap is for http.ResponseController.
func (w *overruled) Unwrap() http.ResponseWriter { return w.ResponseWriter }
