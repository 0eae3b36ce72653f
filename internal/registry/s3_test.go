package registry_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry"
)

// TestS3 runs the registry in buckets of a real S3 server.
func TestS3(t *testing.T) {
	server := startS3(t)
	for name, test := range map[string]func(*testing.T, *s3Server){
		"images":      s3Images,
		"referrers":   s3Referrers,
		"collect":     s3Collect,
		"leases":      s3Leases,
		"uploads":     s3Uploads,
		"kills":       s3Kills,
		"faults":      s3Faults,
		"lost bucket": s3LostBucket,
		"conformance": s3Conformance,
		"quarantine":  s3Quarantine,
		"holdings":    s3Holdings,
	} {
		t.Run(name, func(t *testing.T) { test(t, server) })
	}
}

// s3Images: what one registry takes in, one beside it and one opened later give out.
func s3Images(t *testing.T, server *s3Server) {
	config := server.config(t, server.bucket(t, "images"))
	first, second := open(t, registry.Options{Config: config}), open(t, registry.Options{Config: config})
	// A layer of 40 MiB goes up in parts and is moved in parts.
	app := write(t, first, "store.local/team/app:1.0", image(t, 40<<20, 1))
	write(t, second, "store.local/team/app:1.1", image(t, 4096, 3))
	index, err := random.Index(1024, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref(t, "store.local/team/multi:v1"), index, remote.WithTransport(first.Transport())); err != nil {
		t.Fatal(err)
	}
	listed := func(reg *registry.Registry) (all []string) {
		entries, err := reg.List(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			all = append(all, e.Repository+":"+e.Tag)
		}
		return all
	}
	third := open(t, registry.Options{Config: config, ReadOnly: true})
	for which, reg := range map[string]*registry.Registry{"first": first, "second": second, "third": third} {
		if diff := cmp.Diff([]string{"team/app:1.0", "team/app:1.1", "team/multi:v1"}, listed(reg)); diff != "" {
			t.Errorf("%s: %s", which, diff)
		}
		for _, tag := range []string{"1.0", "1.1"} {
			if err := pull(reg, ref(t, "store.local/team/app:"+tag)); err != nil {
				t.Errorf("%s: %v", which, err)
			}
		}
		pulled, err := remote.Index(ref(t, "store.local/team/multi:v1"), remote.WithTransport(reg.Transport()))
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Index(pulled); err != nil {
			t.Errorf("%s: %v", which, err)
		}
	}
	if err := second.Remove(context.Background(), "team/app", "1.0"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"team/app:1.1", "team/multi:v1"}, listed(first)); diff != "" {
		t.Error(diff)
	}
	if err := pull(first, ref(t, "store.local/team/app@"+app)); err != nil {
		t.Errorf("an image went with its tag: %v", err)
	}
	if err := second.Remove(context.Background(), "team/app", app); err != nil {
		t.Fatal(err)
	}
	if got := status(t, first, http.MethodGet, "/v2/team/app/manifests/"+app); got != http.StatusNotFound {
		t.Errorf("a removed image answers %d", got)
	}
}

func s3Referrers(t *testing.T, server *s3Server) {
	bucket := server.bucket(t, "referrers")
	reg := open(t, registry.Options{Config: server.config(t, bucket)})
	subject := image(t, 64, 1)
	of := write(t, reg, "store.local/a/b:v1", subject)
	list := func(options ...remote.Option) []v1.Descriptor {
		t.Helper()
		options = append(options, remote.WithTransport(reg.Transport()))
		index, err := remote.Referrers(ref(t, "store.local/a/b@"+of).(name.Digest), options...)
		if err != nil {
			t.Fatal(err)
		}
		m, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		return m.Manifests
	}
	gone := write(t, reg, "store.local/a/b:gone", referrerOf(t, subject, "application/spdx+json", "gone"))
	write(t, reg, "store.local/a/b:sbom", referrerOf(t, subject, "application/spdx+json", "the sbom"))
	write(t, reg, "store.local/a/b:sig", referrerOf(t, subject, "application/sig", "the signature"))
	if got := list(); len(got) != 3 {
		t.Errorf("listed %v, want three referrers", got)
	}
	if got := list(remote.WithFilter("artifactType", "application/sig")); len(got) != 1 || got[0].Annotations["note"] != "the signature" {
		t.Errorf("filtered to %v, want the signature", got)
	}
	if err := remote.Delete(ref(t, "store.local/a/b@"+gone), remote.WithTransport(reg.Transport())); err != nil {
		t.Fatal(err)
	}
	want := list()
	if len(want) != 2 {
		t.Errorf("listed %v after a removal, want two referrers", want)
	}
	if n := server.empty(t, bucket, "plimsoll/"); n != 2 || len(list()) != 0 {
		t.Fatalf("the index had %d entries, and %d referrers are listed without it", n, len(list()))
	}
	report, err := reg.Rebuild(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(registry.RebuildReport{Repositories: 1, Manifests: 3, Referrers: 2}, report); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, list()); diff != "" {
		t.Error(diff)
	}
}

