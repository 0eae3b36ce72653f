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
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Digest",type=string,JSONPath=`.status.published.digest`
// +kubebuilder:printcolumn:name="Packages",type=integer,JSONPath=`.status.packages`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Tag",type=string,priority=1,JSONPath=`.status.published.image`
// +kubebuilder:printcolumn:name="Suites",type=string,priority=1,JSONPath=`.spec.archive.suites`
// +kubebuilder:printcolumn:name="Suspended",type=boolean,priority=1,JSONPath=`.spec.update.suspend`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
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
//
// +kubebuilder:validation:XValidation:rule="has(self.hardening) && has(self.hardening.allowRoot) && self.hardening.allowRoot || !has(self.runAs) || self.runAs.uid != 0",message="root is not allowed: run as another user, or set hardening.allowRoot"
// +kubebuilder:validation:XValidation:rule="has(self.hardening) && has(self.hardening.allowRoot) && self.hardening.allowRoot || !has(self.accounts) || !has(self.accounts.users) || self.accounts.users.all(u, u.uid != 0 || u.name == 'root')",message="a second root is not allowed: give the user another number, or set hardening.allowRoot"
type BaseImageSpec struct {
	// Tag is where a control plane publishes the image. Default: the resource's name with the
	// tag "1". `plimsoll base build` is told by -t.
	// +optional
	Tag Tag `json:"tag,omitempty"`

	// Update says when a control plane looks for newer packages.
	// +optional
	Update Update `json:"update,omitempty,omitzero"`

	// Archive is where the packages come from.
	Archive Archive `json:"archive"`

	// Architectures, by Debian's names ("amd64", "arm64"). Default: the machine's own.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=2
	Architectures []Architecture `json:"architectures,omitempty"`

	// Packages to install with all they depend on: "openssl", "openssl (>= 3.5)" or
	// "openssl=3.5.1-1". Recommended packages are never installed.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2000
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?( *[(](<<|<=|=|>=|>>) *[^ ()]+[)]|=[^ =()]+)?$')",message="want openssl, openssl (>= 3.5) or openssl=3.5.1-1"
	Packages []string `json:"packages"`

	// Omit names packages that are not installed although others depend on them. Each
	// needs a reason; what was let go for it stands in the lock.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	Omit []Omission `json:"omit,omitempty"`

	// Accept names packages whose maintainer scripts do something that composing does not,
	// where that is known and does not matter. Each needs a reason.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	Accept []Omission `json:"accept,omitempty"`

	// Accounts are the users and groups of the image.
	// +optional
	Accounts Accounts `json:"accounts,omitempty"`

	// Paths are made, or changed where a package ships them.
	// +optional
	// +listType=map
	// +listMapKey=path
	// +kubebuilder:validation:MaxItems=512
	Paths []Path `json:"paths,omitempty"`

	// Exclude drops packaged files by pattern: "*" within a folder, "**" across folders.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=512
	Exclude []AbsolutePath `json:"exclude,omitempty"`

	// Absent is asserted: the build fails when one of these would be in the image.
	// +optional
	Absent Absent `json:"absent,omitempty"`

	// Environment of whatever runs in the image, by name.
	// +optional
	// +kubebuilder:validation:MaxProperties=256
	// +kubebuilder:validation:XValidation:rule="self.all(name, name.matches('^[A-Za-z_][A-Za-z0-9_]*$'))",message="want names of letters, digits and underscores"
	Environment map[string]string `json:"environment,omitempty"`

	// Entrypoint starts the image: a program and its first arguments.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=8192
	Entrypoint []string `json:"entrypoint,omitempty"`

	// Command are arguments of the entrypoint, or the program where there is none, that whoever
	// starts the image may replace.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=8192
	Command []string `json:"command,omitempty"`

	// WorkingDirectory that the image starts in.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.matches('^/([^/]+(/[^/]+)*)?$') && !self.matches('/[.][.]?(/|$)')",message="want an absolute path without . and .. in it, such as /srv"
	WorkingDirectory string `json:"workingDirectory,omitempty"`

	// Labels of the image's configuration, by name.
	// +optional
	// +kubebuilder:validation:MaxProperties=256
	Labels map[string]string `json:"labels,omitempty"`

	// RunAs is the numeric user the image runs as. Default: 65532:65532 ("nonroot").
	// +optional
	// +kubebuilder:default={uid: 65532, gid: 65532}
	RunAs *RunAs `json:"runAs,omitempty"`

	// Layering says how packages become layers.
	// +optional
	// +kubebuilder:default={}
	Layering Layering `json:"layering,omitempty"`

	// Hardening opens single doors of the default hardening.
	// +optional
	Hardening Hardening `json:"hardening,omitempty"`
}

