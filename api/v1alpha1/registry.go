package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RegistryKind is the kind of Registry.
const RegistryKind = "Registry"

// Registry declares who may do what in a registry, and how it is kept. It is a file of a home, no
// resource of a cluster.
type Registry struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec RegistrySpec `json:"spec"`
}

// RegistrySpec says whose the repositories are. What nothing here allows is denied.
type RegistrySpec struct {
	// ExternalURL is how clients reach the registry: "https://registry.example.com", without a
	// path. Default: what each of them calls it. It is required where people log in at an
	// issuer, whose tokens are bound to it.
	ExternalURL string `json:"externalURL,omitempty"`

	// TrustedProxies are the networks of those whose X-Forwarded-For is believed: "10.0.0.0/8".
	// Default: nobody's. The address of a client counts for limits and in logs.
	TrustedProxies []string `json:"trustedProxies,omitempty"`

	// Admins may do everything everywhere, in repositories of no project, too. They have no role.
	Admins []RegistryMember `json:"admins,omitempty"`

	// Auditors may list all repositories and read the audit log. They have no role.
	Auditors []RegistryMember `json:"auditors,omitempty"`

	Projects []RegistryProject `json:"projects,omitempty"`
	Auth     RegistryAuth      `json:"auth,omitempty"`
	Limits   RegistryLimits    `json:"limits,omitempty"`

	Webhooks []RegistryWebhook `json:"webhooks,omitempty"`
	Audit    RegistryAudit     `json:"audit,omitempty"`
	Keeping  RegistryKeeping   `json:"keeping,omitempty"`
	Metrics  RegistryMetrics   `json:"metrics,omitempty"`
}

// RegistryProject owns the repositories NAME and NAME/…, without those of projects whose
// longer names they begin with.
type RegistryProject struct {
	Name        string `json:"name"` // of a repository's form: "team", "team/backend"
	Description string `json:"description,omitempty"`

	// Public lets anybody pull.
	Public bool `json:"public,omitempty"`

	Members []RegistryMember `json:"members,omitempty"`

	Quota         *RegistryQuota      `json:"quota,omitempty"`
	Retention     []RegistryRetention `json:"retention,omitempty"`
	ImmutableTags []string            `json:"immutableTags,omitempty"` // patterns of tags that do not move
	Proxy         *RegistryProxy      `json:"proxy,omitempty"`
}

// RegistryRole is what a member may do in a project.
type RegistryRole string

// The roles.
const (
	RoleReader    RegistryRole = "reader"    // pull
	RolePublisher RegistryRole = "publisher" // pull, push, and see what is quarantined
	RoleApprover  RegistryRole = "approver"  // pull, see what is quarantined, and approve
	RoleAdmin     RegistryRole = "admin"     // all of these, and delete
)

// RegistryMember is somebody, by exactly one of User, Group, Robot and Workload, with a role.
type RegistryMember struct {
	User     string            `json:"user,omitempty"`  // of the htpasswd file, or "ISSUER:NAME"
	Group    string            `json:"group,omitempty"` // "ISSUER:GROUP"
	Robot    string            `json:"robot,omitempty"` // "PROJECT/NAME": lets it in elsewhere, too
	Workload *RegistryWorkload `json:"workload,omitempty"`

	Role RegistryRole `json:"role,omitempty"` // required of a project's members
}

// RegistryWorkload is whatever shows a token of the issuer in which all claims are as wanted.
type RegistryWorkload struct {
	Issuer string `json:"issuer"` // name of one of auth.issuers

	// Claims are patterns of whole values: "*" stands for any text without "/" and ":", "**"
	// for any text. Of a list, one value must match. At least one must begin with other text.
	Claims map[string]string `json:"claims"`
}

// RegistryAuth says who is believed to be who.
type RegistryAuth struct {
	// Htpasswd is a file of users with bcrypt passwords, relative to this one's folder.
	Htpasswd string `json:"htpasswd,omitempty"`

	Issuers []RegistryIssuer `json:"issuers,omitempty"`

	// NotBefore makes all that was issued before worthless: the registry's own access and
	// refresh tokens.
	NotBefore *metav1.Time `json:"notBefore,omitempty"`
}

// RegistryIssuer is one whose OpenID Connect tokens are believed.
type RegistryIssuer struct {
	Name string `json:"name"` // what members call it: a DNS label
	URL  string `json:"url"`  // as in "iss": https://…

	// CAFile has the certificates by which its server is known, in PEM, relative to this
	// file's folder. Default: the machine's.
	CAFile string `json:"caFile,omitempty"`

	// Audience is what a workload's token must be made for. Without it only people are
	// believed, and without Login only workloads. One must be given.
	Audience string `json:"audience,omitempty"`

	Login *RegistryLogin `json:"login,omitempty"`
}

// RegistryLogin lets people in with the issuer's ID tokens.
type RegistryLogin struct {
	// ClientID is the registry's at the issuer: a public client that may return to the
	// loopback. ID tokens must be made for it.
	ClientID string `json:"clientID"`

	Scopes []string `json:"scopes,omitempty"` // default: openid, email, profile, groups

	// UserClaim has a person's name. Default: "email", which must be verified.
	UserClaim string `json:"userClaim,omitempty"`

	GroupsClaim string `json:"groupsClaim,omitempty"` // default: "groups"

	// Period is how long a login lasts, at most 30d. Default: 12h.
	Period string `json:"period,omitempty"`
}

// RegistryLimits are each principal's. What is zero has the default.
type RegistryLimits struct {
	Requests  RegistryRate `json:"requests,omitempty"`  // default: 1000 a second, 10000 at once
	Anonymous RegistryRate `json:"anonymous,omitempty"` // of each address; default: 50 a second, 500 at once

	Uploads int `json:"uploads,omitempty"` // at once; default: 64

	BlobSize     resource.Quantity `json:"blobSize,omitempty"`     // default: 64Gi
	ManifestSize resource.Quantity `json:"manifestSize,omitempty"` // default, and at most: 4Mi
}

// RegistryRate is how often something may be done.
type RegistryRate struct {
	PerSecond int `json:"perSecond,omitempty"`
	Burst     int `json:"burst,omitempty"` // default: ten seconds' worth
}
