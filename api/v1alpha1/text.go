package v1alpha1

// The texts that resources share. They are names for string: Go code hands them about as such, and
// the definitions of the resources hold each to its form.

// Tag names an image that is to be written: "name:tag" in the store that Plimsoll serves,
// "host/name:tag" in another registry.
//
// +kubebuilder:validation:MaxLength=512
// +kubebuilder:validation:XValidation:rule="self.matches('^([a-zA-Z0-9.-]+(:[0-9]{1,5})?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127})?$')",message="want a tag such as shop:1 or registry.example.com/team/shop:1: names in lower case, no https:// before and no digest behind"
type Tag = string

// Ref names an image that is there: as a Tag, or exactly by "@sha256:…" behind it.
//
// +kubebuilder:validation:MaxLength=512
// +kubebuilder:validation:XValidation:rule="self.matches('^([a-zA-Z0-9.-]+(:[0-9]{1,5})?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127})?(@sha256:[0-9a-f]{64})?$')",message="want an image such as run:1 or registry.example.com/bases/run:1@sha256:…: names in lower case and no https:// before"
type Ref = string

// Digest names bytes by their SHA-256: "sha256:…".
//
// +kubebuilder:validation:MaxLength=71
// +kubebuilder:validation:XValidation:rule="self.matches('^sha256:[0-9a-f]{64}$')",message="want sha256: and 64 hexadecimal digits in lower case"
type Digest = string

// Label is a name of lower-case letters, digits and dashes (RFC 1123, "label").
//
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')",message="want lower-case letters, digits and dashes, such as no-root"
type Label = string

// ObjectName is the name of another resource (RFC 1123, "subdomain").
//
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",message="want the name of a resource: lower-case letters, digits, dots and dashes"
type ObjectName = string

// Architecture is one that Debian and OCI both name.
//
// +kubebuilder:validation:Enum=amd64;arm64
type Architecture = string

// RepositoryPattern is a pattern of "registry/path", or "path" in the local store: "*" stands for
// a part of one path segment, "**" for any number of segments.
//
// +kubebuilder:validation:MaxLength=320
// +kubebuilder:validation:XValidation:rule="self.matches('^[^/]+(/[^/]+)*$') && !self.matches('[^/][*][*]|[*][*][^/]')",message="want a pattern such as team/*/app or team/**: ** stands alone between slashes"
type RepositoryPattern = string

// Word is a short text without spaces.
//
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:XValidation:rule="self.matches('^[^ \\t\\n]+$')",message="want one word without spaces"
type Word = string

// Reason is a text for people, which says something.
//
// +kubebuilder:validation:MaxLength=2048
// +kubebuilder:validation:XValidation:rule="self.matches('[^ \\t\\n]')",message="say why: whoever reads it later was not there"
type Reason = string

// Expression is one of CEL, the Common Expression Language: docs/policy.md tells what it may read.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=8192
type Expression = string

// BelowPath is a path below a folder that is known from elsewhere.
//
// +kubebuilder:validation:MaxLength=1024
// +kubebuilder:validation:XValidation:rule="self.matches('^[^/]') && !self.matches('(^|/)[.][.](/|$)')",message="want a path below the folder of parts that the controllers ship with: no slash in front, no .. in it"
type BelowPath = string

// AbsolutePath is a path in an image.
//
// +kubebuilder:validation:MaxLength=1024
// +kubebuilder:validation:XValidation:rule="self.matches('^(/[^/]+)+$') && !self.matches('/[.][.]?(/|$)')",message="want an absolute path without . and .. in it, such as /srv/data"
type AbsolutePath = string

// PackageName is the name of a Debian package (Debian Policy 5.6.7).
//
// +kubebuilder:validation:MaxLength=128
// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9][a-z0-9+.-]+$')",message="want the name of a Debian package, such as libssl3t64"
type PackageName = string

// Suite is a suite or a component of a Debian archive: "trixie-security", "main".
//
// +kubebuilder:validation:MaxLength=128
// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9][a-zA-Z0-9+./-]*$') && !self.contains('..')",message="want a name of the archive's, such as trixie-security"
type Suite = string

// AccountName is a user's or a group's.
//
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z_][A-Za-z0-9_-]*$')",message="want a name of at most 32 letters, digits, dashes and underscores"
type AccountName = string

// BuildpackID names a buildpack: "plimsoll/go" (Buildpack API, "buildpack.toml").
//
// +kubebuilder:validation:MaxLength=128
// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9-][A-Za-z0-9.-]*(/[A-Za-z0-9-][A-Za-z0-9.-]*)*$')",message="want a buildpack's id, such as plimsoll/go"
type BuildpackID = string

// Address is where an archive or a feed is.
//
// +kubebuilder:validation:MaxLength=2048
// +kubebuilder:validation:XValidation:rule="self.matches('^(https?://[^/ \\t\\n]|file:///|/)[^ \\t\\n]*$')",message="want an http, https or file address, or an absolute folder"
type Address = string
