package mirror

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/manifest"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

// project is one that stands for repositories outside.
type project struct {
	name    string
	source  string // host, with a path where there is one
	spec    v1alpha1.RegistryProxy
	allow   []*regexp.Regexp
	ttl     time.Duration
	limit   int64
	closed  bool // nothing is taken in
	session *oci.Session
	slots   chan struct{} // taken by images on their way
}

const defaultTTL = 10 * time.Minute

// Check gives the first problem of what the settings say of proxies.
func Check(s *settings.Settings) *manifest.Problem {
	for i, p := range s.Projects {
		if p.Proxy == nil {
			continue
		}
		if ref, err := oci.Parse(p.Name); err != nil || !ref.IsLocal() {
			return manifest.Bad(fmt.Sprintf("spec.projects[%d].name", i), fmt.Sprintf("%q reads as the host of another registry: a proxy's first part may have no dot", p.Name))
		}
		if _, problem := readProxy(p.Name, *p.Proxy, s.Folder); problem != nil {
			problem.Field = fmt.Sprintf("spec.projects[%d].proxy.%s", i, problem.Field)
			return problem
		}
	}
	return nil
}

func readProxy(name string, spec v1alpha1.RegistryProxy, folder string) (*project, *manifest.Problem) {
	p := &project{name: name, source: strings.TrimSuffix(spec.Source, "/"), ttl: defaultTTL, slots: make(chan struct{}, imagesAtOnce)}
	if _, problem := readUpstream("source", p.source+"/x"); problem != nil || strings.Contains(p.source, "@") {
		return nil, manifest.Bad("source", fmt.Sprintf(`want a registry's host, with a path if need be, as "registry.example.com/team", got %q`, spec.Source))
	}
	for i, pattern := range spec.Allow {
		compiled, err := pathPattern(pattern)
		if err != nil {
			return nil, manifest.Bad(fmt.Sprintf("allow[%d]", i), err.Error())
		}
		p.allow = append(p.allow, compiled)
	}
	if spec.TTL != "" {
		ttl, err := settings.Period(spec.TTL)
		if err != nil {
			return nil, manifest.Bad("ttl", err.Error())
		}
		p.ttl = ttl
	}
	var problem *manifest.Problem
	if p.limit, problem = readBytes("bytes", spec.Bytes); problem != nil {
		return nil, problem
	}
	p.spec = *copyProxy(spec)
	return p, rebase(folder, p.spec.Credentials, p.spec.Verify)
}

// copyProxy gives one of its own to whoever changes paths in it.
func copyProxy(spec v1alpha1.RegistryProxy) *v1alpha1.RegistryProxy {
	if spec.Credentials != nil {
		login := *spec.Credentials
		spec.Credentials = &login
	}
	if spec.Verify != nil {
		verify := *spec.Verify
		verify.Keys = append([]string(nil), verify.Keys...)
		verify.AttestationKeys = append([]string(nil), verify.AttestationKeys...)
		spec.Verify = &verify
	}
	return &spec
}

// pathPattern compiles a pattern of paths: "*" is a part of one segment, "**" any number of them.
func pathPattern(text string) (*regexp.Regexp, error) {
	if text == "" || len(text) > 255 {
		return nil, errors.New(`want a pattern such as "library/*" or "team/**"`)
	}
	var b strings.Builder
	b.WriteString("^")
	for segment := range strings.SplitSeq(text, "/") {
		switch {
		case segment == "**":
			b.WriteString("(?:[^/]+/)*")
			continue
		case segment == "" || strings.Contains(segment, "**"):
			return nil, fmt.Errorf(`want a pattern such as "library/*" or "team/**", got %q`, text)
		}
		b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(segment), `\*`, "[^/]*") + "/")
	}
	return regexp.Compile(b.String() + "$")
}

// of gives the repository outside that one of the project stands for, if it may be taken in.
func (p *project) of(repository string) (oci.Reference, error) {
	below := strings.TrimPrefix(strings.TrimPrefix(repository, p.name), "/")
	source := strings.TrimSuffix(p.source+"/"+below, "/")
	allowed := !p.closed && len(p.allow) == 0
	for _, pattern := range p.allow {
		allowed = allowed || pattern.MatchString(below+"/")
	}
	if !allowed {
		return oci.Reference{}, fault.Newf(fault.Denied, "take in", repository, "the project's proxy does not allow it")
	}
	ref, err := oci.Parse(source)
	if err != nil || ref.IsLocal() {
		return ref, fault.Newf(fault.NotFound, "take in", repository, p.source+" has no repository of that name")
	}
	return ref, nil
}

// project gives the one that a repository belongs to, if it stands for another registry.
func (p *Proxy) project(repository string) *project {
	now := p.settings.Now()
	if now == nil {
		return nil
	}
	owner := now.ProjectOf(repository)
	if owner == nil || owner.Proxy == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of != now {
		p.of, p.projects = now, map[string]*project{}
		clear(p.sightings)
	}
	known := p.projects[owner.Name]
	if known == nil {
		made, problem := readProxy(owner.Name, *owner.Proxy, now.Folder)
		if problem != nil { // Check was not among the checks of the settings
			p.mirror.log.Error("proxy is not set up rightly", "project", owner.Name, "error", problem)
			return &project{name: owner.Name, source: owner.Proxy.Source, closed: true, slots: make(chan struct{}, 1)}
		}
		ref, _ := readUpstream("source", made.source+"/x") // readProxy did, too
		made.session = p.mirror.session(ref, made.spec.Credentials)
		known, p.projects[owner.Name] = made, made
	}
	return known
}
