package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/fault"
)

// State is what is known of an import from its runs.
type State struct {
	Name        string    `json:"name"`
	Source      string    `json:"source"`
	Destination string    `json:"destination"`
	Started     time.Time `json:"started,omitzero"`
	Finished    time.Time `json:"finished,omitzero"`
	Succeeded   time.Time `json:"succeeded,omitzero"` // when it last ended without any failure
	Failures    int       `json:"failures,omitempty"` // runs in a row that failed
	Next        time.Time `json:"next,omitzero"`      // zero: on demand only
	Error       string    `json:"error,omitempty"`    // of the last run

	Tags map[string]TagState `json:"tags,omitempty"` // by their tag

	Fingerprint string `json:"fingerprint,omitempty"` // of the spec that the last run went by
}

// TagState is what became of one tag of the source when it was last looked at.
type TagState struct {
	Outcome
	At time.Time `json:"at"`

	// Names says that To names Digest here because of this import.
	Names bool `json:"names,omitempty"`

	// Brought is when the image and what is attached to it were last fetched. Others go on to sign
	// an image, and to say new things of it, after it was published.
	Brought time.Time `json:"brought,omitzero"`
}

const maxState = 16 << 20 // bytes

func (m *Mirror) statePath(name string) string { return filepath.Join(m.o.Dir, "state", name+".json") }

// State gives what is known of an import; that it never ran is no error.
func (m *Mirror) State(i *Import) (*State, error) {
	s := &State{Name: i.Name}
	path := m.statePath(i.Name)
	text, err := os.ReadFile(path)
	if err == nil && len(text) <= maxState {
		err = json.Unmarshal(text, s)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.Failed, "read the state of an import", path, err).
			WithHint("remove the file: everything is looked at again then")
	}
	s.Source, s.Destination = i.Source, i.Destination
	if s.Tags == nil {
		s.Tags = map[string]TagState{}
	}
	return s, nil
}

func (m *Mirror) save(s *State) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = aside.WriteDurable(m.statePath(s.Name), append(text, '\n'))
	}
	if err != nil {
		return fault.New(fault.Failed, "write the state of an import", m.statePath(s.Name), err)
	}
	return nil
}

// claim makes this the only run of an import, of all processes with this home. It waits for
// another that is under way; one that was killed left nothing to mend.
func (m *Mirror) claim(ctx context.Context, name string) (release func(), err error) {
	path := filepath.Join(m.o.Dir, "state", name+".lock")
	failed := func(err error) error { return fault.New(fault.Failed, "lock import", path, err) }
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, failed(err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, failed(err)
	}
	for wait := time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { file.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			file.Close()
			return nil, failed(err)
		}
		clock := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			clock.Stop()
			file.Close()
			return nil, ctx.Err()
		case <-clock.C:
		}
	}
}
