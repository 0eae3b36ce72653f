package truststore

import (
	"bytes"
	"encoding/asn1"
	"encoding/pem"
	"testing"
	"time"
)

// oddName is a subject with one attribute of the given type and content.
func oddName(t testing.TB, values ...asn1.RawValue) []byte {
	t.Helper()
	var rdns []any
	oid := asn1.ObjectIdentifier{2, 5, 4, 3}
	for _, v := range values {
		type attribute struct {
			Type  asn1.ObjectIdentifier
			Value asn1.RawValue
		}
		type set []attribute
		der, err := asn1.MarshalWithParams(set{{oid, v}}, "set")
		if err != nil {
			t.Fatal(err)
		}
		rdns = append(rdns, asn1.RawValue{FullBytes: der})
	}
	der, err := asn1.Marshal(rdns)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestHashOfOddNames(t *testing.T) {
	text := func(tag int, s string) asn1.RawValue { return asn1.RawValue{Tag: tag, Bytes: []byte(s)} }
	twoInOneSet := []byte("\x30\x1c\x31\x1a" +
		"\x30\x0b\x06\x03\x55\x04\x0b\x0c\x04Zulu" + "\x30\x0b\x06\x03\x55\x04\x03\x0c\x04Alfa")
	for _, tt := range []struct {
		name, reason string
		subject      []byte
	}{
		{"utf8 case", "only ASCII letters are lowered", oddName(t, text(12, "ÄÖ Foo ÉCOLE"))},
		{"utf8 spaces", "inner runs collapse, outer ones go", oddName(t, text(12, " \t A \n\v\f\r B  "))},
		{"no-break space", "only ASCII white space counts", oddName(t, text(12, "a\u00a0\u2003 b"))},
		{"only spaces", "an empty text remains", oddName(t, text(12, "   "))},
		{"empty text", "an empty text stays", oddName(t, text(12, ""))},
		{"printable", "becomes UTF8String", oddName(t, text(19, "Example  CA"))},
		{"ia5", "becomes UTF8String", oddName(t, text(22, "admin@Example.ORG"))},
		{"t61", "is read as Latin-1", oddName(t, text(20, "Z\xfcrich \xc4"))},
		{"bmp", "two bytes a character", oddName(t, text(30, "\x00Z\x00\xfc\x20\xac\x00 \x00 \x00B"))},
		{"universal", "four bytes a character", oddName(t, text(28, "\x00\x00\x00Z\x00\x01\xf6\x00"))},
		{"bmp odd", "half a character", oddName(t, text(30, "\x00Z\x00"))},
		{"bmp surrogate", "no character of its own", oddName(t, text(30, "\xd8\x3d\xde\x00"))},
		{"universal too far", "beyond Unicode", oddName(t, text(28, "\x00\x11\x00\x00"))},
		{"utf8 broken", "not UTF-8", oddName(t, text(12, "a\xff"))},
		{"numeric", "is not folded", oddName(t, text(18, "12  34 "))},
		{"visible", "OpenSSL reads none in a name", oddName(t, text(26, "Example"))},
		{"bit string", "is not text", oddName(t, text(3, "\x00\x12\x34"))},
		{"several", "one set each", oddName(t, text(12, "One"), text(19, "Two"), text(30, "\x00T"))},
		{"two in one set", "a set is sorted", twoInOneSet},
		{"empty name", "no attribute at all", []byte("\x30\x00")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// The issuer stays readable, so that only the subject can be refused.
			data := issueWithSubject(t, tt.subject)
			want := opensslHash(t, data)
			certs, err := Load([]File{{Path: "/a.crt", Data: data}})
			if (err != nil) != (want == "") {
				t.Fatalf("%s: error = %v, openssl says %q", tt.reason, err, want)
			}
			if err == nil && certs[0].Hash() != want {
				t.Errorf("%s: hash %s, openssl says %s", tt.reason, certs[0].Hash(), want)
			}
		})
	}
}

// issueWithSubject writes the subject into a certificate without looking at it:
// crypto/x509 would refuse the odd ones.
func issueWithSubject(t testing.TB, subject []byte) []byte {
	t.Helper()
	const mark = "SUBJECT-GOES-HERE"
	block, _ := pem.Decode(issue(t, oddName(t, asn1.RawValue{Tag: 12, Bytes: []byte(mark)}), time.Now().AddDate(1, 0, 0)))
	var cert struct {
		TBS       asn1.RawValue
		Algorithm asn1.RawValue
		Signature asn1.RawValue
	}
	if _, err := asn1.Unmarshal(block.Bytes, &cert); err != nil {
		t.Fatal(err)
	}
	var parts []asn1.RawValue
	for rest := cert.TBS.Bytes; len(rest) > 0; {
		var v asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &v); err != nil {
			t.Fatal(err)
		}
		parts = append(parts, v)
	}
	const subjectAt = 5 // version, serial, algorithm, issuer, validity, subject
	if !bytes.Contains(parts[subjectAt].FullBytes, []byte(mark)) {
		t.Fatal("the subject is not where it should be")
	}
	parts[subjectAt] = asn1.RawValue{FullBytes: subject}
	tbs, err := asn1.Marshal(parts)
	if err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal([]asn1.RawValue{{FullBytes: tbs}, cert.Algorithm, cert.Signature})
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
