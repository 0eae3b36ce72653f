package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// tolerance is how old a signature with a time in it may be, and how far ahead its clock.
const tolerance = 5 * time.Minute

// verify says whether the request was signed with the token. The strongest signature that it has
// decides: a wrong one is not mended by a weaker one that is right. All comparisons take the same
// time whatever they find.
func verify(header http.Header, body, token []byte) bool {
	if len(token) == 0 {
		return false
	}
	if signatures := header.Get("webhook-signature"); signatures != "" { // GitLab with a signing token
		return verifyStandard(signatures, header.Get("webhook-id"), header.Get("webhook-timestamp"), body, token, time.Now())
	}
	if signature := header.Get("X-Hub-Signature-256"); signature != "" { // GitHub, and Gitea beside its own
		signature, ok := strings.CutPrefix(signature, "sha256=")
		return ok && verifyHex(signature, body, token)
	}
	for _, name := range []string{"X-Gitea-Signature", "X-Forgejo-Signature"} {
		if signature := header.Get(name); signature != "" {
			return verifyHex(signature, body, token)
		}
	}
	// GitLab with a secret token says just that.
	said, want := sha256.Sum256([]byte(header.Get("X-Gitlab-Token"))), sha256.Sum256(token)
	return hmac.Equal(said[:], want[:])
}

func verifyHex(signature string, body, token []byte) bool {
	said, err := hex.DecodeString(signature)
	return err == nil && hmac.Equal(said, sign(token, body))
}

// verifyStandard verifies as the Standard Webhooks specification has it ("Verifying webhook
// authenticity"): what is signed is "ID.TIME.BODY", and there may be several signatures while a
// key is being replaced.
func verifyStandard(signatures, id, timestamp string, body, token []byte, now time.Time) bool {
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > tolerance {
		return false
	}
	key := token
	if encoded, ok := strings.CutPrefix(strings.TrimSpace(string(token)), "whsec_"); ok {
		if key, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return false
		}
	}
	want := sign(key, []byte(id+"."+timestamp+"."), body)
	for _, signature := range strings.Fields(signatures) {
		encoded, ok := strings.CutPrefix(signature, "v1,")
		said, err := base64.StdEncoding.DecodeString(encoded)
		if ok && err == nil && hmac.Equal(said, want) {
			return true
		}
	}
	return false
}

func sign(key []byte, parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, key)
	for _, part := range parts {
		mac.Write(part)
	}
	return mac.Sum(nil)
}
