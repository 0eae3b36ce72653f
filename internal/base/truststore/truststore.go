// Package truststore takes the CA certificate files of an image and gives what
// update-ca-certificates and ca-certificates-java would make of them: the bundle, the
// hashed links of /etc/ssl/certs, and Java's key store. Nothing in it looks at the clock
// or at the order of its input, so the same files give the same bytes.
package truststore

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Where Debian's programs look for each product, without the leading slash.
const (
	BundlePath   = "etc/ssl/certs/ca-certificates.crt"
	LinkDir      = "etc/ssl/certs"
	KeystorePath = "etc/ssl/certs/java/cacerts"
)

// localDir holds the administrator's own certificates; update-ca-certificates(8) adds
// them after the distribution's.
const localDir = "/usr/local/share/ca-certificates/"

// File is one certificate file: its absolute path in the image and its bytes.
type File struct {
	Path string
	Data []byte
}

// Certificate is one readable CA certificate in its file. Only Load makes one.
type Certificate struct {
	path              string
	data              []byte // the file
	der               []byte
	hash              uint32 // X509_NAME_hash of the subject
	notBefore, notEnd time.Time
}

// Path gives the absolute path of the certificate's file in the image.
func (c Certificate) Path() string { return c.path }

// Validity gives the first and the last moment at which the certificate holds, UTC.
func (c Certificate) Validity() (notBefore, notAfter time.Time) { return c.notBefore, c.notEnd }

// Hash gives the subject's hash as `openssl x509 -subject_hash` prints it: eight
// hexadecimal digits.
func (c Certificate) Hash() string { return fmt.Sprintf("%08x", c.hash) }

// PEMName gives the file's name in /etc/ssl/certs, as update-ca-certificates builds it.
func (c Certificate) PEMName() string {
	base := strings.TrimSuffix(path.Base(c.path), ".crt")
	return strings.NewReplacer(" ", "_", "(", "=", ")", "=", ",", "_").Replace(base) + ".pem"
}

// Load reads the files, each of which must hold exactly one certificate in PEM and no
// other PEM block, and gives them in the order of the bundle: by path, bytewise, the
// administrator's own last. A broken file, a private key, a second copy of a certificate
// and two files that would get the same name are faults of kind Failed that name the
// file. Expired certificates are read: whether one is expired depends on the clock, and a
// base must not; see Expired.
func Load(files []File) ([]Certificate, error) {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b File) int {
		if c := cmp.Compare(rank(a.Path), rank(b.Path)); c != 0 {
			return c
		}
		return strings.Compare(a.Path, b.Path)
	})
	var certs []Certificate
	byName, byPrint := map[string]string{}, map[[sha256.Size]byte]string{}
	for _, f := range files {
		c, err := read(f)
		if err != nil {
			return nil, fault.New(fault.Failed, "read CA certificate", f.Path, err).
				WithHint("Each file must hold one PEM certificate and nothing secret; remove or repair this one.")
		}
		// Java's aliases have no case, so neither may the names.
		name := strings.ToLower(c.PEMName())
		if first, ok := byName[name]; ok {
			return nil, fault.Newf(fault.Failed, "read CA certificate", f.Path, fmt.Sprintf("its name %s is already taken by %s", c.PEMName(), first)).
				WithHint("Rename one of the two files.")
		}
		print := sha256.Sum256(c.der)
		if first, ok := byPrint[print]; ok {
			return nil, fault.Newf(fault.Failed, "read CA certificate", f.Path, "the same certificate is in "+first).
				WithHint("Remove one of the two files.")
		}
		byName[name], byPrint[print] = f.Path, f.Path
		certs = append(certs, c)
	}
	return certs, nil
}

func rank(path string) int {
	if strings.HasPrefix(path, localDir) {
		return 1
	}
	return 0
}

func read(f File) (Certificate, error) {
	if !strings.HasPrefix(f.Path, "/") || path.Clean(f.Path) != f.Path || f.Path == "/" {
		return Certificate{}, errors.New("its path is not absolute and clean")
	}
	if !utf8.ValidString(f.Path) {
		return Certificate{}, errors.New("its path is not UTF-8, so Java could not name it")
	}
	// pem.Decode steps over what it cannot read; counting the headers notices that.
	headers := bytes.Count(f.Data, []byte("-----BEGIN "))
	switch block, rest := pem.Decode(f.Data); {
	case headers == 0:
		return Certificate{}, errors.New("it holds no PEM block")
	case block != nil && block.Type != "CERTIFICATE":
		return Certificate{}, fmt.Errorf("it holds a PEM block of type %q", block.Type)
	case headers > 1:
		return Certificate{}, fmt.Errorf("it holds %d PEM blocks instead of one", headers)
	case block == nil:
		return Certificate{}, errors.New("its PEM block is damaged")
	case bytes.Contains(rest, []byte("-----END ")):
		return Certificate{}, errors.New("it has the end of a second PEM block")
	case len(block.Headers) > 0:
		return Certificate{}, errors.New("its PEM block has headers")
	default:
		c, err := parseDER(block.Bytes)
		c.path, c.data = f.Path, f.Data
		return c, err
	}
}

// Expired gives the paths of the certificates that do not hold at the given moment, in
// the order of certs.
func Expired(certs []Certificate, at time.Time) []string {
	var paths []string
	for _, c := range certs {
		if at.Before(c.notBefore) || at.After(c.notEnd) {
			paths = append(paths, c.path)
		}
	}
	return paths
}

// Bundle gives /etc/ssl/certs/ca-certificates.crt: the files as they are, one after the
// other, each ended by a newline, in the order of Load.
func Bundle(certs []Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		b.Write(c.data)
		if !bytes.HasSuffix(c.data, []byte("\n")) {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

// Link is a symbolic link in /etc/ssl/certs.
type Link struct {
	Name   string // without the folder
	Target string // absolute for NAME.pem, a name in the same folder for a hash
}

// HashLinks gives the links of /etc/ssl/certs sorted by name: NAME.pem to each file, and
// HASH.N to NAME.pem, where HASH is the subject's hash and N counts from 0 the
// certificates that share it, in the bytewise order of NAME.pem (openssl-rehash(1)).
func HashLinks(certs []Certificate) []Link {
	byName := slices.Clone(certs)
	slices.SortFunc(byName, func(a, b Certificate) int { return strings.Compare(a.PEMName(), b.PEMName()) })
	seen := map[uint32]int{}
	var links []Link
	for _, c := range byName {
		links = append(links,
			Link{Name: c.PEMName(), Target: c.path},
			Link{Name: fmt.Sprintf("%s.%x", c.Hash(), seen[c.hash]), Target: c.PEMName()})
		seen[c.hash]++
	}
	slices.SortFunc(links, func(a, b Link) int { return strings.Compare(a.Name, b.Name) })
	return links
}
