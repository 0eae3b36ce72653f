// Package artifact holds the nouns that rooms hand to each other: immutable values without
// I/O, each known by its digest.
package artifact

import (
	"strings"
	"time"
)

// SourceKind says where a Source came from.
type SourceKind string

// The kinds of sources.
const (
	DirectorySource SourceKind = "directory"
	GitSource       SourceKind = "git"
	ArchiveSource   SourceKind = "archive"
	ImageSource     SourceKind = "image" // an OCI image or artifact whose layers hold the tree
)

// Source is a tree of source code, known by the digest of its content. None of its fields
// holds a credential.
type Source struct {
	Kind SourceKind `json:"kind"`

	// Location is where the tree was read: an absolute path, a git URL, an archive's path
	// or URL without its query, or "oci://REF" without tag and digest.
	Location string `json:"location"`

	// Origin is the URL of the remote that a directory in a git work tree was cloned from;
	// "" when there is none.
	Origin string `json:"origin,omitempty"`

	// Ref is the branch, tag or commit that was asked for; "" is the remote's default. For
	// a directory it is the branch that is checked out.
	Ref string `json:"ref,omitempty"`

	// Revision is exact: a commit's id in full, or "sha256:" and the digest of an archive's
	// file or of an image's manifest. "" for a directory that is in no git work tree.
	Revision string `json:"revision,omitempty"`

	// Subpath is the folder that was taken, relative to the top of what Revision names;
	// "" is the top itself.
	Subpath string `json:"subpath,omitempty"`

	// Clean says that every file is in Revision as it is here. Files may be left out.
	Clean bool `json:"clean"`

	// Time is the commit's, as its committer's clock had it; zero when there is no commit.
	Time time.Time `json:"time,omitzero"`

	// Digest is "sha256:" and the hash of a listing of the tree; docs/sources.md says which.
	Digest string `json:"digest"`
}

// URL gives the address that tells others where the source is from: never a path of this
// machine. "" when there is none.
func (s Source) URL() string {
	switch {
	case s.Kind == DirectorySource:
		return s.Origin
	case strings.HasPrefix(s.Location, "/"), strings.HasPrefix(s.Location, "file:"):
		return ""
	}
	return s.Location
}
