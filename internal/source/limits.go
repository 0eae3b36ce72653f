package source

// Limits bound what a source may be, so that no archive or repository of a stranger fills
// a disk or keeps a processor busy. A zero field is its default; docs/sources.md lists them.
type Limits struct {
	Download int64 // bytes of an archive's file; 4 GiB
	Bytes    int64 // of all files, unpacked; 8 GiB
	Ratio    int64 // unpacked bytes for each packed one, in an archive over 64 MiB; 200
	Entries  int   // files and links; 500,000
	Path     int   // bytes of a path, and of a link's target; 1,024
	Depth    int   // folders in a path; 128
}

const (
	slack    = 64 << 20  // unpacked bytes that are never too many for an archive's size
	maxNames = 128 << 20 // bytes of all paths and targets together, which are kept in memory
	maxSteps = 10 << 20  // folders to look at in following all links
)

// settled gives the limits with their defaults.
func (l Limits) settled() Limits {
	set := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	set64 := func(field *int64, value int64) {
		if *field == 0 {
			*field = value
		}
	}
	set64(&l.Download, 4<<30)
	set64(&l.Bytes, 8<<30)
	set64(&l.Ratio, 200)
	set(&l.Entries, 500_000)
	set(&l.Path, 1024)
	set(&l.Depth, 128)
	return l
}
