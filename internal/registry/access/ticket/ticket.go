// Package ticket takes who somebody is and gives it in words that this registry has signed,
// and reads those back.
package ticket

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"plimsoll.dev/plimsoll/internal/registry/access/recent"
	"plimsoll.dev/plimsoll/internal/registry/access/scope"
)

// Use is what a ticket is good for. It is signed, in the JWT's header "typ" (RFC 8725, 3.11).
type Use string

// The uses.
const (
	Access  Use = "plimsoll-access+jwt"  // shown with each request
	Refresh Use = "plimsoll-refresh+jwt" // gives access tickets
)

// Kind is what somebody is.
type Kind string

// The kinds.
const (
	Anybody  Kind = ""
	User     Kind = "user"     // of the htpasswd file
	Robot    Kind = "robot"    // of ours
	Person   Kind = "person"   // whom an issuer names
	Workload Kind = "workload" // the same, for a program
)

// Holder is who somebody is. What he may do is not in it: that is asked of the site's
// settings each time.
type Holder struct {
	Kind   Kind                `json:"kind,omitempty"`
	Name   string              `json:"name,omitempty"`
	Issuer string              `json:"issuer,omitempty"` // its name in the settings
	Groups []string            `json:"groups,omitempty"`
	Claims map[string][]string `json:"claims,omitempty"` // of a workload

	// Mark is of a user's or robot's secret: another secret makes the ticket worthless.
	Mark string `json:"mark,omitempty"`
}

// Principal names the holder in logs and to other parts of the registry; "" is anybody.
func (h Holder) Principal() string {
	switch h.Kind {
	case Robot:
		return "robot+" + h.Name
	case Person:
		return h.Issuer + ":" + h.Name
	case Workload:
		return "workload+" + h.Issuer + ":" + h.Name
	}
	return h.Name
}

// Ticket is what is signed.
type Ticket struct {
	Use     Use
	Service string // whom it is for: "aud"
	Holder  Holder
	Scopes  []scope.Scope // the most it is good for; of access tickets
	Issued  time.Time
	Expires time.Time
	ID      string // "jti"
}

const (
	issuer  = "plimsoll"
	leeway  = 10 * time.Second // by which servers on one home may differ
	maxText = 16 << 10
)

// words are the claims beside those of RFC 7519.
type words struct {
	Access []scope.Scope `json:"access"`
	Holder Holder        `json:"holder"`
}

// Office signs tickets with keys of its own and reads them. It is safe for concurrent use.
type Office struct {
	ring *ring
	now  func() time.Time

	mu   sync.Mutex
	read recent.Table[[sha256.Size]byte, known] // by the text's hash: clients show a token many times
}

// known is a ticket that was read, and the key that signed it.
type known struct {
	ticket Ticket
	from   time.Time // "nbf"
	key    string
}

// maxKnown bounds how many are remembered, in some MiB.
const maxKnown = 4096

// Open opens the keys in the folder, and makes the first when there is none. Errors are
// *fault.Error.
func Open(folder string, now func() time.Time, log *slog.Logger) (*Office, error) {
	ring, err := openRing(folder, now, log)
	if err != nil {
		return nil, err
	}
	return &Office{ring: ring, now: now, read: recent.New[[sha256.Size]byte, known](maxKnown)}, nil
}

// Issue signs the ticket, from now on and until it expires.
func (o *Office) Issue(t Ticket) (string, error) {
	key, err := o.ring.signing()
	if err != nil {
		return "", err
	}
	options := (&jose.SignerOptions{}).WithType(jose.ContentType(t.Use)).WithHeader("kid", key.ID)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: key.private}, options)
	if err != nil {
		return "", err
	}
	now := jwt.NewNumericDate(o.now())
	return jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: issuer, Subject: t.Holder.Principal(), Audience: jwt.Audience{t.Service},
		IssuedAt: now, NotBefore: now, Expiry: jwt.NewNumericDate(t.Expires), ID: rand.Text(),
	}).Claims(words{t.Scopes, t.Holder}).Serialize()
}

// Read gives a ticket that this registry issued for that use and service and that is not
// expired. Its errors tell nothing of the text.
func (o *Office) Read(text string, use Use, service string) (Ticket, error) {
	if len(text) > maxText {
		return Ticket{}, errors.New("the token is too long")
	}
	k, err := o.verified(text)
	if err != nil {
		return Ticket{}, err
	}
	now := o.now()
	switch {
	case !o.ring.holds(k.key): // what was read before may be of a key that went meanwhile
		return Ticket{}, errKey
	case k.ticket.Use != use:
		return Ticket{}, errors.New("the token is for another use")
	case k.ticket.Service != service:
		return Ticket{}, errors.New("the token is for another registry")
	case now.Before(k.from.Add(-leeway)):
		return Ticket{}, errors.New("the token is not good yet")
	case now.After(k.ticket.Expires.Add(leeway)):
		return Ticket{}, ErrExpired
	}
	return k.ticket, nil
}

// verified gives what a text that one of our keys signed says, whoever it is for and whenever.
func (o *Office) verified(text string) (known, error) {
	hash := sha256.Sum256([]byte(text))
	o.mu.Lock()
	k, ok := o.read.Find(hash)
	o.mu.Unlock()
	if ok {
		return k, nil
	}
	k, err := o.parse(text)
	if err == nil {
		o.mu.Lock()
		o.read.Get(hash, func() known { return k })
		o.mu.Unlock()
	}
	return k, err
}

// ErrExpired says that a ticket was good once.
var ErrExpired = errors.New("the token is expired")

var errKey = errors.New("the token's key is not known here")

// parse finds the key of a token by what it is called alone: whatever else a header may say of
// keys is not looked at.
func (o *Office) parse(text string) (known, error) {
	token, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil || len(token.Headers) != 1 {
		return known{}, errors.New("it is no token of ours")
	}
	header := token.Headers[0]
	public, ok := o.ring.public(header.KeyID)
	if !ok {
		return known{}, errKey
	}
	var (
		said jwt.Claims
		more words
	)
	if err := token.Claims(public, &said, &more); err != nil {
		return known{}, errors.New("the token's signature is not ours")
	}
	if said.Issuer != issuer || len(said.Audience) != 1 || said.Expiry == nil || said.IssuedAt == nil || said.NotBefore == nil {
		return known{}, errors.New("the token lacks what ours have")
	}
	typ, _ := header.ExtraHeaders[jose.HeaderType].(string)
	return known{key: header.KeyID, from: said.NotBefore.Time(), ticket: Ticket{
		Use: Use(typ), Service: said.Audience[0], Holder: more.Holder, Scopes: more.Access,
		Issued: said.IssuedAt.Time(), Expires: said.Expiry.Time(), ID: said.ID,
	}}, nil
}
