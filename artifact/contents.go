package artifact

// Contents is all that one image of one platform holds.
type Contents struct {
	Image    string `json:"image"`    // digest of its manifest
	Platform string `json:"platform"` // "linux/amd64", "linux/arm64/v8"
	Distro   Distro `json:"distro"`

	// Layers are the diffIDs, the lowest first. BaseLayers of them are the base's, so that a
	// rebase replaces them; 0 when nobody says.
	Layers     []string `json:"layers"`
	BaseLayers int      `json:"baseLayers,omitempty"`

	Packages      []Package      `json:"packages"`                // sorted by PURL, then by path
	Files         []File         `json:"files,omitempty"`         // those that no package owns, sorted by path
	Unlisted      int            `json:"unlisted,omitempty"`      // how many more of these there are: too many to name
	Disagreements []Disagreement `json:"disagreements,omitempty"` // between what is declared and what is there
	Gaps          []Gap          `json:"gaps,omitempty"`          // what could not be read, sorted by path
}

// Distro is what os-release says of a distribution (os-release(5)).
type Distro struct {
	ID      string `json:"id,omitempty"`      // ID: "debian"
	Version string `json:"version,omitempty"` // VERSION_ID: "13"
	Name    string `json:"name,omitempty"`    // PRETTY_NAME
}

// File is a regular file of an image.
type File struct {
	Path       string `json:"path"` // without a leading slash
	Size       int64  `json:"size"` // bytes
	SHA1       string `json:"sha1"` // hexadecimal; SPDX 2.3 wants it (section 8.4)
	SHA256     string `json:"sha256"`
	Executable bool   `json:"executable,omitempty"`
	Layer      string `json:"layer"` // diffID
}

// Disagreement is a package that a buildpack declares and the image does not show, or
// shows otherwise.
type Disagreement struct {
	Package    string `json:"package"`         // PURL as declared
	DeclaredBy string `json:"declaredBy"`      // the buildpack's id
	Found      string `json:"found,omitempty"` // PURL as found; "" when it is not there at all
	Why        string `json:"why"`             // one line
}

// Gap is a file that may tell of packages and could not be read: without it the account is
// incomplete.
type Gap struct {
	Path  string `json:"path"`
	Layer string `json:"layer"` // diffID
	Why   string `json:"why"`   // one line
}

// InBase says whether a layer of the base brought the package.
func (c Contents) InBase(p Package) bool {
	for _, layer := range c.Layers[:min(c.BaseLayers, len(c.Layers))] {
		if layer == p.Layer {
			return true
		}
	}
	return false
}
