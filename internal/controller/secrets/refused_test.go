package secrets

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/bed"
	"plimsoll.dev/plimsoll/internal/fault"
)

// TestWhoMayNotIsToldWhatHelps asks a real API server as controllers that nobody has let read anything.
func TestWhoMayNotIsToldWhatHelps(t *testing.T) {
	b := bed.New(t)
	config := rest.CopyConfig(b.Config)
	config.Impersonate.UserName = "system:serviceaccount:platform:keepers"
	strangers, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const want = "kubectl --namespace default create rolebinding plimsoll-image-secrets --clusterrole=plimsoll-image-secrets --serviceaccount=platform:keepers"
	image := &v1alpha1.Image{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}}
	_, err = Resolve(t.Context(), strangers, image)
	_, hooked := WebhookToken(t.Context(), strangers, "default", "hook")
	for _, err := range []error{err, hooked} {
		if fault.KindOf(err) != fault.Denied || fault.HintOf(err) != want {
			t.Errorf("got %v (%s)", err, fault.HintOf(err))
		}
	}
	image.Spec.ServiceAccountName = "nosuch"
	_, err = Resolve(t.Context(), b.Client, image)
	if hint := fault.HintOf(err); fault.KindOf(err) != fault.NotFound || !strings.Contains(hint, "create serviceaccount nosuch") {
		t.Errorf("an account that is not there gives %v (%s)", err, hint)
	}
}

func TestWebhookToken(t *testing.T) {
	b := bed.New(t)
	for name, data := range map[string]map[string][]byte{
		"sound": {"token": []byte(planted)}, "wrong-key": {"secret": []byte(planted)}, "empty": {"token": nil},
	} {
		b.Create(t, &corev1.Secret{ObjectMeta: object("default", name), Data: data})
	}
	for name, want := range map[string]string{
		"sound":     "",
		"wrong-key": `read webhook secret: default/wrong-key: it has no key "token"`,
		"empty":     `read webhook secret: default/empty: it has no key "token"`,
		"nosuch":    "read webhook secret: default/nosuch: there is no such secret",
	} {
		token, err := WebhookToken(t.Context(), b.Client, "default", name)
		switch {
		case want == "" && (err != nil || string(token) != planted):
			t.Errorf("%s: %v", name, err)
		case want != "" && (fault.KindOf(err) != fault.NotFound || err.Error() != want || fault.HintOf(err) == ""):
			t.Errorf("%s: got %v (%s)", name, err, fault.HintOf(err))
		}
	}
}
