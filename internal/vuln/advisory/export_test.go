package advisory

// OpenBytes is Open for fuzzing, which has no time for files.
func OpenBytes(data []byte) (*Database, error) { return fromBytes(data, "fuzz") }
