package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/client-go/rest"

	"plimsoll.dev/plimsoll/internal/aside"
)

// How long certificates are good for, and how long before their end they are made anew.
const (
	authorityLife   = 10 * 365 * 24 * time.Hour
	authorityMargin = 365 * 24 * time.Hour
	leafLife        = 365 * 24 * time.Hour
	leafMargin      = 60 * 24 * time.Hour
)

// certificate is what one of the cluster's certificates says. Those with names serve; all
// prove who a client is, since etcd's is both.
type certificate struct {
	name   string // of its files: NAME.crt and NAME.key
	common string // for the API server: the user
	groups []string
	names  []string // DNS names and addresses
}

// authority is the cluster's own certificate authority in its folder.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// openAuthority gives the authority of a folder. It is made anew when it is missing, not whole
// or near its end: then every certificate is.
func openAuthority(dir string, now time.Time) (*authority, error) {
	a := &authority{dir: dir}
	var err error
	a.cert, a.key, err = readPair(a.file("ca"))
	if errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	if err == nil && now.Add(authorityMargin).Before(a.cert.NotAfter) {
		return a, nil
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "Plimsoll cluster authority"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	if a.cert, err = a.write("ca", template, template, &a.key.PublicKey, a.key); err != nil {
		return nil, err
	}
	return a, nil
}

// issue makes a certificate's files unless good ones are there.
func (a *authority) issue(c certificate, now time.Time) error {
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: c.common, Organization: c.groups},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(leafLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, name := range c.names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	if len(c.names) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if cert, _, err := readPair(a.file(c.name)); err == nil && a.stillGood(cert, template, now) {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	_, err = a.write(c.name, template, a.cert, &key.PublicKey, key)
	return err
}

// stillGood says whether a certificate is this authority's, says what is wanted and is not near
// its end.
func (a *authority) stillGood(cert, want *x509.Certificate, now time.Time) bool {
	return cert.CheckSignatureFrom(a.cert) == nil &&
		now.Add(leafMargin).Before(cert.NotAfter) &&
		cert.Subject.String() == want.Subject.String() &&
		slices.Equal(cert.DNSNames, want.DNSNames) &&
		slices.EqualFunc(cert.IPAddresses, want.IPAddresses, net.IP.Equal)
}

// write signs a certificate and writes it with its key. The key goes first: who reads the two
// between finds that they do not fit, and reads again.
func (a *authority) write(name string, template, parent *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, a.key)
	if err != nil {
		return nil, err
	}
	private, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	if err := aside.WritePrivate(a.file(name)+".key", private); err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := aside.WriteDurable(a.file(name)+".crt", text); err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// client gives what a client that has the named certificate needs.
func (a *authority) client(name string) rest.TLSClientConfig {
	return rest.TLSClientConfig{
		CAFile: a.file("ca") + ".crt", CertFile: a.file(name) + ".crt", KeyFile: a.file(name) + ".key",
	}
}

func readPair(path string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(path + ".crt")
	if err != nil {
		return nil, nil, err
	}
	private, err := os.ReadFile(path + ".key")
	if err != nil {
		return nil, nil, err
	}
	block, _ := pem.Decode(text)
	keyBlock, _ := pem.Decode(private)
	if block == nil || keyBlock == nil {
		return nil, nil, errors.New(path + ".crt or its key holds no PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, nil, err
	}
	key, err := x509.ParseECPrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, nil, err
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, nil, errors.New(path + ".crt does not fit its key")
	}
	return cert, key, nil
}

// encodeKey writes a key in the form of SEC 1, which is the only one that the API server reads
// service account keys in.
func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), err
}
