package index

// OpenBytes is Open for fuzzing, which has no time for files.
func OpenBytes(data []byte, suite string) (*Index, error) { return fromBytes(data, "fuzz", suite) }
