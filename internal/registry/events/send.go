package events

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

// reply is what a receiver made of an event.
type reply struct {
	err   error         // nil: it has it
	after time.Duration // it asks not to be tried before
	gone  bool          // it is not to be tried again
}

var errGone = errors.New("the receiver said that it is gone (410)")

// maxReply is how much of an answer is read, so that its connection can be used again.
const maxReply = 64 << 10

// send makes one request. Its error names no address: it may hold a secret.
func (h *hook) send(ctx context.Context, l *letter, o Options) reply {
	secrets, err := readSecrets(h.secret, o.Getenv)
	if err != nil {
		return reply{err: err}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(l.Body))
	if err != nil {
		return reply{err: bare(err)}
	}
	at := time.Now()
	r.Header.Set("Content-Type", event.ApplicationCloudEventsJSON)
	r.Header.Set("User-Agent", o.Agent)
	r.Header.Set("Webhook-Id", l.ID)
	r.Header.Set("Webhook-Timestamp", strconv.FormatInt(at.Unix(), 10))
	r.Header.Set("Webhook-Signature", sign(secrets, l.ID, at, l.Body))
	resp, err := h.client.Do(r)
	if err != nil {
		return reply{err: bare(err)}
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxReply)
	switch {
	case resp.StatusCode/100 == 2:
		return reply{}
	case resp.StatusCode == http.StatusGone:
		return reply{err: errGone, gone: true}
	}
	return reply{err: fmt.Errorf("the receiver answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode)), after: retryAfter(resp.Header)}
}

// bare gives an error of the client without the URL.
func bare(err error) error {
	var with *url.Error
	if errors.As(err, &with) {
		return with.Err
	}
	return err
}

// retryAfter reads the header in either form (RFC 9110, section 10.2.3); 0 when it says
// nothing.
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 16); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// sign gives the signatures of Standard Webhooks 1.0.0, "Signature scheme": one of each secret.
func sign(secrets [][]byte, id string, at time.Time, body []byte) string {
	var all []string
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, secret)
		fmt.Fprintf(mac, "%s.%d.", id, at.Unix())
		mac.Write(body)
		all = append(all, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(all, " ")
}

const (
	leastSecret = 24 // bytes, as Standard Webhooks wants
	maxSecrets  = 4 << 10
)

// readSecrets reads one secret a line. What it complains of is not in its errors.
func readSecrets(from v1alpha1.RegistrySecret, getenv func(string) string) ([][]byte, error) {
	text := getenv(from.Env)
	if from.File != "" {
		f, err := os.Open(from.File)
		if err != nil {
			return nil, fmt.Errorf("the secret: %w", err)
		}
		defer f.Close()
		content, err := io.ReadAll(io.LimitReader(f, maxSecrets))
		if err != nil {
			return nil, fmt.Errorf("the secret: %w", err)
		}
		text = string(content)
	}
	var secrets [][]byte
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		secret := []byte(line)
		if encoded, ok := strings.CutPrefix(line, "whsec_"); ok {
			var err error
			if secret, err = base64.StdEncoding.DecodeString(encoded); err != nil {
				return nil, errors.New("the secret: what follows whsec_ is not base64")
			}
		}
		if len(secret) < leastSecret {
			return nil, fmt.Errorf("the secret: want at least %d bytes", leastSecret)
		}
		secrets = append(secrets, secret)
	}
	if len(secrets) == 0 {
		return nil, errors.New("the secret: there is none")
	}
	return secrets, nil
}
