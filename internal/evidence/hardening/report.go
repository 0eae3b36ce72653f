package hardening

// Report is the predicate of type artifact.PredicateHardening. Its JSON is an interface:
// fields are added, never renamed. The same image gives the same bytes. Lists are sorted by
// path, and hold what a container of the image would see; only secrets are told of every
// layer, for whoever pulls an image has all of them.
type Report struct {
	Rules    string `json:"rules"`    // version of the rules
	Platform string `json:"platform"` // "linux/arm64/v8"
	User     User   `json:"user"`

	SetID         []File    `json:"setID"`         // programs that run as their owner or group
	Capabilities  []File    `json:"capabilities"`  // programs that carry some
	WorldWritable []File    `json:"worldWritable"` // files, and folders without the sticky bit
	Programs      []Program `json:"programs"`      // that help an intruder
	Secrets       []Secret  `json:"secrets"`       // by layer, then by path

	Checks  []Check `json:"checks"`
	Skipped Skipped `json:"skipped"` // where no secret was looked for
}

// User is as whom a container starts.
type User struct {
	Value   string `json:"value"`   // as the configuration has it; "" is root
	Root    bool   `json:"root"`    // uid 0, or a name that stands for it
	Numeric bool   `json:"numeric"` // a cluster can tell that it is not root
}

// File is one with rights of its own.
type File struct {
	Path         string `json:"path"`                   // without a leading slash
	Mode         string `json:"mode"`                   // octal, with the special bits: "4755"
	Capabilities string `json:"capabilities,omitempty"` // hexadecimal security.capability attribute (linux/capability.h)
	Layer        string `json:"layer"`                  // diffID
}

// Program is one that an intruder is glad to find.
type Program struct {
	Kind  ProgramKind `json:"kind"`
	Path  string      `json:"path"`  // without a leading slash
	Layer string      `json:"layer"` // diffID
}

// ProgramKind says what a program is good for.
type ProgramKind string

// The kinds.
const (
	Shell          ProgramKind = "shell"
	PackageManager ProgramKind = "package-manager"
	Compiler       ProgramKind = "compiler"
	RemoteAccess   ProgramKind = "remote-access" // lets others in
	Privilege      ProgramKind = "privilege"     // makes one user another
	Network        ProgramKind = "network"       // fetches, listens, scans
)

// Secret says where one is, and never what.
type Secret struct {
	Kind    string `json:"kind"`              // "private-key", "aws-access-key", …
	In      Place  `json:"in"`                //
	Name    string `json:"name"`              // path without a leading slash, variable, label; "" in a command
	Line    int    `json:"line,omitempty"`    // from 1, in a file; in a history, the step
	Layer   string `json:"layer,omitempty"`   // diffID, of a file
	Deleted bool   `json:"deleted,omitempty"` // a higher layer hides the file: it is in the image all the same
	Sample  bool   `json:"sample,omitempty"`  // it stands among tests, examples or documents
}

// Place is where a secret was found.
type Place string

// The places.
const (
	InFile        Place = "file"
	InEnvironment Place = "environment"
	InLabel       Place = "label"
	InHistory     Place = "history"
	InCommand     Place = "command" // entrypoint, arguments, health check
)

// Check is one rule and what it came to.
type Check struct {
	ID     string `json:"id"` // "CIS-DI-4.1" is rule 4.1 of the CIS Docker Benchmark 1.6; "PLM-1" is ours
	Title  string `json:"title"`
	Result Result `json:"result"`
	Why    string `json:"why"` // one line
}

// Result is what a check came to.
type Result string

// The results.
const (
	Pass Result = "PASS"
	Warn Result = "WARN"
	Fail Result = "FAIL"
	Info Result = "INFO" // to know, neither good nor bad
)

// Skipped counts files.
type Skipped struct {
	Binary int `json:"binary"` // not text
	Cut    int `json:"cut"`    // text of which only the first MiB was searched
	More   int `json:"more"`   // findings of a layer past the number that is kept
}