// s3Collect: an object store is collected by age alone.
func s3Collect(t *testing.T, server *s3Server) {
	bucket := server.bucket(t, "collect")
	reg := open(t, registry.Options{Config: server.config(t, bucket)})
	kept, gone := image(t, 4096, 2), image(t, 4096, 3)
	write(t, reg, "store.local/a:kept", kept)
	write(t, reg, "store.local/a:sbom", referrerOf(t, kept, "application/spdx+json", "the sbom"))
	loose := write(t, reg, "store.local/a:gone", gone)
	for _, tag := range []string{"sbom", "gone"} {
		if err := reg.Remove(context.Background(), "a", tag); err != nil {
			t.Fatal(err)
		}
	}
	if got := status(t, reg, http.MethodPost, "/v2/a/blobs/uploads/"); got != http.StatusAccepted {
		t.Fatalf("an upload is answered with %d", got)
	}
	if _, err := reg.Collect(context.Background(), registry.CollectOptions{Grace: time.Minute}); fault.KindOf(err) != fault.Usage || fault.HintOf(err) == "" {
		t.Errorf("a grace of a minute gives %v, want a usage fault with a hint", err)
	}
	server.age(t, bucket, 50*time.Minute)
	spared := registry.CollectReport{Repositories: 1, Kept: 12}
	if diff := cmp.Diff(spared, collect(t, reg, registry.CollectOptions{Untagged: true})); diff != "" {
		t.Errorf("within the grace: %s", diff)
	}
	server.age(t, bucket, 25*time.Hour)
	young := image(t, 4096, 1)
	layers, err := young.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteLayer(ref(t, "store.local/a:x").Context(), layers[0], remote.WithTransport(reg.Transport())); err != nil {
		t.Fatal(err)
	}
	dry := collect(t, reg, registry.CollectOptions{Untagged: true, DryRun: true})
	report := collect(t, reg, registry.CollectOptions{Untagged: true})
	dry.DryRun = false
	if diff := cmp.Diff(dry, report); diff != "" {
		t.Errorf("a dry run told another story: %s", diff)
	}
	report.Bytes = 0
	want := registry.CollectReport{Repositories: 1, Kept: 7, Manifests: 1, Blobs: 5, Links: 4, Uploads: 1}
	if diff := cmp.Diff(want, report); diff != "" {
		t.Error(diff)
	}
	if got := status(t, reg, http.MethodGet, "/v2/a/manifests/"+loose); got != http.StatusNotFound {
		t.Errorf("a collected image answers %d", got)
	}
	if err := pull(reg, ref(t, "store.local/a:kept")); err != nil {
		t.Error(err)
	}
	write(t, reg, "store.local/a:back", gone)
	write(t, reg, "store.local/a:young", young)
	for _, tag := range []string{"back", "young"} {
		if err := pull(reg, ref(t, "store.local/a:"+tag)); err != nil {
			t.Error(err)
		}
	}
}

