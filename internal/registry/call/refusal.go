package call

import (
	"encoding/json"
	"net/http"
)

// Refusal is one error of the registry API (OCI distribution-spec 1.1, "Error Codes").
type Refusal struct {
	Status  int    // of HTTP
	Code    string // "DENIED", "MANIFEST_UNKNOWN", …
	Message string // one line for people: what, why and, where there is one, the remedy
	Detail  any    // for programs; nil is left out
}

// Write answers with it.
func (e Refusal) Write(w http.ResponseWriter) {
	type one struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Detail  any    `json:"detail,omitempty"`
	}
	body, err := json.Marshal(map[string][]one{"errors": {{e.Code, e.Message, e.Detail}}})
	if err != nil { // of the detail alone: all else is text
		body, _ = json.Marshal(map[string][]one{"errors": {{e.Code, e.Message, nil}}})
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Status)
	w.Write(append(body, '\n'))
}

// Bad gives the refusal of a request that is not well formed.
func Bad(code, message string) Refusal {
	return Refusal{Status: http.StatusBadRequest, Code: code, Message: message}
}
