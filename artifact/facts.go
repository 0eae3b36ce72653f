package artifact

import "time"

// Kind says what a manifest is of.
type Kind string

// The kinds.
const (
	KindImage    Kind = "image"    // layers and a configuration that a runtime starts
	KindIndex    Kind = "index"    // several manifests, one for each platform
	KindArtifact Kind = "artifact" // anything else: a chart, a module, a file
)

// Facts are all that a policy may know of one manifest in one repository. Whoever gathers them
// has verified what is signed: a claim nobody trusted makes is not among them. A part that is
// nil is not known, and what is not known is never a pass.
type Facts struct {
	Image ImageFacts `json:"image"`

	Base       *BaseFacts       `json:"base,omitempty"`
	Source     *SourceFacts     `json:"source,omitempty"`
	Provenance *ProvenanceFacts `json:"provenance,omitempty"`
	SBOM       *SBOMFacts       `json:"sbom,omitempty"`
	Tests      *TestFacts       `json:"tests,omitempty"`
	Malware    *MalwareFacts    `json:"malware,omitempty"`
	Hardening  *HardeningFacts  `json:"hardening,omitempty"`

	// Signatures are those of the manifest itself that someone trusted made; none is known,
	// too: the manifest is unsigned.
	Signatures []SignatureFacts `json:"signatures"`

	// Packages, Findings and Licenses are nil where nobody looked: an empty list is good news,
	// nil is none. Packages are what the layers hold, whatever an SBOM says.
	Packages []Package `json:"packages,omitzero"`
	InBase   []bool    `json:"inBase,omitzero"` // of each of Packages: a layer of the base brought it
	Findings []Finding `json:"findings,omitzero"`
	Licenses []string  `json:"licenses,omitzero"` // the different ones of the packages, sorted

	// Unadvised are the ecosystems of packages of which no feed knows advisories, sorted: that
	// nothing was found in those says nothing. "" stands for packages of none.
	Unadvised []string `json:"unadvised,omitempty"`

	// Advisories is when the feeds behind Findings were last brought up to date; zero: never.
	Advisories time.Time `json:"advisories,omitzero"`

	// Children are the digests that an index names, those of other builders' attestations left
	// out.
	Children []string `json:"children,omitempty"`
}

// ImageFacts is what the manifest, its configuration and its repository say.
type ImageFacts struct {
	Repository string   `json:"repository"` // without the registry for the local one
	Digest     string   `json:"digest"`
	Tags       []string `json:"tags,omitempty"` // that name it in this repository, sorted

	Kind         Kind   `json:"kind"`
	MediaType    string `json:"mediaType"`
	ArtifactType string `json:"artifactType,omitempty"`

	Platform    string            `json:"platform,omitempty"` // "linux/arm64/v8"
	Created     time.Time         `json:"created,omitzero"`
	Pushed      time.Time         `json:"pushed,omitzero"`
	Size        int64             `json:"size"` // bytes of its configuration and compressed layers
	Layers      int               `json:"layers"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	User        string            `json:"user,omitempty"` // as the configuration has it; "" is root
	Entrypoint  []string          `json:"entrypoint,omitempty"`
	Command     []string          `json:"command,omitempty"`
	Ports       []string          `json:"ports,omitempty"` // "8080/tcp"
}

// BaseFacts is what is known of the image that another stands on.
type BaseFacts struct {
	Name     string    `json:"name,omitempty"` // the reference it was taken by
	Digest   string    `json:"digest"`
	Created  time.Time `json:"created,omitzero"` // when its newest verified provenance says that it was built, else as its configuration does
	Verified bool      `json:"verified"`         // someone trusted signed it
	By       string    `json:"by,omitempty"`     // who: the key's name or the identity
}

// SourceFacts is what verified provenance says of the source.
type SourceFacts struct {
	Kind     string `json:"kind"`               // as SourceKind; "" where another builder does not say
	URL      string `json:"url,omitempty"`      // "" for a folder of somebody's machine
	Revision string `json:"revision,omitempty"` // exact
	Ref      string `json:"ref,omitempty"`
	Clean    bool   `json:"clean"` // every file is in that revision
}

// ProvenanceFacts is what verified provenance says of the build (SLSA v1.1, provenance).
type ProvenanceFacts struct {
	Builder   string    `json:"builder"` // runDetails.builder.id
	BuildType string    `json:"buildType"`
	By        string    `json:"by"` // who signed it
	Started   time.Time `json:"started,omitzero"`
	Finished  time.Time `json:"finished,omitzero"`
	Level     int       `json:"level"` // SLSA build level that the builder is known for: 0 to 3
}

// SignatureFacts is one verified signature.
type SignatureFacts struct {
	By      string    `json:"by"`                // the key's name, or the certificate's identity
	Issuer  string    `json:"issuer,omitempty"`  // of the identity, a URL; "" for a key
	Keyless bool      `json:"keyless,omitempty"` // a certificate made it
	At      time.Time `json:"at,omitzero"`       // by a trusted log or timestamp authority
}

// SBOMFacts holds the signed bills of materials against the layers.
type SBOMFacts struct {
	Formats  []string `json:"formats"`            // "spdx", "cyclonedx": verified ones, sorted
	Packages int      `json:"packages"`           // named in the fullest of them
	Complete bool     `json:"complete"`           // nothing in the layers was unreadable
	Unlisted []string `json:"unlisted,omitempty"` // PURLs found in the layers that no bill names, sorted
	Absent   []string `json:"absent,omitempty"`   // PURLs named in a bill, of kinds we read, that the layers do not hold
}

// TestFacts is what verified test results say together (in-toto test-result v0.1).
type TestFacts struct {
	Result string   `json:"result"` // "PASSED", "WARNED", "FAILED": the worst
	Passed []string `json:"passed,omitempty"`
	Failed []string `json:"failed,omitempty"`
}

// MalwareFacts is what a scan came to.
type MalwareFacts struct {
	Result     string    `json:"result"`             // "clean", "infected", "incomplete"
	Infected   []string  `json:"infected,omitempty"` // "path: signature"
	Scanner    string    `json:"scanner,omitempty"`
	Signatures time.Time `json:"signatures,omitzero"` // date of the scanner's signatures
}

// HardeningFacts is what is known of how hard the image is.
type HardeningFacts struct {
	Root            bool              `json:"root"` // it starts as root
	NumericUser     bool              `json:"numericUser"`
	Shells          []string          `json:"shells,omitempty"`
	PackageManagers []string          `json:"packageManagers,omitempty"`
	Compilers       []string          `json:"compilers,omitempty"`
	RemoteAccess    []string          `json:"remoteAccess,omitempty"`
	SetID           []string          `json:"setID,omitempty"`
	Secrets         []string          `json:"secrets,omitempty"` // "kind in place name", samples left out; never the secret
	Checks          map[string]string `json:"checks,omitempty"`  // "CIS-DI-4.1": "PASS", "WARN", "FAIL", "INFO"
}
