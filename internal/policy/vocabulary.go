package policy

import (
	"strings"
	"time"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"

	"plimsoll.dev/plimsoll/artifact"
)

// variable is a name that every expression may read.
type variable struct {
	name  string
	typ   *types.Type
	doc   string
	max   int  // the most entries
	timed bool // time alone changes it
	get   func(*question) (any, error)

	since func(*artifact.Facts) time.Time // of an age
}

// variables gives all of them in the order of the documentation.
func variables() []variable {
	return []variable{
		known("image", imageObject, "the manifest, its configuration and its repository", "", func(f *artifact.Facts) *artifact.ImageFacts { return &f.Image }),
		known("base", baseObject, "the image that it stands on", "no base is known", func(f *artifact.Facts) *artifact.BaseFacts { return f.Base }),
		known("source", sourceObject, "the source, as verified provenance has it", "no verified source", func(f *artifact.Facts) *artifact.SourceFacts { return f.Source }),
		known("provenance", provenanceObject, "the build, as verified provenance has it", "no verified provenance", func(f *artifact.Facts) *artifact.ProvenanceFacts { return f.Provenance }),
		fact("signatures", listOf(signatureObject), "verified signatures of the manifest; none: it is unsigned", maxList, (*question).signatures),
		fact("packages", listOf(packageObject), "what the layers hold, whatever an SBOM says", maxMany, (*question).packages),
		fact("findings", listOf(findingObject), "advisories that concern the packages", maxMany, (*question).findings),
		fact("licenses", types.NewListType(types.StringType), "the different licences of the packages", maxList, (*question).licenses),
		fact("unadvised", types.NewListType(types.StringType), `ecosystems of packages of which no feed knows advisories; "" for packages of none`, maxList, (*question).unadvised),
		known("sbom", sbomObject, "the signed bills of materials, held against the layers", "no verified SBOM", func(f *artifact.Facts) *artifact.SBOMFacts { return f.SBOM }),
		known("tests", testsObject, "verified test results", "no verified test results", func(f *artifact.Facts) *artifact.TestFacts { return f.Tests }),
		known("malware", malwareObject, "what a malware scan came to", "no verified malware scan", func(f *artifact.Facts) *artifact.MalwareFacts { return f.Malware }),
		known("hardening", hardeningObject, "how hard the image is", "no hardening report", func(f *artifact.Facts) *artifact.HardeningFacts { return f.Hardening }),
		fact("advisories", types.TimestampType, "when the feeds behind findings were last brought up to date", 0, (*question).advisories),
		fact("children", types.NewListType(types.StringType), "digests that an index names; each has a verdict of its own", maxList, func(q *question) (any, error) {
			return textsOf("children", q.subject.facts.Children)
		}),
		age("image", "since it was created", "image.created", func(f *artifact.Facts) time.Time { return f.Image.Created }),
		age("pushed", "since it was pushed here", "image.pushed", func(f *artifact.Facts) time.Time { return f.Image.Pushed }),
		age("base", "since its base was created", "base.created", func(f *artifact.Facts) time.Time {
			if f.Base == nil {
				return time.Time{}
			}
			return f.Base.Created
		}),
		age("advisories", "since the feeds were brought up to date", "advisories", func(f *artifact.Facts) time.Time { return f.Advisories }),
		age("malware", "since the malware scanner's signatures were made", "malware.signatures", func(f *artifact.Facts) time.Time {
			if f.Malware == nil {
				return time.Time{}
			}
			return f.Malware.Signatures
		}),
		is("base", func(q *question) bool { return q.subject.facts.Base != nil }),
		is("source", func(q *question) bool { return q.subject.facts.Source != nil }),
		is("provenance", func(q *question) bool { return q.subject.facts.Provenance != nil }),
		is("packages", func(q *question) bool { return q.subject.facts.Packages != nil }),
		is("findings", func(q *question) bool { return q.subject.facts.Findings != nil }),
		is("licenses", func(q *question) bool { return q.subject.facts.Licenses != nil }),
		is("sbom", func(q *question) bool { return q.subject.facts.SBOM != nil }),
		is("tests", func(q *question) bool { return q.subject.facts.Tests != nil }),
		is("malware", func(q *question) bool { return q.subject.facts.Malware != nil }),
		is("hardening", func(q *question) bool { return q.subject.facts.Hardening != nil }),
		is("advisories", func(q *question) bool { return !q.subject.facts.Advisories.IsZero() }),
		is("namespace", func(q *question) bool { return q.where.Namespace != "" }),
		is("environment", func(q *question) bool { return q.where.Environment != "" }),
		fact("where.namespace", types.StringType, "the Kubernetes namespace that it is to run in", maxText, func(q *question) (any, error) {
			return placeName("no namespace is known here", q.where.Namespace)
		}),
		fact("where.environment", types.StringType, "the environment of the gate", maxText, func(q *question) (any, error) {
			return placeName("no environment is known here", q.where.Environment)
		}),
		{name: "now", typ: types.TimestampType, doc: "the time of the verdict", timed: true, get: func(q *question) (any, error) {
			return types.Timestamp{Time: q.now}, nil
		}},
	}
}

