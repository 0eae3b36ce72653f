// Package webhook takes what GitHub, GitLab and Gitea send when somebody pushes and has the
// sources of the Images asked that are made from that repository.
//
// A webhook tells nothing that is believed: it only says that now is a good time to ask. Whoever
// repeats one has a source asked that has not changed.
package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/secrets"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Images are told what webhooks bear on.
type Images interface {
	// Ask has the source of an Image asked at once; it is false where nothing is to be asked.
	Ask(image types.NamespacedName) bool

	// Doubt has the secret of an Image's webhooks looked at again: none could be held against it.
	Doubt(image types.NamespacedName)
}

// Cluster is what the handler reads.
type Cluster struct {
	Cache   client.Reader   // Images; it must have the index that Index adds
	Secrets client.Reader   // asks the API itself
	Leading <-chan struct{} // closed when this process leads: only who leads asks sources
}

// indexRepository finds Images that hear webhooks by the repository that they are made from.
const indexRepository = "webhook.repository"

// Index has the cache find Images by their repository.
func Index(cache client.FieldIndexer) error {
	err := cache.IndexField(context.Background(), &v1alpha1.Image{}, indexRepository, func(o client.Object) []string {
		i := o.(*v1alpha1.Image)
		if i.Spec.Source.Git == nil || i.Spec.Triggers.WebhookSecret == nil {
			return nil
		}
		if at := repository(i.Spec.Source.Git.URL); at != "" {
			return []string{at}
		}
		return nil
	})
	if err != nil {
		return fault.New(fault.Failed, "index Images by repository", "", err)
	}
	return nil
}

// Bounds of what strangers may send.
const (
	maxBody    = 25 << 20 // bytes: what GitHub sends at most
	maxAtATime = 8        // bodies in memory
	maxSecrets = 50       // that one push is held against
)

// Handler serves POST /webhooks/NAMESPACE/IMAGE for one Image, and POST /webhooks for all that are
// made from the repository that was pushed to. A request must be signed with the key "token" of
// the secret that the Image names.
func Handler(cluster Cluster, images Images) http.Handler {
	h := &handler{
		Cluster: cluster, images: images, room: make(chan struct{}, maxAtATime),
		reads: rate.NewLimiter(50, 2*maxSecrets), // strangers must not make a storm of the API
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /webhooks/{namespace}/{image}", func(w http.ResponseWriter, r *http.Request) {
		h.serve(w, r, func(push) ([]v1alpha1.Image, error) {
			var i v1alpha1.Image
			err := h.Cache.Get(r.Context(), types.NamespacedName{Namespace: r.PathValue("namespace"), Name: r.PathValue("image")}, &i)
			if client.IgnoreNotFound(err) != nil {
				return nil, err
			}
			return []v1alpha1.Image{i}, nil // one that is not there has no secret
		})
	})
	mux.HandleFunc("POST /webhooks", func(w http.ResponseWriter, r *http.Request) {
		h.serve(w, r, func(p push) ([]v1alpha1.Image, error) { return h.madeFrom(r.Context(), p) })
	})
	return mux
}

type handler struct {
	Cluster
	images Images
	room   chan struct{}
	reads  *rate.Limiter
}

// serve answers a webhook for those of the Images whose secret it is signed with.
func (h *handler) serve(w http.ResponseWriter, r *http.Request, find func(push) ([]v1alpha1.Image, error)) {
	select {
	case <-h.Leading:
	default:
		busy(w, "another replica leads")
		return
	}
	select {
	case h.room <- struct{}{}:
		defer func() { <-h.room }()
	default:
		busy(w, "too many webhooks at a time")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the body cannot be read, or is too large", http.StatusRequestEntityTooLarge)
		return
	}
	pushed, sound := parse(r.Header.Get("Content-Type"), body)
	candidates, err := find(pushed)
	if err != nil {
		busy(w, "the Images cannot be read")
		return
	}
	meant, err := h.signed(r, body, candidates)
	switch {
	case err != nil:
		busy(w, err.Error())
	case len(meant) == 0:
		// The same for an Image that is not there, that has no secret, and for a wrong signature.
		http.Error(w, "no Image knows this signature: sign with the key `token` of the secret in its spec.triggers.webhookSecret", http.StatusUnauthorized)
	case !sound:
		http.Error(w, "the body is no push of GitHub, GitLab or Gitea", http.StatusBadRequest)
	default:
		h.ask(w, pushed, meant)
	}
}

// ask has the sources asked that follow what was pushed.
func (h *handler) ask(w http.ResponseWriter, p push, meant []v1alpha1.Image) {
	asked := 0
	for i := range meant {
		if p.bears(&meant[i]) && h.images.Ask(client.ObjectKeyFromObject(&meant[i])) {
			asked++
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(map[string]int{"images": len(meant), "asked": asked})
}

func busy(w http.ResponseWriter, why string) {
	w.Header().Set("Retry-After", "5")
	http.Error(w, why+": send it again", http.StatusServiceUnavailable)
}

// madeFrom gives the Images that are made from the repository that was pushed to.
func (h *handler) madeFrom(ctx context.Context, p push) ([]v1alpha1.Image, error) {
	var out []v1alpha1.Image
	for _, at := range p.repositories() {
		var list v1alpha1.ImageList
		if err := h.Cache.List(ctx, &list, client.MatchingFields{indexRepository: at}, client.UnsafeDisableDeepCopy); err != nil {
			return nil, err
		}
		out = append(out, list.Items...)
	}
	slices.SortFunc(out, func(a, b v1alpha1.Image) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return slices.CompactFunc(out, func(a, b v1alpha1.Image) bool { return a.Namespace == b.Namespace && a.Name == b.Name }), nil
}

// signed gives those of the Images whose secret the request is signed with. Each secret is read
// once.
func (h *handler) signed(r *http.Request, body []byte, candidates []v1alpha1.Image) ([]v1alpha1.Image, error) {
	var out []v1alpha1.Image
	holds := map[types.NamespacedName]bool{}
	for _, i := range candidates {
		if i.Spec.Triggers.WebhookSecret == nil {
			continue
		}
		name := types.NamespacedName{Namespace: i.Namespace, Name: i.Spec.Triggers.WebhookSecret.Name}
		ok, known := holds[name]
		if !known {
			if len(holds) == maxSecrets {
				break
			}
			token, err := h.token(r.Context(), &i)
			if err != nil {
				return nil, err
			}
			ok = verify(r.Header, body, token)
			holds[name] = ok
		}
		if ok {
			out = append(out, i)
		}
	}
	return out, nil
}

// token reads the secret; nil when there is none. Of one that is not as it should be its Images hear, who
// then say so.
func (h *handler) token(ctx context.Context, i *v1alpha1.Image) ([]byte, error) {
	if !h.reads.Allow() {
		return nil, fmt.Errorf("too many webhooks")
	}
	token, err := secrets.WebhookToken(ctx, h.Secrets, i.Namespace, string(i.Spec.Triggers.WebhookSecret.Name))
	switch fault.KindOf(err) {
	case fault.NotFound, fault.Denied:
		h.images.Doubt(client.ObjectKeyFromObject(i))
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the secret cannot be read")
	}
	return []byte(token), nil
}
