package layer

import (
	"errors"
	"io"
	"os"
)

// inMemory is up to how many bytes a file is held in memory while it is looked at.
const inMemory = 8 << 20

// spool holds the bytes of one file at a time, for those who must jump in it: small ones in
// memory, large ones in one file that has no name.
type spool struct {
	dir  string
	mem  []byte
	disk *os.File
	size int64
	used bool // the disk, for the present file
}

// begin forgets the last file and makes ready for one of that size.
func (s *spool) begin(size int64) error {
	s.mem, s.size, s.used = s.mem[:0], 0, size > inMemory
	if !s.used {
		return nil
	}
	if s.disk == nil {
		f, err := os.CreateTemp(s.dir, "sbom-*")
		if err != nil {
			return err
		}
		s.disk = f
		if err := os.Remove(f.Name()); err != nil {
			return err
		}
	}
	if err := s.disk.Truncate(0); err != nil {
		return err
	}
	_, err := s.disk.Seek(0, io.SeekStart)
	return err
}

// Write appends.
func (s *spool) Write(p []byte) (int, error) {
	s.size += int64(len(p))
	if s.used {
		return s.disk.Write(p)
	}
	s.mem = append(s.mem, p...)
	return len(p), nil
}

// ReadAt reads of the present file.
func (s *spool) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 {
		return 0, errors.New("read before the beginning")
	}
	if s.used {
		return s.disk.ReadAt(p, at)
	}
	if at >= int64(len(s.mem)) {
		return 0, io.EOF
	}
	n := copy(p, s.mem[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (s *spool) close() {
	if s.disk != nil {
		_ = s.disk.Close() // it has no name: nothing is left of it
	}
}
