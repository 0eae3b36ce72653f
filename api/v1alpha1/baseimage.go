package v1alpha1

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BaseImageKind is the kind of BaseImage.
const BaseImageKind = "BaseImage"

// BaseImage declares an approved operating-system base: packages from a signed archive,
// composed without running any of them.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=base,categories=plimsoll
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Digest",type=string,JSONPath=`.status.published.digest`
// +kubebuilder:printcolumn:name="Packages",type=integer,JSONPath=`.status.packages`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type BaseImage struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec BaseImageSpec `json:"spec"`
	// +optional
	Status BaseImageStatus `json:"status,omitempty,omitzero"`
}

// BaseImageList is a list of BaseImages.
//
// +kubebuilder:object:root=true
type BaseImageList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []BaseImage `json:"items"`
}

// BaseImageSpec says what the base holds and how it starts.
type BaseImageSpec struct {
	// Tag is where a control plane publishes the image. Default: the resource's name with the
	// tag "1". `plimsoll base build` is told by -t.
	// +optional
	Tag string `json:"tag,omitempty"`

	// Update says when a control plane looks for newer packages.
	// +optional
	Update Update `json:"update,omitempty,omitzero"`

	Archive Archive `json:"archive"`

	// Architectures, by Debian's names ("amd64", "arm64"). Default: the machine's own.
	Architectures []string `json:"architectures,omitempty"`

	// Packages to install with all they depend on: "openssl", "openssl (>= 3.5)" or
	// "openssl=3.5.1-1". Recommended packages are never installed.
	Packages []string `json:"packages"`

	// Omit names packages that are not installed although others depend on them. Each
	// needs a reason; what was let go for it stands in the lock.
	Omit []Omission `json:"omit,omitempty"`

	// Accept names packages whose maintainer scripts do something that composing does not,
	// where that is known and does not matter. Each needs a reason.
	Accept []Omission `json:"accept,omitempty"`

	Accounts Accounts `json:"accounts,omitempty"`

	// Paths are made, or changed where a package ships them.
	Paths []Path `json:"paths,omitempty"`

	// Exclude drops packaged files by pattern: "*" within a folder, "**" across folders.
	Exclude []string `json:"exclude,omitempty"`

	// Absent is asserted: the build fails when one of these would be in the image.
	Absent Absent `json:"absent,omitempty"`

	Environment      map[string]string `json:"environment,omitempty"`
	Entrypoint       []string          `json:"entrypoint,omitempty"`
	Command          []string          `json:"command,omitempty"`
	WorkingDirectory string            `json:"workingDirectory,omitempty"`
	Labels           map[string]string `json:"labels,omitempty"`

	// RunAs is the numeric user the image runs as. Default: 65532:65532 ("nonroot").
	RunAs *RunAs `json:"runAs,omitempty"`

	Layering  Layering  `json:"layering,omitempty"`
	Hardening Hardening `json:"hardening,omitempty"`
}

// Archive is a signed Debian archive.
type Archive struct {
	// Suites to take packages from; the highest version among them wins.
	Suites []string `json:"suites"`

	// Components of each suite. Default: main.
	Components []string `json:"components,omitempty"`

	// Mirror serves all suites: an http, https or file address or an absolute folder.
	// Default: the machine's own apt sources.
	Mirror string `json:"mirror,omitempty"`

	// Mirrors serve single suites, by name, where Mirror does not.
	Mirrors map[string]string `json:"mirrors,omitempty"`

	// Keyring is the path of the keys the archive is signed with, relative to the file of
	// this spec. Default: Debian's own archive keyring.
	Keyring string `json:"keyring,omitempty"`

	// Keys are the keys themselves, as OpenPGP in ASCII armor, in the place of Keyring: a
	// resource in a cluster has no file beside it.
	// +optional
	Keys string `json:"keys,omitempty"`
}

