package kpack

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

// maxName bounds an Image's name, which stands in the labels of its Builds.
const maxName = 52

// image converts an Image of kpack's (kpack.io/v1alpha2 and v1alpha1, ImageSpec).
func (c *conversion) image(r *resource) error {
	f := c.fieldsOf(r)
	spec := v1alpha1.ImageSpec{Tag: f.text("tag"), Builder: v1alpha1.ClusterReference{Name: builderOf(f)}}
	f.as("additionalTags", &spec.AdditionalTags)
	spec.TaggingStrategy = v1alpha1.TaggingBuildNumber // what kpack takes for granted
	f.as("imageTaggingStrategy", &spec.TaggingStrategy)
	spec.ServiceAccountName = f.text("serviceAccountName")
	if old := f.text("serviceAccount"); spec.ServiceAccountName == "" { // of v1alpha1
		spec.ServiceAccountName = old
	}
	spec.Source = source(f, spec.ServiceAccountName)
	spec.Cache = cache(f)
	spec.History = history(f)
	spec.Build = build(f, spec.ServiceAccountName)
	spec.Build.Process = f.text("defaultProcess")
	if file := f.text("projectDescriptorPath"); file != "" && path.Clean(file) != "project.toml" {
		f.note("projectDescriptorPath", "the file is read as project.toml of the folder that is built: move %q there", file)
	}
	f.drop("cosign", "images are signed with the keys of the controllers, with all their evidence: docs/signing.md")
	f.drop("notary", "images are signed with the keys of the controllers, with all their evidence: docs/signing.md")
	f.rest()
	if len(r.name) > maxName {
		c.note(r, "metadata.name", "want at most %d letters: give it another name", maxName)
	}
	return c.write(r, v1alpha1.ImageKind, r.namespace, r.name, spec)
}

// builderOf gives the name that the builder has here.
func builderOf(f *fields) string {
	ref := f.below("builder")
	if ref == nil {
		f.note("builder", "the Image names no builder: say which")
		return ""
	}
	defer ref.rest()
	kind, name, namespace := ref.text("kind"), ref.text("name"), ref.text("namespace")
	ref.text("apiVersion")
	if kind != "Builder" {
		return name
	}
	if namespace == "" {
		namespace = f.r.namespace
	}
	return clusterWide(namespace, name)
}

// clusterWide is the name that a Builder of a namespace has here, where builders stand in none.
func clusterWide(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "-" + name
}

var withoutColon = regexp.MustCompile(`^(git@[^/:]+)/`)

// source converts a SourceConfig.
func source(f *fields, account string) (s v1alpha1.ImageSource) {
	f = f.below("source")
	if f == nil {
		return s
	}
	defer f.rest()
	if sub := path.Clean("/" + f.text("subPath")); sub != "/" {
		s.Subpath = sub[1:]
	}
	if git := f.below("git"); git != nil {
		defer git.rest()
		// kpack also takes git@host/path.
		url := withoutColon.ReplaceAllString(withoutLogin(git, git.text("url")), "$1:")
		s.Git = &v1alpha1.GitSource{URL: url, Revision: git.text("revision")}
		if strings.HasPrefix(url, "http://") || strings.HasPrefix(url, "git://") {
			git.note("url", "what comes unencrypted proves nothing: name the repository by https or ssh")
		}
		git.flag("initializeSubmodules") // they always come along
	}
	if blob := f.below("blob"); blob != nil {
		defer blob.rest()
		s.Archive = &v1alpha1.ArchiveSource{URL: withoutLogin(blob, blob.text("url"))}
		if n, given := blob.number("stripComponents"); given && n > 1 {
			blob.note("stripComponents", "only a single folder that holds everything is stripped: build the folder below by source.subpath")
		}
		if auth := blob.text("auth"); auth == "helper" {
			blob.note("auth", "logins of the cloud's own service accounts are not used: put a login into a secret that service account %q lists", orDefault(account))
		}
	}
	if registry := f.below("registry"); registry != nil {
		defer registry.rest()
		s.Artifact = &v1alpha1.ArtifactSource{Image: registry.text("image")}
		for _, secret := range registry.list("imagePullSecrets") {
			name := secret.text("name")
			if a := f.c.accounts[f.r.namespace+"/"+orDefault(account)]; a == nil || !slices.Contains(a.pull, name) {
				secret.note("", "list secret %q in imagePullSecrets of service account %q", name, orDefault(account))
			}
			secret.rest()
		}
	}
	return s
}

