package layer

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"runtime/debug"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
)

// Record is what one layer tells: which packages and files it brings, and what it hides of
// the layers below. It is kept in the cache as JSON.
type Record struct {
	Recipe string // which code made it
	DiffID string // "sha256:…", of the uncompressed tar; verified

	Tells []Tell          `json:",omitempty"` // sorted by path
	Files []artifact.File `json:",omitempty"` // that no package of the layer owns, sorted by path; without Layer
	Gaps  []artifact.Gap  `json:",omitempty"` // without Layer

	Over Paths // replaced if they are files below: all entries, and what whiteouts name
	Cut  Paths // below these nothing of the layers below is left: all but folders, whiteouts, opaque folders
}

// Tell is a file that tells of packages, or a link that leads to one.
type Tell struct {
	Path     string
	Packages []artifact.Package `json:",omitempty"` // without Layer and FoundBy; Paths where they are not Path
	Licenses []string           `json:",omitempty"` // of the Debian package whose copyright file it is
	Link     string             `json:",omitempty"` // target of a symbolic link, as written
	Distro   *artifact.Distro   `json:",omitempty"`
	Declared []artifact.Package `json:",omitempty"` // by a buildpack
}

// format is raised whenever a Record of the same layer would be another.
const format = "3"

// Recipe names the code that reads layers: the format, and the parsers that come from
// elsewhere.
func Recipe() string {
	parts := []string{format}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if strings.HasSuffix(m.Path, "/osv-scalibr") || strings.HasSuffix(m.Path, "/go-rpmdb") {
				parts = append(parts, m.Path+"@"+m.Version)
			}
		}
	}
	return strings.Join(parts, " ")
}

// Hash stands for a path: the first 8 bytes of its SHA-256, so that nobody finds another
// path with the same in any useful time.
type Hash uint64

// HashOf gives the hash of a clean relative path.
func HashOf(path string) Hash {
	sum := sha256.Sum256([]byte(path))
	return Hash(binary.BigEndian.Uint64(sum[:]))
}

// Paths is a sorted set of hashes.
type Paths []Hash

// Has says whether the path is in the set.
func (p Paths) Has(h Hash) bool {
	_, ok := slices.BinarySearch(p, h)
	return ok
}

// MarshalJSON gives the hashes as one text in base64, 8 bytes each.
func (p Paths) MarshalJSON() ([]byte, error) {
	raw := make([]byte, 0, 8*len(p))
	for _, h := range p {
		raw = binary.BigEndian.AppendUint64(raw, uint64(h))
	}
	return json.Marshal(raw)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (p *Paths) UnmarshalJSON(text []byte) error {
	var raw []byte
	if err := json.Unmarshal(text, &raw); err != nil {
		return err
	}
	*p = make(Paths, 0, len(raw)/8)
	for ; len(raw) >= 8; raw = raw[8:] {
		*p = append(*p, Hash(binary.BigEndian.Uint64(raw)))
	}
	return nil
}

// sorted gives the set without what is twice in it.
func sorted(p Paths) Paths {
	slices.Sort(p)
	return slices.Clip(slices.Compact(p))
}
