package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"
)

// noncePrefix begins the nonces of logins at this program's own command.
const noncePrefix = "plimsoll."

// Nonce gives a nonce for a login at the registry of that origin ("https://HOST"). An ID token
// that holds it is believed there alone: a registry that somebody was lured to log in at cannot
// show the token to another.
func Nonce(origin string) string {
	random := rand.Text()
	return noncePrefix + random + "." + bind(random, origin)
}

// boundHere says whether a token with that nonce may be shown at the origin. A nonce of another
// form binds nothing.
func boundHere(nonce, origin string) bool {
	rest, ok := strings.CutPrefix(nonce, noncePrefix)
	if !ok {
		return true
	}
	random, sum, _ := strings.Cut(rest, ".")
	return subtle.ConstantTimeCompare([]byte(sum), []byte(bind(random, origin))) == 1
}

func bind(random, origin string) string {
	sum := sha256.Sum256([]byte(random + "\n" + origin))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
