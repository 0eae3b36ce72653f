package feed

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"time"

	"plimsoll.dev/plimsoll/internal/aside"
)

// tries bounds attempts at a file when the network fails.
const tries = 4

// download is a file that came whole.
type download struct {
	path   string
	size   int64
	sha256 string
	validators
}

// fetch makes the file at dest the one at path below the base, or gives nil when that is
// still the version seen. What a sync before had of it already is not fetched again. limit
// bounds it in bytes.
func (o *origin) fetch(ctx context.Context, path, dest string, seen validators, limit int64) (*download, error) {
	var err error
	for try := range tries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(time.Duration(try) * 300 * time.Millisecond):
			}
		}
		var d *download
		if d, err = o.try(ctx, path, dest, seen, limit); err == nil || !errors.Is(err, errBroken) || ctx.Err() != nil {
			return d, err
		}
	}
	return nil, err
}

// try goes on where dest ends, if the server still has that version.
func (o *origin) try(ctx context.Context, path, dest string, seen validators, limit int64) (*download, error) {
	have, resume := begun(dest)
	a, err := o.open(ctx, path, seen, have, resume)
	if errors.Is(err, refusal(http.StatusRequestedRangeNotSatisfiable)) {
		return nil, errors.Join(errBroken, forget(dest)) // it was whole, or is another's
	}
	if err != nil || a == nil {
		return nil, err
	}
	defer a.body.Close()
	if a.size > limit {
		return nil, fmt.Errorf("%w: %d bytes, not %d", errLarge, a.size, limit)
	}
	if a.from == 0 {
		// The note that tells the version comes first: bytes without it are nobody's.
		if err := errors.Join(forget(dest), note(dest, a.validators)); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(dest, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	n, err := io.Copy(f, io.LimitReader(a.body, limit+1-a.from))
	n += a.from
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	switch {
	case n > limit:
		return nil, fmt.Errorf("%w: more than %d bytes", errLarge, limit)
	case a.size >= 0 && n != a.size:
		return nil, errors.Join(fmt.Errorf("%w: it has %d bytes, not the %d that were promised", errBroken, n, a.size), forget(dest))
	}
	sum, err := sumOf(dest)
	return &download{path: dest, size: n, sha256: sum, validators: a.validators}, err
}

// begun gives the version of what is at dest already, and how many bytes.
func begun(dest string) (have validators, size int64) {
	info, err := os.Stat(dest)
	if err != nil {
		return have, 0
	}
	text, err := os.ReadFile(dest + ".note")
	if err != nil || json.Unmarshal(text, &have) != nil || have.strong() == "" {
		return validators{}, 0
	}
	return have, info.Size()
}

func note(dest string, v validators) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return aside.WriteBytes(dest+".note", text)
}

// forget removes a download, whole or begun.
func forget(dest string) error {
	for _, path := range []string{dest + ".note", dest} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// small gives the whole of a file of at most limit bytes, or nil when it is still the
// version seen.
func (o *origin) small(ctx context.Context, path string, seen validators, limit int64) ([]byte, validators, error) {
	var text []byte
	var err error
	for range tries {
		var a *answer
		if a, err = o.open(ctx, path, seen, validators{}, 0); err == nil {
			if a == nil {
				return nil, seen, nil
			}
			text, err = io.ReadAll(io.LimitReader(a.body, limit+1))
			a.body.Close()
			if err == nil && int64(len(text)) > limit {
				err = fmt.Errorf("%w: more than %d bytes", errLarge, limit)
			}
			if err == nil {
				return text, a.validators, nil
			}
		}
		if !errors.Is(err, errBroken) || ctx.Err() != nil {
			break
		}
	}
	return nil, validators{}, err
}