func fact(name string, typ *types.Type, doc string, most int, get func(*question) (any, error)) variable {
	return variable{name: name, typ: typ, doc: doc, max: most, get: get}
}

// known is a variable that is a part of the facts: nil where the part is not known.
func known[T any](name string, of *object, doc, why string, get func(*artifact.Facts) *T) variable {
	return fact(name, of.typ, doc, 0, func(q *question) (any, error) {
		is := get(&q.subject.facts)
		if is == nil {
			return nil, &missing{why}
		}
		return &thing{of, is}, nil
	})
}

// skew is how far a time may lie ahead of the clock.
const skew = 5 * time.Minute

// age is a duration. A time that is still to come gives none: a clock is wrong, or somebody
// lies.
func age(name, doc, of string, get func(*artifact.Facts) time.Time) variable {
	return variable{name: "age." + name, typ: types.DurationType, doc: "how long it is " + doc, timed: true, since: get, get: func(q *question) (any, error) {
		at := get(&q.subject.facts)
		switch {
		case at.IsZero():
			return nil, &missing{of + " is not known"}
		case at.After(q.now.Add(skew)):
			return nil, &missing{of + " lies in the future"}
		}
		return types.Duration{Duration: q.now.Sub(at)}, nil
	}}
}

func is(name string, get func(*question) bool) variable {
	return fact("known."+name, types.BoolType, "whether anything is known of "+name, 0, func(q *question) (any, error) {
		return types.Bool(get(q)), nil
	})
}

func placeName(why, s string) (any, error) {
	if s == "" {
		return nil, &missing{why}
	}
	return textOf("where", s)
}

func listOf(o *object) *types.Type { return types.NewListType(o.typ) }

// objects gives the kinds of values that variables and fields hold.
func objects() []*object {
	return []*object{
		imageObject, baseObject, sourceObject, provenanceObject, signatureObject, packageObject, findingObject,
		sbomObject, testsObject, malwareObject, hardeningObject,
	}
}

var imageObject = newObject("Image", "a manifest in a repository",
	text("repository", `"path" in the local store, else "registry/path"`, func(f *artifact.ImageFacts) string { return f.Repository }),
	text("registry", `the registry's host, "" for the local store`, func(f *artifact.ImageFacts) string { return registryOf(f.Repository) }),
	text("digest", "of the manifest", func(f *artifact.ImageFacts) string { return f.Digest }),
	texts("tags", "that name it in this repository, sorted", func(f *artifact.ImageFacts) []string { return f.Tags }),
	text("kind", `"image", "index" or "artifact"`, func(f *artifact.ImageFacts) string { return string(f.Kind) }),
	text("mediaType", "of the manifest", func(f *artifact.ImageFacts) string { return f.MediaType }),
	text("artifactType", `as the manifest has it, or ""`, func(f *artifact.ImageFacts) string { return f.ArtifactType }),
	text("platform", `"linux/amd64", "linux/arm64/v8"; "" for an index`, func(f *artifact.ImageFacts) string { return f.Platform }),
	moment("created", "as the configuration has it", func(f *artifact.ImageFacts) time.Time { return f.Created }),
	moment("pushed", "to this repository", func(f *artifact.ImageFacts) time.Time { return f.Pushed }),
	number("size", "bytes of its configuration and compressed layers", func(f *artifact.ImageFacts) int64 { return f.Size }),
	number("layers", "how many", func(f *artifact.ImageFacts) int64 { return int64(f.Layers) }),
	pairs("labels", "of the configuration", func(f *artifact.ImageFacts) map[string]string { return f.Labels }),
	pairs("annotations", "of the manifest", func(f *artifact.ImageFacts) map[string]string { return f.Annotations }),
	text("user", `as the configuration has it; "" is root`, func(f *artifact.ImageFacts) string { return f.User }),
	texts("entrypoint", "as the configuration has it", func(f *artifact.ImageFacts) []string { return f.Entrypoint }),
	texts("command", "as the configuration has it", func(f *artifact.ImageFacts) []string { return f.Command }),
	texts("ports", `"8080/tcp"`, func(f *artifact.ImageFacts) []string { return f.Ports }),
)

