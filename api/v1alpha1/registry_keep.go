package v1alpha1

import "k8s.io/apimachinery/pkg/api/resource"

// RegistryQuota bounds what a project may hold. What is zero has no bound.
type RegistryQuota struct {
	// Bytes of all blobs and manifests, each counted once however many repositories of the
	// project name it, and of uploads under way.
	Bytes resource.Quantity `json:"bytes,omitempty"`

	Repositories int `json:"repositories,omitempty"`
	Tags         int `json:"tags,omitempty"`
}

// RegistryRetention is a rule by which tags of a project stay. A tag that one or more rules
// cover stays when one of them keeps it; one that no rule covers stays. Whatever the rules
// say, there stay: tags that are immutable, what is deployed, and what an index or a
// referrer that stays needs.
type RegistryRetention struct {
	// Repositories are patterns of repositories' whole names, as in an ImagePolicy: "*" stands
	// for a part of one path segment, "**" for any number of segments. Default: all of the
	// project's.
	Repositories []string `json:"repositories,omitempty"`

	// Tags are patterns of tags, in which "*" stands for any text. Default: all.
	Tags []string `json:"tags,omitempty"`

	// KeepLast keeps so many of the tags the rule covers in a repository: those pushed last.
	KeepLast int `json:"keepLast,omitempty"`

	// KeepPushedWithin and KeepPulledWithin keep what was pushed or pulled since: "30d", "36h".
	// Pulls are known by the day.
	KeepPushedWithin string `json:"keepPushedWithin,omitempty"`
	KeepPulledWithin string `json:"keepPulledWithin,omitempty"`
}

// RegistryKeeping says when the rules of retention are applied, and garbage is collected.
type RegistryKeeping struct {
	// Schedule in the form of cron, in UTC: "0 3 * * *". Default: only when somebody runs
	// `plimsoll registry retention run`.
	Schedule string `json:"schedule,omitempty"`

	// Untagged is for how long a manifest stays, since it was pushed, that no tag, no index
	// and no live subject holds, in projects that have rules. Default: "1d".
	Untagged string `json:"untagged,omitempty"`
}

// RegistryWebhook is told of what happens, by CloudEvents 1.0 in structured HTTP mode.
type RegistryWebhook struct {
	Name string `json:"name"` // a DNS label
	URL  string `json:"url"`  // http:// or https://

	// Types of events: patterns such as "dev.plimsoll.image.*". Default: all but
	// dev.plimsoll.image.pulled.
	Types []string `json:"types,omitempty"`

	// Projects whose events are told. Default: all, and those of no project.
	Projects []string `json:"projects,omitempty"`

	// Secret is where the secrets lie that requests are signed with.
	Secret RegistrySecret `json:"secret"`

	// CAFile has the certificates by which the receiver is known, in PEM, relative to this
	// file's folder. Default: the machine's.
	CAFile string `json:"caFile,omitempty"`

	// Timeout of one request. Default: "10s".
	Timeout string `json:"timeout,omitempty"`

	// RetryFor is for how long an event is tried. Then it is a dead letter. Default: "1d".
	RetryFor string `json:"retryFor,omitempty"`

	// RefusePrivate refuses receivers at addresses that are not public ones.
	RefusePrivate bool `json:"refusePrivate,omitempty"`
}

// RegistrySecret says where a secret lies: in exactly one of these. Each line is one secret
// of at least 24 bytes, or "whsec_" and base64; requests are signed with each.
type RegistrySecret struct {
	File string `json:"file,omitempty"` // relative to this file's folder; read for each request
	Env  string `json:"env,omitempty"`  // name of a variable of the server's environment
}

// RegistryAudit says how the audit log is kept.
type RegistryAudit struct {
	// Reads says which pulls that were allowed are written: "first" of each principal, digest
	// and day, "all", or "none". What was refused always is. Default: "first".
	Reads string `json:"reads,omitempty"`

	// Key names the key that signs checkpoints, as docs/keys.md tells. Default: the one
	// that signs attestations.
	Key string `json:"key,omitempty"`

	// CheckpointEvery is after how many records there is a checkpoint. Default: 1000.
	CheckpointEvery int `json:"checkpointEvery,omitempty"`

	// SegmentSize is the size at which a file of the log is ended. Default: 64Mi. It also
	// ends with the day.
	SegmentSize resource.Quantity `json:"segmentSize,omitempty"`
}

// RegistryMetrics says who may read /metrics.
type RegistryMetrics struct {
	// Token is where the token lies that a reader must show as "Authorization: Bearer". Each
	// line is one. Default: only the machine itself may read, not through a proxy.
	Token *RegistrySecret `json:"token,omitempty"`
}