// Archive is a signed Debian archive.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.keyring) && has(self.keys))",message="want keyring or keys, not both"
// +kubebuilder:validation:XValidation:rule="!has(self.mirrors) || self.mirrors.all(name, name in self.suites)",message="a mirror is for a suite that suites does not name: add the suite, or take out the mirror"
type Archive struct {
	// Suites to take packages from; the highest version among them wins.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Suites []Suite `json:"suites"`

	// Components of each suite.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:default={main}
	Components []Suite `json:"components,omitempty"`

	// Mirror serves all suites: an http, https or file address or an absolute folder.
	// Default: the machine's own apt sources.
	// +optional
	Mirror Address `json:"mirror,omitempty"`

	// Mirrors serve single suites, by name, where Mirror does not.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	Mirrors map[string]string `json:"mirrors,omitempty"`

	// Keyring is the path of the keys the archive is signed with, relative to the file of this
	// spec; in a cluster, where no file is, below the folder of parts that the controllers ship
	// with. Default: Debian's own archive keyring.
	// +optional
	Keyring BelowPath `json:"keyring,omitempty"`

	// Keys are the keys themselves, as OpenPGP in ASCII armor, in the place of Keyring: a
	// resource in a cluster has no file beside it.
	// +optional
	// +kubebuilder:validation:MaxLength=262144
	// +kubebuilder:validation:XValidation:rule="self.startsWith('-----BEGIN PGP PUBLIC KEY BLOCK-----')",message="want public keys as gpg --armor --export writes them"
	Keys string `json:"keys,omitempty"`
}

