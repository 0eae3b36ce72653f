package plane

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/cli"
	"plimsoll.dev/plimsoll/internal/controller"
	"plimsoll.dev/plimsoll/internal/controller/image"
	"plimsoll.dev/plimsoll/internal/controller/logs"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Logs writes the log of a Build to out, as the control plane's log pages give it. What is to be known
// besides goes to errs.
func Logs(ctx context.Context, home string, getenv func(string) string, out, errs io.Writer, o cli.LogsOptions) error {
	r, err := newReading(home, getenv, out, errs, o)
	if err != nil {
		return err
	}
	b, err := r.find(ctx)
	if err != nil {
		return err
	}
	if b.Spec.Method == v1alpha1.MethodRebase {
		return r.rebase(b.Name, "build "+b.Name)
	}
	if r.token, err = r.bearer(ctx); err != nil {
		return err
	}
	return r.read(ctx, b)
}

// reading is one call of Logs.
type reading struct {
	cli.LogsOptions
	out, errs io.Writer

	target    *rest.Config
	client    client.Client
	namespace string
	own       string // folder of the home's cluster, where it is that one

	token string
}

func newReading(home string, getenv func(string) string, out, errs io.Writer, o cli.LogsOptions) (*reading, error) {
	r := &reading{LogsOptions: o, out: out, errs: errs}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.Kubeconfig
	own := filepath.Join(home, "kubernetes")
	if _, err := os.Stat(filepath.Join(own, "admin.kubeconfig")); err == nil && o.Kubeconfig == "" && getenv("KUBECONFIG") == "" {
		r.own, rules.ExplicitPath = own, filepath.Join(own, "admin.kubeconfig")
	}
	kubeconfig := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil)
	var err error
	if r.target, err = kubeconfig.ClientConfig(); err != nil {
		return nil, fault.New(fault.Usage, "read kubeconfig", rules.ExplicitPath, err).WithHint("start this home's control plane with plimsoll up, or name a cluster: --kubeconfig FILE")
	}
	r.namespace = o.Namespace
	if r.namespace == "" {
		if r.namespace, _, err = kubeconfig.Namespace(); err != nil {
			return nil, fault.New(fault.Usage, "read kubeconfig", rules.ExplicitPath, err)
		}
	}
	scheme, err := controller.Scheme()
	if err != nil {
		return nil, err
	}
	if r.client, err = client.New(r.target, client.Options{Scheme: scheme}); err != nil {
		return nil, r.failed("the cluster", err)
	}
	return r, nil
}

// failed gives what the API has said.
func (r *reading) failed(which string, err error) *fault.Error {
	failed := unreachable("ask the control plane for", which, err)
	if client.IgnoreNotFound(err) == nil {
		failed.Kind = fault.NotFound
	}
	if r.own != "" {
		return failed.WithHint("is it up? plimsoll up; what there is: plimsoll kubectl get images,builds -A")
	}
	return failed
}

// find gives the Build that is meant.
func (r *reading) find(ctx context.Context) (*v1alpha1.Build, error) {
	var b v1alpha1.Build
	if r.Kind != "image" {
		err := r.client.Get(ctx, client.ObjectKey{Namespace: r.namespace, Name: r.Name}, &b)
		if err == nil {
			return &b, nil
		}
		if client.IgnoreNotFound(err) == nil {
			if of, number, ok := image.ParseRebase(r.Name); ok && r.noted(ctx, of, number) {
				return nil, r.rebase(r.Name, "image "+of)
			}
		}
		if r.Kind == "build" || client.IgnoreNotFound(err) != nil {
			return nil, r.failed(r.namespace+"/"+r.Name, err)
		}
	}
	var list v1alpha1.BuildList
	err := r.client.List(ctx, &list, client.InNamespace(r.namespace), client.MatchingLabels{v1alpha1.LabelImage: r.Name})
	if err != nil {
		return nil, r.failed(r.namespace+"/"+r.Name, err)
	}
	var newest *v1alpha1.Build
	for i := range list.Items {
		b := &list.Items[i]
		switch {
		case r.Number > 0 && b.Spec.Number == r.Number:
			return b, nil
		case r.Number == 0 && b.Spec.Method == v1alpha1.MethodBuild && (newest == nil || b.Spec.Number > newest.Spec.Number):
			newest = b
		}
	}
	if newest != nil {
		return newest, nil
	}
	why := "there is no Build of that name, nor of an Image of that name"
	if r.Number > 0 {
		if r.noted(ctx, r.Name, r.Number) {
			return nil, r.rebase(fmt.Sprintf("%s, %d", r.Name, r.Number), "image "+r.Name)
		}
		why = fmt.Sprintf("the Image has no Build %d any more, or yet", r.Number)
	}
	return nil, fault.Newf(fault.NotFound, "read log", r.namespace+"/"+r.Name, why).
		WithHint("kubectl get images,builds --namespace " + r.namespace)
}

