package attest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// enclosed is a DSSE envelope of any payload type (DSSE v1, "Data Structure").
type enclosed struct {
	PayloadType string              `json:"payloadType"`
	Payload     []byte              `json:"payload"`
	Signatures  []enclosedSignature `json:"signatures"`
}

type enclosedSignature struct {
	KeyID string `json:"keyid,omitempty"`
	Sig   []byte `json:"sig"`
}

// Enclose gives a DSSE envelope (DSSE v1, in JSON) around a payload that is no statement about an
// image: a report, say.
func Enclose(ctx context.Context, key Signer, payloadType string, payload []byte) ([]byte, error) {
	signature, err := key.Sign(ctx, preAuthOf(payloadType, payload))
	if err != nil {
		return nil, err
	}
	return json.Marshal(enclosed{payloadType, payload, []enclosedSignature{{key.Hint(), signature}}})
}

// Unsigned gives such an envelope that nobody has signed.
func Unsigned(payloadType string, payload []byte) ([]byte, error) {
	return json.Marshal(enclosed{payloadType, payload, []enclosedSignature{}})
}

// maxEnclosed bounds the envelopes that Disclose reads, in bytes.
const maxEnclosed = 256 << 20

// Disclose gives the payload of such an envelope, and the name of the key of those who may attest that
// signed it. Keys alone count: there is no certificate in it.
func Disclose(trust Trust, payloadType string, envelope []byte) (payload []byte, by string, err error) {
	if len(envelope) > maxEnclosed {
		return nil, "", fmt.Errorf("it is larger than %d MB", maxEnclosed>>20)
	}
	var in enclosed
	if err := json.Unmarshal(envelope, &in); err != nil {
		return nil, "", fmt.Errorf("it is no envelope: %w", err)
	}
	if in.PayloadType != payloadType {
		return nil, "", fmt.Errorf("it is a %q", legible(in.PayloadType))
	}
	if len(in.Signatures) == 0 {
		return nil, "", errors.New("nobody has signed it")
	}
	trusted := trust.Attestations
	if len(trusted.Keys) == 0 && !trusted.None {
		trusted = trust.Images
	}
	var signatures [][]byte
	for _, s := range in.Signatures[:min(len(in.Signatures), mostSignatures)] {
		signatures = append(signatures, s.Sig)
	}
	key, ok := match(trusted.Keys, preAuthOf(payloadType, in.Payload), signatures)
	if !ok {
		return nil, "", errors.New("no trusted key verifies it")
	}
	now := trust.Now
	if now.IsZero() {
		now = time.Now()
	}
	if err := key.valid(now); err != nil {
		return nil, "", err
	}
	return in.Payload, key.Name, nil
}

// preAuthOf gives what a signature of a payload of the type is made over (DSSE v1, "Signature
// Definition").
func preAuthOf(payloadType string, payload []byte) []byte {
	out := make([]byte, 0, len(payload)+len(payloadType)+32)
	out = fmt.Appendf(out, "DSSEv1 %d %s %d ", len(payloadType), payloadType, len(payload))
	return append(out, payload...)
}