// Update is how often something outside is asked for changes.
type Update struct {
	// Interval between two looks. Default: 15m.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1s')",message="want a time of at least 1s, such as 15m or 6h"
	Interval *metav1.Duration `json:"interval,omitempty"`

	// Suspend looks no more while it is true.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// Omission is a package, or the work of its scripts, left out on purpose.
type Omission struct {
	// Package by its name.
	Package PackageName `json:"package"`

	// Reason says why that is sound.
	Reason Reason `json:"reason"`
}

// Accounts are the users and groups of the image. root, nobody and nonroot (65532) are
// always there and may be redefined.
type Accounts struct {
	// Users of the image.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	Users []User `json:"users,omitempty"`

	// Groups of the image.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	Groups []Group `json:"groups,omitempty"`
}

// User is a line of /etc/passwd.
type User struct {
	// Name of the user.
	Name AccountName `json:"name"`

	// UID is the user's number.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967294
	UID int `json:"uid"`

	// GID is the number of the user's own group.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967294
	GID int `json:"gid"`

	// Comment is the fifth field of the line: who it is.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="!self.matches('[:\\n]')",message="a colon or a line break cannot stand in a field of /etc/passwd"
	Comment string `json:"comment,omitempty"`

	// Home is the user's folder, which is not made.
	// +optional
	// +kubebuilder:default=/nonexistent
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.matches('^/[^:\\n]*$')",message="want an absolute path without colons"
	Home string `json:"home,omitempty"`

	// Shell is what a login starts.
	// +optional
	// +kubebuilder:default=/usr/sbin/nologin
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.matches('^/[^:\\n]*$')",message="want an absolute path without colons"
	Shell string `json:"shell,omitempty"`
}

// Group is a line of /etc/group.
type Group struct {
	// Name of the group.
	Name AccountName `json:"name"`

	// GID is the group's number.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967294
	GID int `json:"gid"`

	// Members by name, beside those whose own group it is.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	Members []AccountName `json:"members,omitempty"`
}

// PathType says what a Path is.
//
// +kubebuilder:validation:Enum=directory;file;symlink;hardlink;existing
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
//
// +kubebuilder:validation:XValidation:rule="has(self.target) == (self.type in ['symlink', 'hardlink'])",message="a link needs a target, and nothing else has one"
// +kubebuilder:validation:XValidation:rule="!has(self.content) || self.type == 'file'",message="only files have content"
// +kubebuilder:validation:XValidation:rule="!has(self.mode) || !(self.type in ['symlink', 'hardlink'])",message="a link has no mode of its own"
// +kubebuilder:validation:XValidation:rule="!has(self.capabilities) || self.type in ['file', 'existing']",message="only files carry capabilities"
// +kubebuilder:validation:XValidation:rule="!(self.path + '/').matches('^/var/lib/(dpkg|plimsoll)/')",message="the inventory below /var/lib/dpkg and /var/lib/plimsoll is not the spec's to change"
type Path struct {
	// Path in the image.
	Path AbsolutePath `json:"path"`

	// Type says what is made there: a directory, a file, a symlink, a hardlink; or existing, where
	// a package ships it and only its owner and mode change.
	Type PathType `json:"type"`

	// Mode in octal digits, quoted. Default: 0755 for directories, 0644 for files.
	// +optional
	// +kubebuilder:validation:MaxLength=8
	// +kubebuilder:validation:XValidation:rule="self.matches('^0*[0-7]{1,4}$')",message="want octal digits in quotes, such as \"0755\""
	Mode string `json:"mode,omitempty"`

	// UID of the owner. Default: 0, or what the package says.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967294
	UID *int `json:"uid,omitempty"`

	// GID of the owner. Default: 0, or what the package says.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967294
	GID *int `json:"gid,omitempty"`

	// Target of a link.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Target string `json:"target,omitempty"`

	// Content of a file.
	// +optional
	// +kubebuilder:validation:MaxLength=262144
	Content string `json:"content,omitempty"`

	// Capabilities of a file in cap_from_text(3) form: "cap_net_bind_service+ep".
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Capabilities string `json:"capabilities,omitempty"`
}

// Absent lists what must not be in the image.
type Absent struct {
	// Packages by name.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=512
	Packages []PackageName `json:"packages,omitempty"`

	// Paths are patterns, as for Exclude.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=512
	Paths []AbsolutePath `json:"paths,omitempty"`
}

// RunAs is a numeric user and group.
type RunAs struct {
	// UID is the user's number.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967294
	UID int `json:"uid"`

	// GID is the group's number.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967294
	GID int `json:"gid"`
}

// Layering says how packages become layers.
type Layering struct {
	// MaxLayers bounds the layers of one image: room is left for those of applications.
	// +optional
	// +kubebuilder:validation:Minimum=3
	// +kubebuilder:validation:Maximum=60
	// +kubebuilder:default=60
	MaxLayers int `json:"maxLayers,omitempty"`

	// Own names source packages that always get a layer of their own, even where the
	// bound makes the rest share layers.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=60
	Own []PackageName `json:"own,omitempty"`

	// Compression of layers: zstd is smaller and faster, gzip is read by everything.
	// +optional
	// +kubebuilder:validation:Enum=gzip;zstd
	// +kubebuilder:default=gzip
	Compression string `json:"compression,omitempty"`
}

// Hardening opens single doors of the default hardening.
type Hardening struct {
	// AllowSetuid lists absolute paths that keep their setuid and setgid bits.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	AllowSetuid []AbsolutePath `json:"allowSetuid,omitempty"`

	// AllowRoot lets RunAs be root.
	// +optional
	AllowRoot bool `json:"allowRoot,omitempty"`

	// Documentation keeps manual pages and the like.
	// +optional
	Documentation bool `json:"documentation,omitempty"`
}

// String gives "uid:gid", as an image's configuration has it.
func (r RunAs) String() string { return fmt.Sprintf("%d:%d", r.UID, r.GID) }

// BaseImageStatus says what the tag names now.
type BaseImageStatus struct {
	Status `json:",inline"`

	// Published is the image that the tag names.
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
