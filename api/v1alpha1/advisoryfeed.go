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
// +kubebuilder:printcolumn:name="Records",type=integer,JSONPath=`.status.records`
// +kubebuilder:printcolumn:name="Synced",type=date,JSONPath=`.status.syncedAt`
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
type AdvisoryFeedSpec struct {
	// Kind of what is there: docs/feeds.md tells of each.
	// +kubebuilder:validation:Enum=osv;debian;debian-tracker;kev;epss
	Kind string `json:"kind"`

	// URL is an http, https or file address. A feed of kind debian has none.
	// +optional
	URL string `json:"url,omitempty"`

	// Ecosystems to take: "Go", "npm", "PyPI", or "Debian:13=trixie" of a tracker.
	// +optional
	// +listType=set
	Ecosystems []string `json:"ecosystems,omitempty"`

	// Suites of a feed of kind debian. Default: those of the machine's apt sources.
	// +optional
	// +listType=set
	Suites []string `json:"suites,omitempty"`

	// Mirrors of the suites, by name.
	// +optional
	Mirrors map[string]string `json:"mirrors,omitempty"`

	// Interval between two syncs. Default: 15m.
	// +optional
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
