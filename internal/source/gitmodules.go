package source

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
)

const maxModules = 8 // submodules in submodules

// unpackModules fetches the submodules of the folder at of the commit and puts their files
// below under. As for git, one whose URL nothing names is left out, and so is one with
// "update = none".
func (r *repository) unpackModules(ctx context.Context, modules []object, at, under string, depth int) error {
	if len(modules) == 0 {
		return nil
	}
	if depth == maxModules {
		return r.job.tree.refuse(path.Join(under, modules[0].name), fmt.Sprintf("it is a submodule in %d others", depth))
	}
	out, err := r.git.output(ctx, "config", "--blob", r.commit+":.gitmodules", "--list", "-z")
	if err != nil {
		return nil // there is no such file
	}
	urls := moduleURLs(string(out))
	for _, m := range modules {
		address := urls[path.Join(at, m.name)]
		if address == "" {
			continue
		}
		where := path.Join(under, m.name)
		sub, err := r.module(address, where)
		if err != nil {
			return err
		}
		if err := sub.fetchCommit(ctx, m.id); err != nil {
			return fault.New(fault.KindOf(err), "fetch submodule", where, err)
		}
		if err := sub.unpack(ctx, "", where, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// moduleURLs reads a .gitmodules file that git has listed: URL by path.
func moduleURLs(list string) map[string]string {
	type module struct{ path, url, update string }
	modules := map[string]*module{}
	for item := range strings.SplitSeq(list, "\x00") {
		key, value, _ := strings.Cut(item, "\n")
		rest, ok := strings.CutPrefix(key, "submodule.")
		cut := strings.LastIndexByte(rest, '.')
		if !ok || cut < 0 {
			continue
		}
		m := modules[rest[:cut]]
		if m == nil {
			m = &module{}
			modules[rest[:cut]] = m
		}
		switch rest[cut+1:] {
		case "path":
			m.path = path.Clean(value)
		case "url":
			m.url = value
		case "update":
			m.update = value
		}
	}
	urls := map[string]string{}
	for _, m := range modules {
		if m.update != "none" {
			urls[m.path] = m.url
		}
	}
	return urls
}

// module gives the repository of a submodule. Its address is a stranger's: it may use the
// transports that are safe, and those that the user named for the outermost one.
func (r *repository) module(address, where string) (*repository, error) {
	if strings.HasPrefix(address, "./") || strings.HasPrefix(address, "../") {
		absolute, ok := relativeURL(r.url, address)
		if !ok {
			return nil, r.job.tree.refuse(where, "its URL as a submodule leads above its host")
		}
		address = absolute
	}
	p, err := parse(address)
	switch {
	case err != nil:
		return nil, r.job.tree.refuse(where, "its URL as a submodule is none that is used: "+err.Error())
	case p.login != nil:
		return nil, r.job.tree.refuse(where, "its URL as a submodule holds a login")
	case p.kind == artifact.ArchiveSource && p.scheme == "https": // a repository named "x.tar"
	case p.kind != artifact.GitSource || strings.Contains(address, "#"):
		return nil, r.job.tree.refuse(where, "its URL as a submodule is not git's")
	case p.scheme != "https" && p.scheme != "ssh" && p.scheme != r.scheme:
		return nil, r.job.tree.refuse(where, "as a submodule it may not be fetched by "+p.scheme)
	}
	sub := &repository{git: r.git, url: p.at, scheme: r.scheme, job: r.job}
	r.job.modules++
	sub.git.dir = filepath.Join(r.job.staging, "module-"+strconv.Itoa(r.job.modules))
	return sub, nil
}

// relativeURL resolves a submodule's URL as gitmodules(5) says: each "../" takes one folder
// off the URL of the repository that it is in. ok is false when there is none to take off.
func relativeURL(base, address string) (absolute string, ok bool) {
	head, folders := "", strings.TrimSuffix(base, "/")
	if m := schemed.FindString(base); m != "" {
		host, rest, _ := strings.Cut(folders[len(m):], "/")
		head, folders = m+host+"/", rest
	} else if host, rest, scp := strings.Cut(folders, ":"); scp {
		head, folders = host+":", rest
	}
	for {
		if rest, same := strings.CutPrefix(address, "./"); same {
			address = rest
			continue
		}
		rest, up := strings.CutPrefix(address, "../")
		if !up {
			return head + strings.TrimPrefix(folders+"/"+address, "/"), true
		}
		if folders == "" {
			return "", false
		}
		address = rest
		folders = folders[:max(0, strings.LastIndexByte(folders, '/'))]
	}
}