var login = regexp.MustCompile(`^(https?://)[^/]*@`)

// withoutLogin takes a login out of an address.
func withoutLogin(f *fields, url string) string {
	if !login.MatchString(url) {
		return url
	}
	f.note("url", "the login in the address was left out: put it into a secret that the service account lists")
	return login.ReplaceAllString(url, "$1")
}

// cache converts an ImageCacheConfig, and the cacheSize of v1alpha1.
func cache(f *fields) (out v1alpha1.ImageCache) {
	const kept = "caches need no volume: they are on the machine of the controllers, or in a registry by cache.image"
	f.drop("cacheSize", kept)
	f = f.below("cache")
	if f == nil {
		return out
	}
	defer f.rest()
	f.drop("volume", kept)
	if registry := f.below("registry"); registry != nil {
		out.Image = registry.text("tag")
		registry.rest()
	}
	return out
}

func history(f *fields) (out v1alpha1.ImageHistory) {
	for name, limit := range map[string]*int32{"successBuildHistoryLimit": &out.Succeeded, "failedBuildHistoryLimit": &out.Failed} {
		if n, given := f.number(name); given {
			if *limit = int32(min(max(n, 1), 1000)); int64(*limit) != n {
				f.note(name, "want 1 to 1000: it became %d", *limit)
			}
		}
	}
	return out
}

// build converts an ImageBuild.
func build(f *fields, account string) (out v1alpha1.ImageBuild) {
	f = f.below("build")
	if f == nil {
		return out
	}
	defer f.rest()
	f.as("env", &out.Env)
	for i, variable := range out.Env {
		if from := variable.ValueFrom; from != nil && from.SecretKeyRef != nil {
			f.wantListed(fmt.Sprintf("env[%d]", i), from.SecretKeyRef.Name, account)
		}
	}
	for _, service := range f.list("services") {
		if name, ok := serviceSecret(service); ok {
			out.Bindings = append(out.Bindings, v1alpha1.LocalReference{Name: name})
			f.wantListed(strings.TrimPrefix(service.path, f.path+"."), name, account)
		}
	}
	for _, old := range []string{"cnbBindings", "bindings"} {
		f.drop(old, "bindings are secrets of type service.binding/TYPE with the keys type and provider: make one of each, and list it in build.bindings")
	}
	f.as("resources", &out.Resources)
	f.as("tolerations", &out.Scheduling.Tolerations)
	f.as("nodeSelector", &out.Scheduling.NodeSelector)
	if affinity := (corev1.Affinity{}); f.as("affinity", &affinity) {
		out.Scheduling.Affinity = &affinity
	}
	if class := f.text("runtimeClassName"); class != "" {
		out.Scheduling.RuntimeClassName = &class
	}
	out.Scheduling.SchedulerName = f.text("schedulerName")
	if seconds, given := f.number("buildTimeout"); given {
		kept := min(max(seconds, 60), 7*24*3600)
		if out.Timeout = (&metav1.Duration{Duration: time.Duration(kept) * time.Second}); kept != seconds {
			f.note("buildTimeout", "want a minute to a week: it became %s", out.Timeout.Duration)
		}
	}
	f.drop("creationTime", "images are reproducible: what is built from the same has the same time")
	return out
}

// serviceSecret takes an ObjectReference to a secret of a service binding.
func serviceSecret(f *fields) (name string, ok bool) {
	defer f.rest()
	kind := f.text("kind")
	name = f.text("name")
	f.text("apiVersion")
	if namespace := f.text("namespace"); namespace != "" && namespace != f.r.namespace {
		f.note("namespace", "left out: a binding is a secret of the Image's own namespace")
		return "", false
	}
	if kind != "" && kind != "Secret" {
		f.note("kind", "left out: a binding is a secret: name the one that the %s gives", kind)
		return "", false
	}
	return name, true
}

func orDefault(account string) string {
	if account == "" {
		return "default"
	}
	return account
}
