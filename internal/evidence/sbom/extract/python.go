package extract

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/google/osv-scalibr/extractor/filesystem/language/python/wheelegg"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/license"
)

// python reads the metadata of installed wheels and eggs (Python packaging specifications,
// "Core metadata"), and the list of a wheel's files ("Recording installed projects").
func python() Extractor {
	read := scalibr(wheelegg.New)
	return Extractor{
		Name: "python", Limit: 16 * mib,
		Wants: func(p string, _ fs.FileMode) bool {
			return isPythonMetadata(p) || strings.HasSuffix(p, ".dist-info/RECORD")
		},
		Read: func(ctx context.Context, f File) (Found, error) {
			if path.Base(f.Path) == "RECORD" {
				return pythonRecord(f)
			}
			list, err := read(ctx, f)
			if err != nil || len(list) == 0 {
				return Found{}, err
			}
			text, err := f.Text()
			found := Found{Owns: []Owned{{Path: f.Path}}}
			if dir := path.Dir(f.Path); strings.HasSuffix(dir, "-info") || path.Base(dir) == "EGG-INFO" {
				found.Owns[0] = Owned{Path: dir, Folder: true}
			}
			found.Packages = []artifact.Package{pythonPackage(list[0].Name, list[0].Version, text)}
			return found, err
		},
	}
}

func isPythonMetadata(p string) bool {
	for _, suffix := range []string{".dist-info/METADATA", ".egg-info/PKG-INFO", "EGG-INFO/PKG-INFO", ".egg-info"} {
		if strings.HasSuffix(p, suffix) {
			return true
		}
	}
	return false
}

// egg reads the metadata in an egg that is one zip file.
func egg() Extractor {
	metadata := python()
	return Extractor{
		Name: "python egg", Limit: 256 * mib,
		Wants: func(p string, _ fs.FileMode) bool { return strings.HasSuffix(p, ".egg") },
		Read: func(ctx context.Context, f File) (Found, error) {
			archive, err := openZip(f.Body, f.Size)
			if err != nil {
				return Found{}, err
			}
			for _, member := range archive.File {
				if member.Name != "EGG-INFO/PKG-INFO" {
					continue
				}
				text, err := inflate(member, mib)
				if err != nil {
					return Found{}, err
				}
				inner := File{Path: member.Name, Size: int64(len(text)), Body: bytes.NewReader(text)}
				found, err := metadata.Read(ctx, inner)
				found.Owns = []Owned{{Path: f.Path}}
				return found, err
			}
			return Found{}, nil
		},
	}
}

// pythonPackage completes the package by the headers of its metadata. The name is the one
// that package URLs and indexes use: in lower case, without underscores.
func pythonPackage(name, version string, text []byte) artifact.Package {
	p := artifact.Package{Type: "pypi", Name: strings.ReplaceAll(strings.ToLower(name), "_", "-"), Version: version}
	var classifiers []string
	for line := range bytes.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimRight(string(line), "\r\n"), ":")
		if !ok && strings.TrimSpace(key) == "" {
			break // the long description follows
		}
		value = strings.TrimSpace(value)
		switch key {
		case "License-Expression":
			p.Licenses = licensesOf(value)
		case "License":
			if p.Licenses == nil && value != "UNKNOWN" {
				p.Licenses = licensesOf(value)
			}
		case "Classifier":
			if l := classified(value); l != "" {
				classifiers = append(classifiers, l)
			}
		case "Author", "Author-email":
			if p.Supplier == "" && value != "UNKNOWN" {
				p.Supplier = value
			}
		}
	}
	// Many fill the field License with the text, or with a word; a classifier is exact.
	if len(classifiers) > 0 && (len(p.Licenses) != 1 || !isExpression(p.Licenses[0])) {
		slices.Sort(classifiers)
		p.Licenses = slices.Compact(classifiers)
	}
	return p
}

func isExpression(text string) bool {
	_, ok := license.Expression(text)
	return ok
}

// classified gives the SPDX identifier of a licence classifier (PyPI's list) that means
// exactly one.
func classified(classifier string) string {
	switch classifier {
	case "License :: OSI Approved :: MIT License":
		return "MIT"
	case "License :: OSI Approved :: MIT No Attribution License (MIT-0)":
		return "MIT-0"
	case "License :: OSI Approved :: ISC License (ISCL)":
		return "ISC"
	case "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)":
		return "MPL-2.0"
	case "License :: OSI Approved :: GNU General Public License v2 (GPLv2)":
		return "GPL-2.0-only"
	case "License :: OSI Approved :: GNU General Public License v2 or later (GPLv2+)":
		return "GPL-2.0-or-later"
	case "License :: OSI Approved :: GNU General Public License v3 (GPLv3)":
		return "GPL-3.0-only"
	case "License :: OSI Approved :: GNU General Public License v3 or later (GPLv3+)":
		return "GPL-3.0-or-later"
	case "License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)":
		return "LGPL-3.0-only"
	case "License :: OSI Approved :: GNU Lesser General Public License v3 or later (LGPLv3+)":
		return "LGPL-3.0-or-later"
	case "License :: OSI Approved :: The Unlicense (Unlicense)":
		return "Unlicense"
	}
	return ""
}

// pythonRecord gives the files of a wheel: its RECORD's first column, relative to the
// folder that holds the dist-info.
func pythonRecord(f File) (Found, error) {
	root := path.Dir(path.Dir(f.Path))
	lines := csv.NewReader(f.Reader())
	lines.FieldsPerRecord, lines.LazyQuotes, lines.ReuseRecord = -1, true, true
	var found Found
	for {
		fields, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return found, fmt.Errorf("the list of its files: %w", err)
		}
		file := path.Join(root, fields[0])
		if strings.HasPrefix(fields[0], "/") {
			file = path.Clean(fields[0][1:])
		}
		if !strings.HasPrefix(file, "..") {
			found.Owns = append(found.Owns, Owned{Path: file})
		}
	}
}

// maxMembers bounds the entries of a zip archive.
const maxMembers = 200_000

// openZip reads the directory of a zip archive.
func openZip(body io.ReaderAt, size int64) (*zip.Reader, error) {
	archive, err := zip.NewReader(body, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // nothing is unpacked by name
		return nil, err
	}
	if len(archive.File) > maxMembers {
		return nil, fmt.Errorf("it has more than %d entries", maxMembers)
	}
	return archive, nil
}

// inflate gives the bytes of a member that has at most limit of them, whatever it says of
// itself.
func inflate(member *zip.File, limit int64) ([]byte, error) {
	r, err := member.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var text bytes.Buffer
	if n, err := io.Copy(&text, io.LimitReader(r, limit+1)); err != nil || n > limit {
		if err == nil {
			err = fmt.Errorf("%q unpacks to more than %d bytes", member.Name, limit)
		}
		return nil, err
	}
	return text.Bytes(), nil
}