// Update is how often something outside is asked for changes.
type Update struct {
	// Interval between two looks. Default: 15m.
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`

	// Suspend looks no more while it is true.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// Omission is a package, or the work of its scripts, left out on purpose.
type Omission struct {
	Package string `json:"package"`
	Reason  string `json:"reason"`
}

// Accounts are the users and groups of the image. root, nobody and nonroot (65532) are
// always there and may be redefined.
type Accounts struct {
	Users  []User  `json:"users,omitempty"`
	Groups []Group `json:"groups,omitempty"`
}

// User is a line of /etc/passwd.
type User struct {
	Name    string `json:"name"`
	UID     int    `json:"uid"`
	GID     int    `json:"gid"`
	Comment string `json:"comment,omitempty"`
	Home    string `json:"home,omitempty"`  // default: /nonexistent
	Shell   string `json:"shell,omitempty"` // default: /usr/sbin/nologin
}

// Group is a line of /etc/group.
type Group struct {
	Name    string   `json:"name"`
	GID     int      `json:"gid"`
	Members []string `json:"members,omitempty"`
}

// PathType says what a Path is.
type PathType string

// The types of a Path.
const (
	PathDirectory PathType = "directory"
	PathFile      PathType = "file"
	PathSymlink   PathType = "symlink"
	PathHardlink  PathType = "hardlink"
	PathExisting  PathType = "existing" // shipped by a package; only its metadata changes
)

// Path is one file, directory or link of the spec's own.
type Path struct {
	Path   string   `json:"path"` // absolute
	Type   PathType `json:"type"`
	Mode   string   `json:"mode,omitempty"` // octal; default: 0755 for directories, 0644 for files
	UID    *int     `json:"uid,omitempty"`  // default: 0, or what the package says
	GID    *int     `json:"gid,omitempty"`
	Target string   `json:"target,omitempty"` // of a link

	Content string `json:"content,omitempty"` // of a file

	// Capabilities of a file in cap_from_text(3) form: "cap_net_bind_service+ep".
	Capabilities string `json:"capabilities,omitempty"`
}

// Absent lists what must not be in the image.
type Absent struct {
	Packages []string `json:"packages,omitempty"`
	Paths    []string `json:"paths,omitempty"` // patterns, as for Exclude
}

// RunAs is a numeric user and group.
type RunAs struct {
	UID int `json:"uid"`
	GID int `json:"gid"`
}

// Layering says how packages become layers.
type Layering struct {
	// MaxLayers bounds the layers of one image; 3 to 60. Default: 60.
	MaxLayers int `json:"maxLayers,omitempty"`

	// Own names source packages that always get a layer of their own, even where the
	// bound makes the rest share layers.
	Own []string `json:"own,omitempty"`

	// Compression of layers: gzip (default) or zstd.
	Compression string `json:"compression,omitempty"`
}

// Hardening opens single doors of the default hardening.
type Hardening struct {
	// AllowSetuid lists absolute paths that keep their setuid and setgid bits.
	AllowSetuid []string `json:"allowSetuid,omitempty"`

	// AllowRoot lets RunAs be root.
	AllowRoot bool `json:"allowRoot,omitempty"`

	// Documentation keeps manual pages and the like.
	Documentation bool `json:"documentation,omitempty"`
}

// String gives "uid:gid", as an image's configuration has it.
func (r RunAs) String() string { return fmt.Sprintf("%d:%d", r.UID, r.GID) }

// BaseImageStatus says what the tag names now.
type BaseImageStatus struct {
	Status `json:",inline"`

	// +optional
	Published *Published `json:"published,omitempty"`

	// Previous are digests that the tag named before, newest first; at most 10.
	// +optional
	// +listType=atomic
	Previous []string `json:"previous,omitempty"`

	// Packages in the image of the first architecture.
	// +optional
	Packages int64 `json:"packages,omitempty"`

	// Changes are the packages that differ between the last two images: "openssl 3.5.1-1 → 3.5.1-1+deb13u1".
	// +optional
	// +listType=atomic
	Changes []string `json:"changes,omitempty"`
}
