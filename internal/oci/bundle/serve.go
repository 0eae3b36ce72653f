package bundle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Transport answers as a registry that holds just this bundle (OCI distribution-spec 1.1,
// without writing), so that what reads registries reads a bundle, too: above all what
// verifies. Every repository holds every digest.
func (b *Bundle) Transport() http.RoundTripper { return transport{b} }

type transport struct{ *Bundle }

var asked = regexp.MustCompile(`^/v2/(.+)/(manifests|blobs|referrers)/([^/]+)$`)

func (t transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Body != nil {
		request.Body.Close()
	}
	if request.URL.Path == "/v2/" {
		return reply(request, http.StatusOK, "application/json", []byte("{}")), nil
	}
	match := asked.FindStringSubmatch(request.URL.Path)
	if match == nil || request.Method != http.MethodGet && request.Method != http.MethodHead {
		return missing(request), nil
	}
	repository, kind, name := match[1], match[2], match[3]
	if kind == "referrers" {
		return t.referrers(request, name)
	}
	d, ok := t.find(repository, name)
	if !ok {
		return missing(request), nil
	}
	if kind == "blobs" {
		in, err := t.Stream(d)
		if err != nil {
			return nil, err
		}
		r := reply(request, http.StatusOK, "application/octet-stream", nil)
		r.Body, r.ContentLength = in, d.Size
		return r, nil
	}
	raw, err := t.Blob(d)
	if err != nil {
		return nil, err
	}
	return reply(request, http.StatusOK, string(mediaType(raw)), raw), nil
}

// mediaType gives what a manifest says it is, or is by what it has (OCI image-spec: the
// field may be absent).
func mediaType(raw []byte) types.MediaType {
	var head struct {
		MediaType types.MediaType   `json:"mediaType"`
		Manifests []json.RawMessage `json:"manifests"`
	}
	_ = json.Unmarshal(raw, &head) // the reader of the answer says what is wrong with it
	switch {
	case head.MediaType != "":
		return head.MediaType
	case head.Manifests != nil:
		return types.OCIImageIndex
	}
	return types.OCIManifestSchema1
}

// find gives what a tag or a digest names.
func (t transport) find(repository, name string) (v1.Descriptor, bool) {
	if hash, err := v1.NewHash(name); err == nil {
		at, ok := t.blobs[hash.Hex]
		return v1.Descriptor{Digest: hash, Size: at.size}, ok
	}
	if subject, tag := signatureTag(":" + name); subject != "" {
		for _, a := range t.attached[subject] {
			if a.Tag == tag {
				return a.Descriptor, true
			}
		}
	}
	for _, n := range t.named {
		if n.Name == repository+":"+name || strings.HasSuffix(n.Name, "/"+repository+":"+name) {
			return n.Descriptor, true
		}
	}
	return v1.Descriptor{}, false
}

func (t transport) referrers(request *http.Request, subject string) (*http.Response, error) {
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}
	for _, a := range t.attached[subject] {
		if a.Tag != "" {
			continue
		}
		m, err := t.Manifest(a.Descriptor)
		if err != nil {
			return nil, err
		}
		index.Manifests = append(index.Manifests, listed(m))
	}
	body, err := json.Marshal(index)
	return reply(request, http.StatusOK, string(types.OCIImageIndex), body), err
}

func missing(request *http.Request) *http.Response {
	return reply(request, http.StatusNotFound, "application/json", []byte(`{"errors":[{"code":"NAME_UNKNOWN","message":"it is not in the bundle"}]}`))
}

func reply(request *http.Request, status int, mediaType string, body []byte) *http.Response {
	return &http.Response{
		Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: request,
		Header:        http.Header{"Content-Type": {mediaType}},
		Body:          io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)),
	}
}
