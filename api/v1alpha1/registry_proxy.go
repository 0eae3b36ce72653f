package v1alpha1

// RegistryProxy makes a project of the registry stand for repositories outside: what is asked for
// and is not here is taken in, verified and judged first. Nobody pushes to such a project.
type RegistryProxy struct {
	// Source is the registry outside, with a path if need be: "registry.example.com/team".
	// PROJECT/NAME here is SOURCE/NAME there.
	Source string `json:"source"`

	// Credentials for the source. Default: those of the user's own registry client.
	Credentials *UpstreamCredentials `json:"credentials,omitempty"`

	// Allow are patterns of repositories below the source that may be taken in: "*" stands for a
	// part of one path segment, "**" for any number of segments. Default: all.
	Allow []string `json:"allow,omitempty"`

	// TTL is how long a tag is believed to name what it named when the source was last asked, a
	// duration of Go's. Digests never change. Default: 10m.
	TTL string `json:"ttl,omitempty"`

	// Verify says what must be signed in the source. Default: nothing.
	Verify *UpstreamVerification `json:"verify,omitempty"`

	// Bytes bounds one image, or one index with all its images, as they are sent: "4Gi". Default:
	// 16Gi.
	Bytes string `json:"bytes,omitempty"`
}
