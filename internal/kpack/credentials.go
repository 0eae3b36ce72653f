package kpack

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// account is what a ServiceAccount of the input lists.
type account struct{ secrets, pull []string }

func newAccount(r *resource) *account {
	var a corev1.ServiceAccount
	out := &account{}
	if err := into(r.plain, &a); err != nil {
		return out // its own kind of reader complains, when it is applied
	}
	for _, s := range a.Secrets {
		out.secrets = append(out.secrets, s.Name)
	}
	for _, s := range a.ImagePullSecrets {
		out.pull = append(out.pull, s.Name)
	}
	return out
}

// wantListed tells of a secret that the service account does not list: here a build reads no other.
func (f *fields) wantListed(field, secret, name string) {
	a := f.c.accounts[f.r.namespace+"/"+orDefault(name)]
	if a == nil || !slices.Contains(a.secrets, secret) {
		f.note(field, "list secret %q in secrets of service account %q: a build reads no other", secret, orDefault(name))
	}
}

// noteCredentials tells what to change in logins that kpack finds by its own annotations.
func (c *conversion) noteCredentials(r *resource) {
	if r.group != "v1" {
		return
	}
	if a := c.accounts[r.namespace+"/"+r.name]; r.kind == "ServiceAccount" && a != nil && len(a.secrets) > 0 && len(a.pull) == 0 {
		c.note(r, "secrets", "logins of registries are read from imagePullSecrets: list those secrets there, too")
	}
	if r.kind != "Secret" {
		return
	}
	metadata, _ := r.plain["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	for name, what := range map[string]string{
		"kpack.io/git":    "add the annotation plimsoll.dev/git with the same value, beside this one",
		"kpack.io/docker": "make a secret of type kubernetes.io/dockerconfigjson of it: kubectl create secret docker-registry",
		"kpack.io/blob":   "add the annotation plimsoll.dev/git with the address of the server, beside this one",
	} {
		if _, found := annotations[name]; found {
			c.note(r, "metadata.annotations", "%s: %s", name, what)
		}
	}
	if _, cosign := fieldsIn(r.plain, "data", "stringData")["cosign.key"]; cosign {
		c.note(r, "", "it is a key of cosign's: images are signed with the keys of the controllers, docs/keys.md tells how to use this one")
	}
}

// fieldsIn gives what several mappings hold together.
func fieldsIn(plain map[string]any, names ...string) map[string]any {
	out := map[string]any{}
	for _, name := range names {
		m, _ := plain[name].(map[string]any)
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}