// s3Leases: what a client was told is there, or has just named in a manifest, is young
// again for a collection on another machine.
func s3Leases(t *testing.T, server *s3Server) {
	bucket := server.bucket(t, "leases")
	config := server.config(t, bucket)
	pusher, collector := open(t, registry.Options{Config: config}), open(t, registry.Options{Config: config})
	reader := open(t, registry.Options{Config: config, ReadOnly: true})
	asked, named := image(t, 1024, 2), image(t, 1024, 1)
	forget := func(img v1.Image) {
		t.Helper()
		d, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if err := pusher.Remove(context.Background(), "a", d.String()); err != nil {
			t.Fatal(err)
		}
	}
	for _, img := range []v1.Image{asked, named} {
		write(t, pusher, "store.local/a:v1", img)
		forget(img)
	}
	server.age(t, bucket, 2*time.Hour)
	layers, err := asked.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for i, reg := range []*registry.Registry{pusher, reader} {
		d, err := layers[i].Digest()
		if err != nil {
			t.Fatal(err)
		}
		if got := status(t, reg, http.MethodHead, "/v2/a/blobs/"+d.String()); got != http.StatusOK {
			t.Fatalf("a layer answers %d", got)
		}
	}
	manifest, err := named.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: pusher.Transport()}
	if resp := do(t, client, http.MethodPut, "http://store.local/v2/a/manifests/v1", ociManifest, manifest); resp.StatusCode != http.StatusCreated {
		t.Fatalf("the manifest is answered with %s", resp.Status)
	}
	forget(named)
	removed := func() []int {
		report := collect(t, collector, registry.CollectOptions{Untagged: true})
		return []int{report.Blobs, report.Links}
	}
	// The asked image's manifest, configuration and the layer that a read-only registry
	// was asked for; all else is leased or was just written.
	if diff := cmp.Diff([]int{3, 2}, removed()); diff != "" {
		t.Errorf("removed blobs and links: %s", diff)
	}
	server.age(t, bucket, 2*time.Hour)
	if diff := cmp.Diff([]int{4, 3}, removed()); diff != "" {
		t.Errorf("removed blobs and links when the leases were over: %s", diff)
	}
	if n := server.empty(t, bucket, "plimsoll/leases/"); n != 0 {
		t.Errorf("%d leases are left", n)
	}
}

// s3Uploads: one server ends the upload that another began, when they share the secret.
func s3Uploads(t *testing.T, server *s3Server) {
	config := server.config(t, server.bucket(t, "uploads"))
	var bases [2]string
	for i := range bases {
		bases[i] = "http://" + serve(t, open(t, registry.Options{Config: config}), registry.ServeOptions{})
	}
	resp := do(t, http.DefaultClient, http.MethodPost, bases[0]+"/v2/a/blobs/uploads/", "", nil)
	parts := [][]byte{bytes.Repeat([]byte("a"), 6<<20), []byte("the rest")}
	for i, part := range parts {
		resp = do(t, http.DefaultClient, http.MethodPatch, bases[i]+resp.Header.Get("Location"), "application/octet-stream", part)
		if resp.StatusCode != http.StatusAccepted {
			t.Fatalf("part %d is answered with %s", i, resp.Status)
		}
	}
	d := digest.FromBytes(bytes.Join(parts, nil))
	resp = do(t, http.DefaultClient, http.MethodPut, bases[0]+resp.Header.Get("Location")+"&digest="+d.String(), "application/octet-stream", nil)
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("the end is answered with %s", resp.Status)
	}
	resp = do(t, http.DefaultClient, http.MethodHead, bases[1]+"/v2/a/blobs/"+d.String(), "", nil)
	if resp.StatusCode != http.StatusOK || resp.ContentLength != int64(len(parts[0])+len(parts[1])) {
		t.Errorf("the blob is answered with %s and %d bytes", resp.Status, resp.ContentLength)
	}
}

// s3Kills: a killed server leaves a bucket whole.
func s3Kills(t *testing.T, server *s3Server) {
	config, locks := server.config(t, server.bucket(t, "kills")), t.TempDir()
	killUnderLoad(t, 15, 700*time.Millisecond, func() (string, *exec.Cmd) { return child(t, locks, "", childConfig+"="+config) })
}

