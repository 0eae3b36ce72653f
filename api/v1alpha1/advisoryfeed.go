package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AdvisoryFeedKind is the kind of AdvisoryFeed.
const AdvisoryFeedKind = "AdvisoryFeed"

// AdvisoryFeed is where advisories come from. Feeds are fetched when they are due, never when an
// image is scanned.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=feed,categories=plimsoll
// +kubebuilder:printcolumn:name="Kind",type=string,JSONPath=`.spec.kind`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Records",type=integer,JSONPath=`.status.records`
// +kubebuilder:printcolumn:name="Synced",type=date,JSONPath=`.status.syncedAt`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="URL",type=string,priority=1,JSONPath=`.spec.url`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z0-9][a-z0-9-]{0,62}$')",message="want a name of at most 63 lower-case letters, digits and dashes"
type AdvisoryFeed struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec AdvisoryFeedSpec `json:"spec"`
	// +optional
	Status AdvisoryFeedStatus `json:"status,omitempty"`
}

// AdvisoryFeedList is a list of AdvisoryFeeds.
//
// +kubebuilder:object:root=true
type AdvisoryFeedList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []AdvisoryFeed `json:"items"`
}

// AdvisoryFeedSpec says where it is and how often it is asked.
//
// +kubebuilder:validation:XValidation:rule="(self.kind == 'debian') != has(self.url)",message="a feed needs a url, but one of kind debian has none: it reads the archive"
// +kubebuilder:validation:XValidation:rule="(self.kind in ['osv', 'debian-tracker']) == (has(self.ecosystems) && size(self.ecosystems) > 0)",message="feeds of kind osv and debian-tracker need ecosystems, and no other kind takes them"
// +kubebuilder:validation:XValidation:rule="self.kind == 'debian' || !has(self.suites) && !has(self.mirrors)",message="suites and mirrors are for the kind debian"
// +kubebuilder:validation:XValidation:rule="self.kind != 'debian-tracker' || !has(self.ecosystems) || self.ecosystems.all(e, e.matches('^Debian:[0-9]+=[a-z]+$'))",message="a debian-tracker's ecosystems name releases, such as Debian:13=trixie"
type AdvisoryFeedSpec struct {
	// Kind of what is there: osv is a database in OSV's format, debian the changelogs of Debian's
	// security updates, debian-tracker what Debian's security team says of each package, kev what
	// is known to be exploited, epss how likely that is. docs/feeds.md tells of each.
	// +kubebuilder:validation:Enum=osv;debian;debian-tracker;kev;epss
	Kind string `json:"kind"`

	// URL is an http, https or file address. A feed of kind debian has none.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https?://[^/]*@')",message="take the login out of the address: everybody who may read the resource sees it"
	URL Address `json:"url,omitempty"`

	// Ecosystems to take: "Go", "npm", "PyPI", or "Debian:13=trixie" of a tracker.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[A-Za-z][A-Za-z0-9 ._:+=-]*$')",message="want the name of an ecosystem, such as npm"
	Ecosystems []string `json:"ecosystems,omitempty"`

	// Suites of a feed of kind debian. Default: those of the machine's apt sources.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	Suites []Suite `json:"suites,omitempty"`

	// Mirrors of the suites, by name.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	Mirrors map[string]string `json:"mirrors,omitempty"`

	// Interval between two syncs. Default: 15m.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1s')",message="want a time of at least 1s, such as 15m or 6h"
	Interval *metav1.Duration `json:"interval,omitempty"`
}

// AdvisoryFeedStatus says how the last sync went.
type AdvisoryFeedStatus struct {
	Status `json:",inline"`

	// SyncedAt is when the feed last brought something new.
	// +optional
	SyncedAt *metav1.Time `json:"syncedAt,omitempty"`

	// Records that are held.
	// +optional
	Records int64 `json:"records,omitempty"`
}
