package truststore

import (
	"bytes"
	"crypto/sha1" // OpenSSL names certificate links by it; nothing is protected by it
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

var errShape = errors.New("it is not an X.509 certificate")

// parseDER reads of a certificate only what the trust store needs (RFC 5280, 4.1).
// crypto/x509 is not used: it refuses certificates that OpenSSL and Java accept, such as
// those with a negative serial number, which real roots have.
func parseDER(der []byte) (Certificate, error) {
	var outer, tbs, subject, validity cryptobyte.String
	var notBefore, notAfter time.Time
	in := cryptobyte.String(der)
	ok := in.ReadASN1(&outer, asn1.SEQUENCE) && in.Empty() &&
		outer.ReadASN1(&tbs, asn1.SEQUENCE) &&
		outer.SkipASN1(asn1.SEQUENCE) && outer.SkipASN1(asn1.BIT_STRING) && outer.Empty() &&
		tbs.SkipOptionalASN1(asn1.Tag(0).Constructed().ContextSpecific()) &&
		tbs.SkipASN1(asn1.INTEGER) && // serialNumber
		tbs.SkipASN1(asn1.SEQUENCE) && // signature
		tbs.SkipASN1(asn1.SEQUENCE) && // issuer
		tbs.ReadASN1(&validity, asn1.SEQUENCE) &&
		readTime(&validity, &notBefore) && readTime(&validity, &notAfter) && validity.Empty() &&
		tbs.ReadASN1(&subject, asn1.SEQUENCE) &&
		tbs.SkipASN1(asn1.SEQUENCE) // subjectPublicKeyInfo
	if !ok {
		return Certificate{}, errShape
	}
	hash, err := nameHash(subject)
	if err != nil {
		return Certificate{}, err
	}
	return Certificate{der: der, hash: hash, notBefore: notBefore, notEnd: notAfter}, nil
}

// readTime reads RFC 5280's Time: UTCTime until 2049, GeneralizedTime from then on.
func readTime(s *cryptobyte.String, out *time.Time) bool {
	if s.PeekASN1Tag(asn1.UTCTime) {
		return s.ReadASN1UTCTime(out)
	}
	return s.ReadASN1GeneralizedTime(out)
}

// nameHash gives OpenSSL's X509_NAME_hash of a Name's content: the first four bytes,
// little endian, of SHA-1 over the canonical encoding (crypto/x509/x_name.c).
func nameHash(name cryptobyte.String) (uint32, error) {
	canon, err := canonicalName(name)
	if err != nil {
		return 0, fmt.Errorf("its subject: %w", err)
	}
	sum := sha1.Sum(canon)
	return binary.LittleEndian.Uint32(sum[:]), nil
}

var errName = errors.New("it is not an X.501 name")

// canonicalName gives what x509_name_canon gives: the relative distinguished names one
// after the other, without the SEQUENCE around them, each attribute's text folded, each
// set in DER order.
func canonicalName(name cryptobyte.String) ([]byte, error) {
	var out cryptobyte.Builder
	for !name.Empty() {
		var set cryptobyte.String
		if !name.ReadASN1(&set, asn1.SET) {
			return nil, errName
		}
		var attributes [][]byte
		for !set.Empty() {
			a, err := canonicalAttribute(&set)
			if err != nil {
				return nil, err
			}
			attributes = append(attributes, a)
		}
		if len(attributes) == 0 {
			continue // OpenSSL keeps a flat list of attributes, where an empty set leaves no trace
		}
		slices.SortFunc(attributes, bytes.Compare)
		out.AddASN1(asn1.SET, func(b *cryptobyte.Builder) { b.AddBytes(bytes.Join(attributes, nil)) })
	}
	return out.Bytes()
}

func canonicalAttribute(set *cryptobyte.String) ([]byte, error) {
	var attribute, oid, value cryptobyte.String
	var tag asn1.Tag
	if !set.ReadASN1(&attribute, asn1.SEQUENCE) ||
		!attribute.ReadASN1Element(&oid, asn1.OBJECT_IDENTIFIER) {
		return nil, errName
	}
	element := attribute
	if !attribute.ReadAnyASN1(&value, &tag) || !attribute.Empty() {
		return nil, errName
	}
	var out cryptobyte.Builder
	out.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(oid)
		text, isText, err := decodeText(tag, value)
		switch {
		case err != nil:
			b.SetError(err)
		case isText:
			b.AddASN1(asn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes(fold(text)) })
		default:
			b.AddBytes(element)
		}
	})
	return out.Bytes()
}

// Universal tags that cryptobyte/asn1 does not name.
const (
	universalString = asn1.Tag(28)
	bmpString       = asn1.Tag(30)
	visibleString   = asn1.Tag(26)
)

// decodeText gives the value as UTF-8 and whether its type is one that x509_name_canon
// folds (ASN1_MASK_CANON). The one-byte types are read as Latin-1, T61String among them,
// as OpenSSL does.
func decodeText(tag asn1.Tag, value []byte) (text []byte, isText bool, err error) {
	width := 1
	switch tag {
	case asn1.UTF8String:
		if !utf8.Valid(value) {
			return nil, true, errors.New("a UTF8String is not UTF-8")
		}
		return value, true, nil
	case asn1.PrintableString, asn1.T61String, asn1.IA5String:
	case bmpString:
		width = 2
	case universalString:
		width = 4
	case visibleString:
		return nil, true, errors.New("an attribute is a VisibleString, which OpenSSL does not read")
	default:
		return nil, false, nil
	}
	if len(value)%width != 0 {
		return nil, true, errors.New("a text ends inside a character")
	}
	for ; len(value) > 0; value = value[width:] {
		var r uint32
		for _, b := range value[:width] {
			r = r<<8 | uint32(b)
		}
		if r > utf8.MaxRune || !utf8.ValidRune(rune(r)) {
			return nil, true, fmt.Errorf("a text holds %#x, which is no character", r)
		}
		text = utf8.AppendRune(text, rune(r))
	}
	return text, true, nil
}

// fold drops white space at both ends, makes one space of each run inside, and lowers
// ASCII letters; other bytes stay (asn1_string_canon).
func fold(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, field := range bytes.FieldsFunc(text, func(r rune) bool { return r == ' ' || r >= '\t' && r <= '\r' }) {
		if len(out) > 0 {
			out = append(out, ' ')
		}
		for _, b := range field {
			if 'A' <= b && b <= 'Z' {
				b += 'a' - 'A'
			}
			out = append(out, b)
		}
	}
	return out
}