// s3Faults: what is wrong with a configuration is told when the registry opens, with a
// hint, and without the secret.
func s3Faults(t *testing.T, server *s3Server) {
	bucket := server.bucket(t, "faults")
	config := func(access, secret, addr, bucket string) string {
		return fmt.Sprintf(s3Config, access, secret, s3Region, addr, bucket)
	}
	const secret = "SESAME-open-barley"
	good := config(s3Access, secret, server.addr, bucket)
	for _, c := range []struct {
		name, config string
		want         fault.Kind
		hint         string
	}{
		{"wrong secret", good, fault.Failed, "secretkey"},
		{"unknown account", config("stowaway", secret, server.addr, bucket), fault.Failed, "accesskey"},
		{"no such bucket", strings.ReplaceAll(config(s3Access, s3Secret, server.addr, "no-such-bucket"), "one-of-all-servers", secret), fault.NotFound, "make the bucket"},
		{"nobody there", config(s3Access, secret, freeAddr(t), bucket), fault.Unavailable, "regionendpoint"},
		{"no bucket named", strings.Replace(good, "bucket: faults", "", 1), fault.Failed, "storage section"},
		{"unknown driver", strings.Replace(good, "  s3:", "  s33:", 1), fault.Failed, "storage section"},
		{"secret in the wrong place", "version: 0.1\nstorage:\n  s3: " + secret + "\n", fault.Usage, "storage:"},
		{"secret beside the driver", "version: 0.1\nstorage:\n  s3:\n  secretkey: " + secret + "\n", fault.Usage, "storage:"},
		{"not YAML", strings.Replace(good, secret, `"`+secret, 1), fault.Usage, "storage:"},
		{"secret in the place of a section", "version: 0.1\nhttp: " + secret[:9] + "\nstorage:\n  s3:\n", fault.Usage, "storage:"},
		{"secret that is a list", strings.Replace(good, "secret: one-of-all-servers", "secret: ["+secret+"]", 1), fault.Usage, "storage:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			reg, err := registry.Open(context.Background(), registry.Options{Config: writeConfig(t, c.config), Logger: logger})
			if err == nil {
				reg.Close()
				t.Fatal("it opened")
			}
			t.Log(err, "hint:", fault.HintOf(err))
			if fault.KindOf(err) != c.want || !strings.Contains(fault.HintOf(err), c.hint) {
				t.Errorf("kind %v and hint %q, want %v and %q: %v", fault.KindOf(err), fault.HintOf(err), c.want, c.hint, err)
			}
			for _, secret := range []string{secret[:6], s3Secret} {
				if told := fmt.Sprintf("%v %+v %s", err, err, log.String()); strings.Contains(told, secret) {
					t.Errorf("the secret is told: %s", told)
				}
			}
		})
	}
}

// s3LostBucket: a store that goes away under a server is the server's fault to clients,
// and neither they nor the log are told the secret.
func s3LostBucket(t *testing.T, server *s3Server) {
	bucket := server.bucket(t, "lost")
	var log bytes.Buffer
	reg := open(t, registry.Options{
		Config: server.config(t, bucket),
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	write(t, reg, "store.local/a:v1", image(t, 64, 1))
	if err := os.RemoveAll(filepath.Join(server.folder, bucket)); err != nil {
		t.Fatal(err)
	}
	for _, request := range []string{"GET /v2/a/manifests/v1", "GET /v2/a/tags/list", "POST /v2/a/blobs/uploads/"} {
		method, path, _ := strings.Cut(request, " ")
		if got := status(t, reg, method, path); got < 500 {
			t.Errorf("%s answers %d", request, got)
		}
	}
	_, err := reg.List(context.Background())
	if fault.KindOf(err) != fault.NotFound || !strings.Contains(fault.HintOf(err), "make the bucket") {
		t.Errorf("a listing gives %v, hint %q", err, fault.HintOf(err))
	}
	if log.Len() == 0 || strings.Contains(log.String(), s3Secret) {
		t.Errorf("the log says %q", log.String())
	}
}

func s3Conformance(t *testing.T, server *s3Server) {
	suite := buildPinned(t, "conformance", conformanceSuite)
	for _, version := range []string{"1.1", "dev"} {
		t.Run(version, func(t *testing.T) {
			bucket := server.bucket(t, "conformance-"+version)
			conform(t, open(t, registry.Options{Config: server.config(t, bucket)}), suite, version)
		})
	}
}