// noted says whether the Image's status tells of a rebase of that number.
func (r *reading) noted(ctx context.Context, image string, number int64) bool {
	var i v1alpha1.Image
	err := r.client.Get(ctx, client.ObjectKey{Namespace: r.namespace, Name: image}, &i)
	return err == nil && slices.ContainsFunc(i.Status.Rebases, func(one v1alpha1.ImageRebase) bool { return one.Number == number })
}

// rebase says that there is no log; object is what tells more.
func (r *reading) rebase(which, object string) *fault.Error {
	return fault.Newf(fault.NotFound, "read log", r.namespace+"/"+which, "it is a rebase, which runs nothing that could print").
		WithHint("kubectl describe " + object + " --namespace " + r.namespace)
}

// tokenFor is how long a token lasts that is asked for here, in seconds: the API gives none shorter.
const tokenFor = 600

// bearer gives a token that the control plane can have reviewed: the kubeconfig's own, or one of a
// service account.
func (r *reading) bearer(ctx context.Context) (string, error) {
	account := client.ObjectKey{Namespace: r.namespace, Name: r.ServiceAccount}
	if account.Name == "" {
		token, err := tokenOf(r.target)
		if err != nil || token != "" {
			return token, err
		}
		if r.own == "" {
			return "", fault.Newf(fault.Denied, "read log", r.namespace+"/"+r.Name, "the kubeconfig has no token, and its certificate shows nobody but the API server who you are").
				WithHint("name a service account of that namespace which has the role view: --service-account NAME")
		}
		account = logReader
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(tokenFor))}}
	of := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: account.Namespace, Name: account.Name}}
	if err := r.client.SubResource("token").Create(ctx, of, request); err != nil {
		return "", r.failed("a token of the service account "+account.String(), err)
	}
	return request.Status.Token, nil
}

// tokenOf gives the bearer token that requests with this configuration have, wherever it comes from; ""
// where they have none.
func tokenOf(target *rest.Config) (string, error) {
	var said string
	way, err := rest.HTTPWrappersForConfig(target, roundTrip(func(r *http.Request) (*http.Response, error) {
		said = r.Header.Get("Authorization")
		return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody, Request: r}, nil
	}))
	if err != nil {
		return "", fault.New(fault.Usage, "read kubeconfig", target.Host, err)
	}
	request, err := http.NewRequest(http.MethodGet, "https://unused.invalid/", nil)
	if err != nil {
		return "", err
	}
	if _, err := way.RoundTrip(request); err != nil {
		return "", fault.New(fault.Denied, "get a token by the kubeconfig", target.Host, err)
	}
	token, ok := strings.CutPrefix(said, "Bearer ")
	if !ok {
		return "", nil
	}
	return token, nil
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// How long a log is waited for, and how often the API is asked.
const (
	askEvery  = 500 * time.Millisecond
	mostTries = 20 // while none of several replicas leads
)

