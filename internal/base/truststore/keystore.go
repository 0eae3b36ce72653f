package truststore

import (
	"bytes"
	"strings"
	"time"

	"github.com/pavlo-v-chernykh/keystore-go/v4"

	"plimsoll.dev/plimsoll/internal/fault"
)

// keystorePassword is the one every Java program tries on cacerts. It keeps nothing
// secret; JKS only uses it to detect damage.
const keystorePassword = "changeit"

// JavaKeystore gives /etc/ssl/certs/java/cacerts as ca-certificates-java makes it: type
// JKS, password "changeit", an entry "debian:NAME.pem" in lower case for each
// certificate, sorted by alias. Each entry is dated to the epoch, for Java's own date is
// the moment of the build. A name too long for the format is a fault of kind Failed.
func JavaKeystore(certs []Certificate) ([]byte, error) {
	store := keystore.New(keystore.WithOrderedAliases(), keystore.WithCaseExactAliases())
	for _, c := range certs {
		entry := keystore.TrustedCertificateEntry{
			CreationTime: time.Unix(0, 0),
			Certificate:  keystore.Certificate{Type: "X.509", Content: c.der},
		}
		if err := store.SetTrustedCertificateEntry(modifiedUTF8("debian:"+c.PEMName()), entry); err != nil {
			return nil, fault.New(fault.Failed, "write Java's trust store", c.path, err)
		}
	}
	var b bytes.Buffer
	if err := store.Store(&b, []byte(keystorePassword)); err != nil {
		return nil, fault.New(fault.Failed, "write Java's trust store", "", err)
	}
	return b.Bytes(), nil
}

// modifiedUTF8 encodes what Java's DataInput.readUTF reads otherwise than UTF-8: a
// character outside the basic plane, as its two surrogates in three bytes each.
func modifiedUTF8(s string) string {
	var out strings.Builder
	for _, r := range strings.ToLower(s) {
		if r < 0x10000 {
			out.WriteRune(r)
			continue
		}
		r -= 0x10000
		for _, half := range []rune{0xd800 + r>>10, 0xdc00 + r&0x3ff} {
			out.Write([]byte{0xe0 | byte(half>>12), 0x80 | byte(half>>6)&0x3f, 0x80 | byte(half)&0x3f})
		}
	}
	return out.String()
}
