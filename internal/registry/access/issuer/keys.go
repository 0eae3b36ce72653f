package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"plimsoll.dev/plimsoll/internal/fault"
)

const (
	// freshFor is how long keys are used without asking whether they are still the issuer's.
	freshFor = time.Hour
	// keptFor is how long they are used when the issuer does not answer.
	keptFor = 24 * time.Hour
	// An issuer is asked again after firstPause, and after ever longer ones when it fails.
	firstPause   = 10 * time.Second
	longestPause = 5 * time.Minute
)

// keySet is an issuer's keys, as last seen.
type keySet struct {
	issuer string
	client *http.Client
	now    func() time.Time
	log    *slog.Logger

	asking sync.Mutex // held by whoever asks the issuer
	mu     sync.Mutex // of what follows
	keys   []jose.JSONWebKey
	seen   time.Time // when the issuer gave them
	asked  time.Time // the last attempt
	failed int       // attempts since
}

// VerifySignature is that of oidc.KeySet.
func (k *keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	signed, err := jose.ParseSigned(token, algorithms())
	if err != nil || len(signed.Signatures) != 1 {
		return nil, errors.New("it has not one signature of a kind that is taken")
	}
	header := signed.Signatures[0].Header
	if payload, ok := k.verify(signed, header.KeyID); ok && k.fresh() {
		return payload, nil
	}
	if err := k.refresh(ctx); err != nil {
		return nil, err
	}
	if payload, ok := k.verify(signed, header.KeyID); ok {
		return payload, nil
	}
	return nil, errors.New("no key of the issuer made the signature")
}

// verify tries the keys of that name; all of them where the token names none.
func (k *keySet) verify(signed *jose.JSONWebSignature, id string) ([]byte, bool) {
	k.mu.Lock()
	keys := k.keys
	k.mu.Unlock()
	for i := range keys {
		if id != "" && keys[i].KeyID != id {
			continue
		}
		if payload, err := signed.Verify(&keys[i]); err == nil {
			return payload, true
		}
	}
	return nil, false
}

func (k *keySet) fresh() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now().Sub(k.seen) < freshFor
}

// refresh asks the issuer for its keys, unless that was just done. Its error says that there
// are none that may be used. Nobody waits for another's question who has keys.
func (k *keySet) refresh(ctx context.Context) error {
	if !k.asking.TryLock() {
		if k.usable() == nil {
			return nil
		}
		k.asking.Lock()
	}
	defer k.asking.Unlock()
	if !k.due() {
		return k.usable()
	}
	keys, err := k.fetch(context.WithoutCancel(ctx)) // for all who ask, not for him alone
	k.mu.Lock()
	k.asked = k.now()
	if err == nil {
		k.keys, k.seen, k.failed = keys, k.asked, 0
	} else {
		k.failed++
	}
	k.mu.Unlock()
	if err != nil {
		k.log.Warn("an issuer's keys cannot be had: the last ones stay for a day", "issuer", k.issuer, "error", err)
	}
	return k.usable()
}

// due says whether the issuer may be asked again.
func (k *keySet) due() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	pause := longestPause
	if k.failed < 5 {
		pause = firstPause << k.failed
	}
	return k.now().Sub(k.asked) >= pause
}

func (k *keySet) usable() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.now().Sub(k.seen) < keptFor {
		return nil
	}
	return fault.Newf(fault.Unavailable, "verify token", k.issuer, "the issuer's keys cannot be had").
		WithHint("see the registry's log for why")
}

// fetch asks where the keys are, then for them (OpenID Connect Discovery 1.0, section 4).
func (k *keySet) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	var about struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := get(ctx, k.client, strings.TrimSuffix(k.issuer, "/")+"/.well-known/openid-configuration", &about); err != nil {
		return nil, err
	}
	if about.Issuer != k.issuer {
		return nil, fmt.Errorf("it calls itself %.200q", about.Issuer)
	}
	if !strings.HasPrefix(about.Keys, "https://") {
		return nil, errors.New("its keys are not at an https address")
	}
	var set struct{ Keys []json.RawMessage } // RFC 7517, section 5: keys that are not understood are passed over
	if err := get(ctx, k.client, about.Keys, &set); err != nil {
		return nil, err
	}
	var keys []jose.JSONWebKey
	for _, text := range set.Keys[:min(len(set.Keys), maxKeys)] {
		var key jose.JSONWebKey
		if json.Unmarshal(text, &key) == nil && key.IsPublic() && (key.Use == "" || key.Use == "sig") {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("it has no keys that are understood")
	}
	return keys, nil
}