// read writes the log of the Build; with Follow until that has ended.
func (r *reading) read(ctx context.Context, b *v1alpha1.Build) error {
	name := client.ObjectKeyFromObject(b)
	for attempt := int32(0); ; {
		ended := b.Status.Phase.Ended()
		begun := b.Status.Phase == v1alpha1.BuildRunning && b.Status.Attempts > attempt
		if begun || ended || !r.Follow {
			if err := r.copy(ctx, name, ended); err != nil || ended || !r.Follow {
				return err
			}
			attempt = b.Status.Attempts
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(askEvery):
		}
		before := b.Status.Message
		b = &v1alpha1.Build{}
		if err := r.client.Get(ctx, name, b); err != nil {
			return r.failed(name.String(), err)
		}
		if b.Status.Phase.Ended() && attempt >= b.Status.Attempts {
			return nil
		}
		if message := b.Status.Message; message != before && b.Status.Phase == v1alpha1.BuildQueued {
			fmt.Fprintf(r.errs, "%s: %s\n", b.Name, message)
		}
	}
}

// copy writes one answer of the log pages.
func (r *reading) copy(ctx context.Context, name client.ObjectKey, ended bool) error {
	way, at, err := r.way(name)
	if err != nil {
		return err
	}
	query := url.Values{}
	if r.Follow && !ended {
		query.Set("follow", "")
	}
	if r.Step != "" {
		query.Set("step", r.Step)
	}
	for tries := 1; ; tries++ {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, at+"?"+query.Encode(), nil)
		if err != nil {
			return fault.New(fault.Usage, "read log", at, err)
		}
		request.Header.Set(logs.TokenHeader, "Bearer "+r.token)
		answer, err := way.Do(request)
		if err != nil {
			return fault.New(fault.Unavailable, "read log", name.String(), err).WithHint("the control plane's page does not answer: is it up, and is --page right?")
		}
		if answer.StatusCode == http.StatusServiceUnavailable && tries < mostTries {
			answer.Body.Close()
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(askEvery):
			}
			continue
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return refused(name, answer)
		}
		if _, err := io.Copy(r.out, answer.Body); err != nil {
			return fault.New(fault.Unavailable, "read log", name.String(), err).WithHint("run it again: the log is kept")
		}
		return nil
	}
}

// refused gives an answer that is no log.
func refused(name client.ObjectKey, answer *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
	why := strings.TrimSpace(strings.TrimPrefix(string(text), "read log: "+name.String()+": "))
	var said metav1.Status // of the API server, where that did not let it through
	if json.Unmarshal(text, &said) == nil && said.Message != "" {
		why = said.Message
	}
	switch answer.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fault.Newf(fault.Denied, "read log", name.String(), why).
			WithHint("whoever has the role view there may; and get services/proxy where the log is read by the API server")
	case http.StatusNotFound:
		return fault.Newf(fault.NotFound, "read log", name.String(), why)
	}
	return fault.Newf(fault.Unavailable, "read log", name.String(), answer.Status+": "+why)
}

// way gives how and where the log page of a Build is reached.
func (r *reading) way(name client.ObjectKey) (*http.Client, string, error) {
	page := r.Page
	if page == "" && r.own != "" {
		text, err := os.ReadFile(filepath.Join(r.own, pageFile))
		if err != nil {
			return nil, "", fault.New(fault.Unavailable, "find the control plane's page", "", err).WithHint("start it: plimsoll up")
		}
		page = strings.TrimSpace(string(text))
	}
	path := "logs/" + name.Namespace + "/" + name.Name
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // the token is for this one
	if page != "" {
		at, err := url.Parse(page)
		if err != nil || at.Host == "" || at.Scheme != "https" && !loopback(at) {
			return nil, "", fault.Newf(fault.Usage, "find the control plane's page", page, "want https://HOST, or http:// of this machine: a token goes there")
		}
		return &http.Client{CheckRedirect: stay}, at.JoinPath(path).String(), nil
	}
	way, err := rest.HTTPClientFor(r.target)
	if err != nil {
		return nil, "", r.failed("its log pages", err)
	}
	way.CheckRedirect = stay
	base, _, err := rest.DefaultServerURL(r.target.Host, "", corev1.SchemeGroupVersion, true)
	if err != nil {
		return nil, "", r.failed("its log pages", err)
	}
	return way, base.JoinPath("api/v1/namespaces", r.ControlPlane, "services/plimsoll:page/proxy", path).String(), nil
}

// loopback says whether the address is one of this machine's own.
func loopback(at *url.URL) bool {
	ip := net.ParseIP(at.Hostname())
	return at.Scheme == "http" && (at.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}
