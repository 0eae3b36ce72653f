package logs

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
)

// TokenHeader may hold what Authorization else does: the API server, where a page is read through its
// proxy, keeps that one to itself.
const TokenHeader = "Plimsoll-Authorization"

// Handler serves GET /logs/NAMESPACE/BUILD, with ?follow as the Build goes on, with ?step=NAME of one
// step, to whom the
// Kubernetes API knows by the bearer token and lets get builds/log there. reviewer must be allowed
// to create TokenReviews and SubjectAccessReviews.
func Handler(store *Store, reviewer client.Client) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /logs/{namespace}/{build}", func(w http.ResponseWriter, r *http.Request) {
		namespace, build := r.PathValue("namespace"), r.PathValue("build")
		if err := admit(r.Context(), reviewer, cmp.Or(r.Header.Get("Authorization"), r.Header.Get(TokenHeader)), namespace, build); err != nil {
			refuse(w, err)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		query := r.URL.Query()
		out := io.Writer(flushing{w})
		part := &only{step: query.Get("step"), out: out}
		if part.step != "" {
			out = part
		}
		err := store.Read(r.Context(), namespace, build, query.Has("follow"), out)
		if err == nil {
			_ = part.close() // the reader is gone
		}
		if fault.KindOf(err) == fault.NotFound || fault.KindOf(err) == fault.Usage {
			refuse(w, err)
		} // else the answer has begun
	})
	return mux
}

// admit asks the Kubernetes API who bears the token, and whether he may.
func admit(ctx context.Context, reviewer client.Client, authorization, namespace, build string) error {
	token, ok := strings.CutPrefix(authorization, "Bearer ")
	if !ok || token == "" {
		return errNobody
	}
	who := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}
	if err := reviewer.Create(ctx, who); err != nil {
		return fault.Newf(fault.Unavailable, "review the token", "", "the Kubernetes API does not answer")
	}
	if !who.Status.Authenticated {
		return errNobody
	}
	user := who.Status.User
	extra := map[string]authorizationv1.ExtraValue{}
	for key, values := range user.Extra {
		extra[key] = authorizationv1.ExtraValue(values)
	}
	may := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: "get", Group: v1alpha1.GroupVersion.Group, Resource: "builds", Subresource: "log", Namespace: namespace, Name: build,
		},
	}}
	if err := reviewer.Create(ctx, may); err != nil {
		return fault.Newf(fault.Unavailable, "review the access", "", "the Kubernetes API does not answer")
	}
	if !may.Status.Allowed {
		return fault.Newf(fault.Denied, "read log", namespace+"/"+build, "you may not get builds/log there")
	}
	return nil
}

var errNobody = fault.Newf(fault.Denied, "read log", "", "a bearer token that the Kubernetes API knows is wanted: kubectl create token")

// refuse answers with the error.
func refuse(w http.ResponseWriter, err error) {
	code := http.StatusInternalServerError
	switch fault.KindOf(err) {
	case fault.Usage, fault.NotFound:
		code = http.StatusNotFound
	case fault.Denied:
		code = http.StatusForbidden
		if err == error(errNobody) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			code = http.StatusUnauthorized
		}
	case fault.Unavailable:
		code = http.StatusServiceUnavailable
	}
	http.Error(w, err.Error(), code)
}

// flushing sends each piece as it comes.
type flushing struct{ http.ResponseWriter }

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	if flusher, ok := f.ResponseWriter.(http.Flusher); ok {
		flusher.Flush()
	}
	return n, err
}

var _ io.Writer = flushing{}