var baseObject = newObject("Base", "the image that another stands on",
	text("name", `the reference it was taken by, or ""`, func(f *artifact.BaseFacts) string { return f.Name }),
	text("digest", "of its manifest", func(f *artifact.BaseFacts) string { return f.Digest }),
	moment("created", "when its newest verified provenance says that it was built, else as its configuration has it", func(f *artifact.BaseFacts) time.Time { return f.Created }),
	flag("verified", "someone trusted signed it", func(f *artifact.BaseFacts) bool { return f.Verified }),
	text("by", "who: the key's name or the identity", func(f *artifact.BaseFacts) string { return f.By }),
)

var sourceObject = newObject("Source", "where the software is from",
	text("kind", `"git", "archive", "directory", "image"; "" where another builder does not say`, func(f *artifact.SourceFacts) string { return f.Kind }),
	text("url", `"" for a folder of somebody's machine`, func(f *artifact.SourceFacts) string { return f.URL }),
	text("revision", "exact", func(f *artifact.SourceFacts) string { return f.Revision }),
	text("ref", "branch or tag that was asked for", func(f *artifact.SourceFacts) string { return f.Ref }),
	flag("clean", "every file is in that revision", func(f *artifact.SourceFacts) bool { return f.Clean }),
)

var provenanceObject = newObject("Provenance", "how it was built",
	text("builder", "the builder's id, a URI", func(f *artifact.ProvenanceFacts) string { return f.Builder }),
	text("buildType", "a URI", func(f *artifact.ProvenanceFacts) string { return f.BuildType }),
	text("by", "who signed it", func(f *artifact.ProvenanceFacts) string { return f.By }),
	moment("started", "when the build was", func(f *artifact.ProvenanceFacts) time.Time { return f.Started }),
	moment("finished", "when the build was", func(f *artifact.ProvenanceFacts) time.Time { return f.Finished }),
	number("level", "SLSA build level the builder is known for, 0 to 3", func(f *artifact.ProvenanceFacts) int64 { return int64(f.Level) }),
)

var signatureObject = newObject("Signature", "a verified signature",
	text("by", "the key's name, or the certificate's identity", func(f *artifact.SignatureFacts) string { return f.By }),
	text("issuer", `of the identity, a URL; "" for a key`, func(f *artifact.SignatureFacts) string { return f.Issuer }),
	flag("keyless", "a certificate made it", func(f *artifact.SignatureFacts) bool { return f.Keyless }),
	moment("at", "by a trusted log or timestamp authority", func(f *artifact.SignatureFacts) time.Time { return f.At }),
)

var sbomObject = newObject("SBOM", "bills of materials",
	texts("formats", `"spdx", "cyclonedx": verified ones`, func(f *artifact.SBOMFacts) []string { return f.Formats }),
	number("packages", "named in the fullest of them", func(f *artifact.SBOMFacts) int64 { return int64(f.Packages) }),
	flag("complete", "nothing in the layers was unreadable", func(f *artifact.SBOMFacts) bool { return f.Complete }),
	texts("unlisted", "package URLs found in the layers that no bill names", func(f *artifact.SBOMFacts) []string { return f.Unlisted }),
	texts("absent", "package URLs named in a bill that the layers do not hold", func(f *artifact.SBOMFacts) []string { return f.Absent }),
)

