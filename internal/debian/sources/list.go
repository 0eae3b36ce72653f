package sources

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"pault.ag/go/debian/version"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/cache"
	"plimsoll.dev/plimsoll/internal/debian/archive"
	"plimsoll.dev/plimsoll/internal/debian/index"
	"plimsoll.dev/plimsoll/internal/fault"
)

// listed is a version of a source package in a Sources index, as it is kept.
type listed struct {
	Name, Version string
	DSC           string // SHA-256
	Path          string // of the file that holds debian/changelog; "" where that is a patch of format 1.0
	SHA256        string
	Size          int64
}

// listed gives the source packages of the suite's component that may have been fixed since
// the release.
func (a *Archive) listed(ctx context.Context, suite archive.Suite, component string) ([]*source, error) {
	kept := filepath.Join(a.options.Cache, "sources", a.signed.Release(suite.Name).Files[sourceIndex(component)].SHA256)
	var list []listed
	cache.Used(kept)
	if text, ok := aside.ReadSealed(kept); !ok || json.Unmarshal(text, &list) != nil {
		list = nil
		err := a.signed.Sources(ctx, suite.Name, component, func(plain io.Reader) (err error) {
			list, err = parseSources(ctx, plain, strings.HasSuffix(suite.Name, "-security") || strings.HasSuffix(suite.Name, "-updates"))
			return err
		})
		if err != nil {
			return nil, err
		}
		text, err := json.Marshal(list)
		if err != nil {
			return nil, err
		}
		if err := aside.WriteSealed(kept, text); err != nil {
			return nil, fault.New(fault.Failed, "keep sources", kept, err)
		}
	}
	all := make([]*source, len(list))
	for i, l := range list {
		all[i] = &source{name: l.Name, version: l.Version, sum: l.DSC}
		if l.Path != "" {
			all[i].places = []place{{suite.Mirror, l.Path, archive.File{SHA256: l.SHA256, Size: l.Size}, ""}}
		}
	}
	return all, nil
}

// updated matches versions of updates to a stable release (Debian Developer's Reference,
// section 5.11.2: "Stable updates" and "Security uploads").
var updated = regexp.MustCompile(`deb[0-9]+u[0-9]+`)

// parseSources reads a Sources index. all takes every source package; else those whose
// version says that it is an update. Extra-Source-Only ones are superseded: they are there
// for the licences of what was built with them.
func parseSources(ctx context.Context, plain io.Reader, all bool) ([]listed, error) {
	var list []listed
	for field, err := range index.Stanzas(plain) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		if field("Extra-Source-Only") == "yes" || !all && !updated.MatchString(field("Version")) {
			continue
		}
		l, err := newListed(field)
		if err != nil {
			return nil, fmt.Errorf("source package %.60q: %w", field("Package"), err)
		}
		list = append(list, l)
	}
	return list, nil
}

var (
	namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]{1,127}$`) // Debian Policy 5.6.1
	filePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+.~_:%-]{0,254}$`)
	sumPattern  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

func newListed(field func(string) string) (listed, error) {
	l := listed{Name: strings.Clone(field("Package")), Version: strings.Clone(field("Version"))}
	if !namePattern.MatchString(l.Name) {
		return l, errors.New("it is no name")
	}
	if _, err := version.Parse(l.Version); err != nil {
		return l, fmt.Errorf("field Version: %.60q: %w", l.Version, err)
	}
	folder := field("Directory")
	if folder != path.Clean(folder) || path.IsAbs(folder) || strings.HasPrefix(folder, "..") {
		return l, fmt.Errorf("field Directory: %.60q is no folder of an archive", folder)
	}
	for line := range strings.Lines(field("Checksums-Sha256")) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) != 3 || !sumPattern.MatchString(words[0]) || !filePattern.MatchString(words[2]) {
			return l, fmt.Errorf("field Checksums-Sha256: %.80q is no line of it", strings.TrimSpace(line))
		}
		size, err := strconv.ParseInt(words[1], 10, 64)
		if err != nil || size < 0 {
			return l, fmt.Errorf("field Checksums-Sha256: %.60q is no size", words[1])
		}
		switch {
		case strings.HasSuffix(words[2], ".dsc"):
			l.DSC = strings.Clone(words[0])
		case holdsChangelog(words[2]):
			l.Path, l.SHA256, l.Size = path.Join(folder, words[2]), strings.Clone(words[0]), size
		}
	}
	if l.DSC == "" {
		return l, errors.New("field Checksums-Sha256: no .dsc")
	}
	return l, nil
}

// holdsChangelog tells the part of a source package that has debian/changelog as a file:
// the packaging of format 3.0 (quilt), or the whole of a native package (dpkg-source(1)).
func holdsChangelog(name string) bool {
	base, suffix, found := strings.Cut(name, ".tar.")
	return found && (suffix == "xz" || suffix == "gz") && !strings.HasSuffix(base, ".orig") && !strings.Contains(base, ".orig-")
}
