package attest

import (
	"bytes"
	"encoding/base64"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"sigs.k8s.io/json"

	"plimsoll.dev/plimsoll/artifact"
)

// Types of what is signed (in-toto attestation framework v1, "Statement" and "Envelope").
const (
	statementType = "https://in-toto.io/Statement/v1"
	oldStatement  = "https://in-toto.io/Statement/v0.1" // still written by older tools
	payloadType   = "application/vnd.in-toto+json"
)

// Limits of what is read.
const (
	maxEnvelope = 64 << 20 // bytes
	maxSubjects = 1024     // of a statement
)

// statement gives the bytes that are signed, and the predicate where it stands in them: it stays as it
// is, byte for byte. One that is not known to be well encoded is looked through.
func statement(repository string, e artifact.Evidence, encoded bool) (payload, within []byte, err error) {
	algorithm, hex, ok := strings.Cut(e.Subject, ":")
	if !ok || !legibleType(e.PredicateType) {
		return nil, nil, fmt.Errorf("evidence wants a digest and the URI of a type, not %q and %q", e.Subject, e.PredicateType)
	}
	predicate := bytes.TrimSpace(e.Predicate)
	if !bytes.HasPrefix(predicate, []byte("{")) || !encoded && !stdjson.Valid(predicate) {
		return nil, nil, fmt.Errorf("the predicate of type %s is not a JSON object", e.PredicateType)
	}
	out := make([]byte, 0, len(predicate)+512)
	out = append(out, `{"_type":"`+statementType+`","subject":[{"name":`...)
	out = appendString(out, repository)
	out = append(out, `,"digest":{`...)
	out = append(appendString(out, algorithm), ':')
	out = append(appendString(out, hex), `}}],"predicateType":`...)
	out = append(appendString(out, e.PredicateType), `,"predicate":`...)
	at := len(out)
	out = append(append(out, predicate...), '}')
	return out, out[at : len(out)-1 : len(out)-1], nil
}

func appendString(out []byte, s string) []byte {
	quoted, _ := stdjson.Marshal(s) // a string always can
	return append(out, quoted...)
}

// parsed is a statement that was read.
type parsed struct {
	predicateType string
	predicate     stdjson.RawMessage
	subjects      []map[string]string // digests by algorithm
}

// of tells whether the statement is about the manifest of that digest.
func (p parsed) of(algorithm, hex string) bool {
	for _, digests := range p.subjects {
		if digests[algorithm] == hex {
			return true
		}
	}
	return false
}

func parseStatement(payload []byte) (parsed, error) {
	var in struct {
		Type    string `json:"_type"`
		Subject []struct {
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
		PredicateType string             `json:"predicateType"`
		Predicate     stdjson.RawMessage `json:"predicate"`
	}
	if err := unmarshal(payload, &in); err != nil {
		return parsed{}, fmt.Errorf("the statement is not valid: %w", err)
	}
	switch {
	case in.Type != statementType && in.Type != oldStatement:
		return parsed{}, fmt.Errorf("it is not an in-toto statement, but %q", in.Type)
	case len(in.Subject) == 0 || len(in.Subject) > maxSubjects:
		return parsed{}, fmt.Errorf("the statement has %d subjects, want 1 to %d", len(in.Subject), maxSubjects)
	case !legibleType(in.PredicateType):
		return parsed{}, errors.New("the statement's predicate type is not a URI")
	}
	p := parsed{predicateType: in.PredicateType, predicate: in.Predicate}
	for _, s := range in.Subject {
		p.subjects = append(p.subjects, s.Digest)
	}
	return p, nil
}

// legibleType tells whether a predicate type can be a URI; people are shown it.
func legibleType(kind string) bool {
	return kind != "" && len(kind) <= 512 && !strings.ContainsFunc(kind, func(r rune) bool { return r <= ' ' || r > '~' })
}

// legible gives a text in which strangers may have a say as people can be shown it.
func legible(text string) string {
	const most = 400 // bytes
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// preAuth gives what a signature of a statement is made over.
func preAuth(payload []byte) []byte { return preAuthOf(payloadType, payload) }

// envelope is a DSSE envelope (DSSE v1, "Data Structure").
type envelope struct {
	payload    []byte
	signatures [][]byte
}

func (e envelope) json() []byte {
	out := make([]byte, 0, base64.StdEncoding.EncodedLen(len(e.payload))+1024)
	out = append(out, `{"payloadType":"`+payloadType+`","payload":"`...)
	out = append(base64.StdEncoding.AppendEncode(out, e.payload), `","signatures":[`...)
	for i, s := range e.signatures {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(base64.StdEncoding.AppendEncode(append(out, `{"sig":"`...), s), `"}`...)
	}
	return append(out, `]}`...)
}

func parseEnvelope(data []byte) (envelope, error) {
	var in struct {
		PayloadType string `json:"payloadType"`
		Payload     []byte `json:"payload"`
		Signatures  []struct {
			Sig []byte `json:"sig"`
		} `json:"signatures"`
	}
	if err := unmarshal(data, &in); err != nil {
		return envelope{}, fmt.Errorf("the envelope is not valid: %w", err)
	}
	out := envelope{payload: in.Payload}
	for _, s := range in.Signatures {
		out.signatures = append(out.signatures, s.Sig)
	}
	return out, out.check(in.PayloadType)
}

// maxSignatures is how many signatures of one envelope are looked at.
const maxSignatures = 16

func (e envelope) check(kind string) error {
	switch {
	case kind != payloadType:
		return fmt.Errorf("the envelope holds %q, not an in-toto statement", kind)
	case len(e.signatures) == 0 || len(e.signatures) > maxSignatures:
		return errors.New("the envelope has " + strconv.Itoa(len(e.signatures)) + " signatures")
	}
	return nil
}

// unmarshal reads JSON that strangers wrote, names in their very case. A name that occurs
// twice is refused: readers differ in which of the two they take.
func unmarshal(data []byte, into any) error {
	if len(data) > maxEnvelope {
		return fmt.Errorf("it has more than %d bytes", maxEnvelope)
	}
	twice, err := json.UnmarshalStrict(data, into, json.DisallowDuplicateFields)
	return errors.Join(append(twice, err)...)
}