var testsObject = newObject("Tests", "test results",
	text("result", `"PASSED", "WARNED", "FAILED": the worst`, func(f *artifact.TestFacts) string { return f.Result }),
	texts("passed", "their names", func(f *artifact.TestFacts) []string { return f.Passed }),
	texts("failed", "their names", func(f *artifact.TestFacts) []string { return f.Failed }),
)

var malwareObject = newObject("Malware", "a malware scan",
	text("result", `"clean", "infected", "incomplete"`, func(f *artifact.MalwareFacts) string { return f.Result }),
	texts("infected", `"path: signature"`, func(f *artifact.MalwareFacts) []string { return f.Infected }),
	text("scanner", "its name and version", func(f *artifact.MalwareFacts) string { return f.Scanner }),
	moment("signatures", "when the scanner's signatures were made", func(f *artifact.MalwareFacts) time.Time { return f.Signatures }),
)

var hardeningObject = newObject("Hardening", "how hard an image is",
	flag("root", "it starts as root", func(f *artifact.HardeningFacts) bool { return f.Root }),
	flag("numericUser", "its user is a number", func(f *artifact.HardeningFacts) bool { return f.NumericUser }),
	texts("shells", "paths", func(f *artifact.HardeningFacts) []string { return f.Shells }),
	texts("packageManagers", "paths", func(f *artifact.HardeningFacts) []string { return f.PackageManagers }),
	texts("compilers", "paths", func(f *artifact.HardeningFacts) []string { return f.Compilers }),
	texts("remoteAccess", "paths of servers and clients for remote access", func(f *artifact.HardeningFacts) []string { return f.RemoteAccess }),
	texts("setID", "paths of files that change user or group", func(f *artifact.HardeningFacts) []string { return f.SetID }),
	texts("secrets", `"kind in place name", never the secret`, func(f *artifact.HardeningFacts) []string { return f.Secrets }),
	pairs("checks", `"CIS-DI-4.1": "PASS", "WARN", "FAIL", "INFO"`, func(f *artifact.HardeningFacts) map[string]string { return f.Checks }),
)

var packageObject = newObject("Package", "a piece of software",
	text("type", `"deb", "golang", "npm", "pypi", "maven", …`, func(p *pack) string { return p.Type }),
	text("namespace", `"debian", "@scope", a Maven group, or ""`, func(p *pack) string { return p.Namespace }),
	text("name", "without its namespace", func(p *pack) string { return p.Name }),
	text("version", "as its own world writes it", func(p *pack) string { return p.Version }),
	text("arch", "as its own world writes it", func(p *pack) string { return p.Arch }),
	text("distro", `"debian-13", or ""`, func(p *pack) string { return p.Distro }),
	text("source", `the source package, or ""`, func(p *pack) string { return p.Source }),
	text("sourceVersion", "of the source package", func(p *pack) string { return p.SourceVersion }),
	text("supplier", "who the package says makes it", func(p *pack) string { return p.Supplier }),
	text("owner", "the distribution's own package that ships this one", func(p *pack) string { return p.Owner }),
	text("sha256", "of the one file that it is, hexadecimal", func(p *pack) string { return p.SHA256 }),
	texts("licenses", "SPDX expressions, or what it says itself", func(p *pack) []string { return p.Licenses }),
	texts("paths", "files that tell of it", func(p *pack) []string { return p.Paths }),
	text("layer", "diffID of the layer that brought it", func(p *pack) string { return p.Layer }),
	texts("foundBy", `"image" for what was read there, else the buildpack that declares it`, func(p *pack) []string { return p.FoundBy }),
	text("purl", "its package URL", func(p *pack) string { return p.PURL() }),
	inBase((*pack).inBase),
)

var findingObject = newObject("Finding", "an advisory that concerns a package",
	text("id", "the name people know it by: the CVE if it has one", func(f *found) string { return f.ID }),
	texts("aliases", "other names for the same", func(f *found) []string { return f.Aliases }),
	text("summary", "one line", func(f *found) string { return f.Summary }),
	text("severity", `"critical", "high", "medium", "low", "none", "unknown"`, func(f *found) string { return string(f.Severity) }),
	number("rank", "of the severity: 0 for critical, 5 for unknown", func(f *found) int64 { return int64(f.Severity.Rank()) }),
	fraction("score", "CVSS base score; 0 is unknown", func(f *found) float64 { return f.Score }),
	text("vector", "CVSS vector of the score", func(f *found) string { return f.Vector }),
	text("source", "the feeds that say so", func(f *found) string { return f.Finding.Source }),
	text("fixed", `lowest version above the package's that is not affected, or ""`, func(f *found) string { return f.Fixed }),
	flag("fixable", "there is a fix, and it counts", func(f *found) bool { return f.Fixed != "" && f.Suppressed == nil }),
	flag("suppressed", "a trusted VEX statement says that it does not count", func(f *found) bool { return f.Suppressed != nil }),
	text("state", `"fixed", "affected", or the distribution's own word`, func(f *found) string { return f.State }),
	text("remedy", `"rebase", "rebuild", "override", "none"`, func(f *found) string { return string(f.Remedy) }),
	moment("published", "when the advisory was: since when a fix it names could be had", func(f *found) time.Time { return f.Published }),
	flag("knownExploited", "listed in a KEV catalogue", func(f *found) bool { return f.KnownExploited }),
	fraction("epss", "probability of exploitation in 30 days, 0 to 1", func(f *found) float64 { return f.EPSS }),
	part("package", "that it concerns", packageObject, (*found).pack),
	text("purl", "of the package", func(f *found) string { return f.Package.PURL() }),
	inBase((*found).inBase),
)

func inBase[T any](get func(*T) *bool) field {
	return field{"inBase", types.BoolType, "a layer of the base brought it", 0, func(owner any) (any, error) {
		in := get(owner.(*T))
		if in == nil {
			return nil, &missing{"inBase is not known"}
		}
		return types.Bool(*in), nil
	}}
}

// registryOf gives the first part of a repository where that is a host: it holds a dot or a
// colon, or is "localhost" (distribution's reference grammar).
func registryOf(repository string) string {
	host, _, found := strings.Cut(repository, "/")
	if found && (strings.ContainsAny(host, ".:") || host == "localhost") {
		return host
	}
	return ""
}

// provider tells the type checker and the planner of the objects, and of all else what the
// registry it stands before says.
type provider struct {
	types.Provider
	types.Adapter

	objects map[string]*object
}

func newProvider(provide types.Provider, adapt types.Adapter) *provider {
	p := &provider{Provider: provide, Adapter: adapt, objects: map[string]*object{}}
	for _, o := range objects() {
		p.objects[o.name] = o
	}
	return p
}

// FindStructType implements types.Provider.
func (p *provider) FindStructType(name string) (*types.Type, bool) {
	if o, ok := p.objects[name]; ok {
		return types.NewTypeTypeWithParam(o.typ), true
	}
	return p.Provider.FindStructType(name)
}

// FindStructFieldNames implements types.Provider.
func (p *provider) FindStructFieldNames(name string) ([]string, bool) {
	o, ok := p.objects[name]
	if !ok {
		return p.Provider.FindStructFieldNames(name)
	}
	names := make([]string, len(o.fields))
	for i, f := range o.fields {
		names[i] = f.name
	}
	return names, true
}

// FindStructFieldType implements types.Provider. The planner takes the getter from here, so
// that nothing is looked up by name when an expression runs.
func (p *provider) FindStructFieldType(name, of string) (*types.FieldType, bool) {
	o, ok := p.objects[name]
	if !ok {
		return p.Provider.FindStructFieldType(name, of)
	}
	f := o.find(of)
	if f == nil {
		return nil, false
	}
	return &types.FieldType{Type: f.typ, IsSet: f.isSet, GetFrom: f.get}, true
}

// NativeToValue implements types.Adapter: almost everything here is a value already.
func (p *provider) NativeToValue(value any) ref.Val {
	switch v := value.(type) {
	case ref.Val:
		return v
	case []ref.Val:
		return types.NewRefValList(p, v)
	}
	return p.Adapter.NativeToValue(value)
}
