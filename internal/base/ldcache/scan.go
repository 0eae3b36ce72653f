package ldcache

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"path"
	"strings"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Info is what the cache needs to know of one file. It is plain data: keep it by the
// file's digest and the file need not be read again. The zero Info is no library.
type Info struct {
	Soname   string `json:"soname,omitempty"`   // DT_SONAME; empty when the library states none
	Flags    uint32 `json:"flags,omitempty"`    // the entry's flags in glibc's dl-cache.h; 0 for what is no library of the architecture
	ISALevel uint32 `json:"isaLevel,omitempty"` // x86 only: 1, 2, 3 for a library that needs x86-64-v2, v3, v4
}

// IsLibrary says whether the file may be in the cache.
func (i Info) IsLibrary() bool { return i.Flags != 0 }

// A Debian architecture's ELF machine, and its flags in the cache: the libc6 type with
// the 64-bit ABI (ldconfig.h of glibc).
var machines = map[string]struct {
	machine elf.Machine
	flags   uint32
	triplet string
}{
	"amd64": {elf.EM_X86_64, 0x0303, "x86_64-linux-gnu"},
	"arm64": {elf.EM_AARCH64, 0x0a03, "aarch64-linux-gnu"},
}

// Candidate says whether a file of this name belongs into the cache if it is a library,
// so that the caller can spare itself reading the others. Directories are not its matter.
func Candidate(name string) bool {
	base := path.Base(name)
	return (strings.HasPrefix(base, "lib") || strings.HasPrefix(base, "ld-") ||
		strings.HasPrefix(base, "ld.so.") || strings.HasPrefix(base, "ld64.so.")) &&
		strings.Contains(base, ".so")
}

// limits keep hostile files from costing more than a library would.
const (
	maxHeaders = 512
	maxDynamic = 1 << 16 // bytes
	maxName    = 4096    // bytes of a soname
	maxNotes   = 1 << 16 // bytes
)

// Scan reads the headers of the file behind r. It gives the zero Info without an error
// for a file that is no shared library of the Debian architecture ("amd64", "arm64"),
// damaged files among them: ldconfig passes over them, too. An architecture it does not
// know is a fault of kind Usage, a failing read one of kind Failed.
func Scan(r io.ReaderAt, arch string) (Info, error) {
	m, ok := machines[arch]
	if !ok {
		return Info{}, fault.Newf(fault.Usage, "look for shared libraries", arch, "this architecture is not known").
			WithHint("The known ones are amd64 and arm64.")
	}
	info, err := scan(reader{r}, m.machine)
	if errors.Is(err, errNoLibrary) {
		return Info{}, nil
	}
	if err != nil {
		return Info{}, fault.New(fault.Failed, "look for shared libraries", "", err)
	}
	info.Flags = m.flags
	return info, nil
}

// errNoLibrary ends a scan that has seen enough.
var errNoLibrary = errors.New("no shared library")

// reader reads structures of a little endian file.
type reader struct{ r io.ReaderAt }

func (r reader) bytes(offset, size uint64, limit int) ([]byte, error) {
	if size > uint64(limit) || offset > 1<<62 {
		return nil, errNoLibrary
	}
	b := make([]byte, size)
	if n, err := r.r.ReadAt(b, int64(offset)); n < len(b) {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil, errNoLibrary
		}
		return nil, err
	}
	return b, nil
}

func (r reader) value(offset uint64, out any) error {
	b, err := r.bytes(offset, uint64(binary.Size(out)), 1<<20)
	if err != nil {
		return err
	}
	return binary.Read(bytes.NewReader(b), binary.LittleEndian, out)
}

// scan follows the program headers, as the dynamic linker does: section headers may have
// been stripped (glibc's elf/readelflib.c).
func scan(r reader, machine elf.Machine) (Info, error) {
	var h elf.Header64
	if err := r.value(0, &h); err != nil {
		return Info{}, err
	}
	if string(h.Ident[:4]) != elf.ELFMAG ||
		elf.Class(h.Ident[elf.EI_CLASS]) != elf.ELFCLASS64 ||
		elf.Data(h.Ident[elf.EI_DATA]) != elf.ELFDATA2LSB ||
		elf.Type(h.Type) != elf.ET_DYN || elf.Machine(h.Machine) != machine ||
		h.Phnum > maxHeaders || h.Phentsize != uint16(binary.Size(elf.Prog64{})) {
		return Info{}, errNoLibrary
	}
	headers := make([]elf.Prog64, h.Phnum)
	if err := r.value(h.Phoff, headers); err != nil {
		return Info{}, err
	}
	var info Info
	var dynamic *elf.Prog64
	for i := range headers {
		switch p := &headers[i]; elf.ProgType(p.Type) {
		case elf.PT_DYNAMIC:
			dynamic = p
		case elf.PT_GNU_PROPERTY:
			notes, err := r.bytes(p.Off, p.Filesz, maxNotes)
			if err != nil {
				return Info{}, err
			}
			if machine == elf.EM_X86_64 {
				info.ISALevel = isaLevel(notes)
			}
		}
	}
	if dynamic == nil {
		return Info{}, errNoLibrary
	}
	var err error
	info.Soname, err = soname(r, headers, dynamic)
	return info, err
}

// soname reads DT_SONAME out of the string table that DT_STRTAB points to.
func soname(r reader, headers []elf.Prog64, dynamic *elf.Prog64) (string, error) {
	table, err := r.bytes(dynamic.Off, dynamic.Filesz, maxDynamic)
	if err != nil {
		return "", err
	}
	var name, strtab uint64
	var hasName, hasTable bool
	for done := false; !done && len(table) >= 16; table = table[16:] {
		value := binary.LittleEndian.Uint64(table[8:])
		switch elf.DynTag(binary.LittleEndian.Uint64(table)) {
		case elf.DT_SONAME:
			name, hasName = value, true
		case elf.DT_STRTAB:
			strtab, hasTable = value, true
		case elf.DT_NULL:
			done = true
		}
	}
	if !hasTable {
		return "", errNoLibrary
	}
	if !hasName {
		return "", nil
	}
	for _, p := range headers {
		if elf.ProgType(p.Type) == elf.PT_LOAD && p.Vaddr <= strtab && strtab-p.Vaddr < p.Filesz {
			return r.text(strtab-p.Vaddr+p.Off+name, maxName)
		}
	}
	return "", errNoLibrary
}

// text reads a string up to its NUL.
func (r reader) text(offset uint64, limit int) (string, error) {
	if offset > 1<<62 {
		return "", errNoLibrary
	}
	b := make([]byte, limit)
	n, err := r.r.ReadAt(b, int64(offset))
	if end := bytes.IndexByte(b[:n], 0); end >= 0 {
		return string(b[:end]), nil
	}
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return "", err
	}
	return "", errNoLibrary
}

// The property of the x86-64 psABI that states the instruction set a file needs.
const (
	noteGNUProperty   = 5
	propertyISANeeded = 0xc0008002
)

// isaLevel gives the highest bit of GNU_PROPERTY_X86_ISA_1_NEEDED: 0 for the baseline, 1
// for x86-64-v2, and so on; 0 when the notes do not say.
func isaLevel(notes []byte) uint32 {
	le := binary.LittleEndian
	align := func(n uint32) uint64 { return (uint64(n) + 7) &^ 7 }
	for len(notes) >= 16 {
		nameSize, descSize, kind := le.Uint32(notes), le.Uint32(notes[4:]), le.Uint32(notes[8:])
		end := 12 + (uint64(nameSize)+3)&^3
		if end+align(descSize) > uint64(len(notes)) {
			return 0
		}
		if kind != noteGNUProperty || nameSize != 4 || string(notes[12:16]) != "GNU\x00" {
			notes = notes[end+align(descSize):]
			continue
		}
		for desc := notes[end : end+uint64(descSize)]; len(desc) >= 8; {
			property, size := le.Uint32(desc), le.Uint32(desc[4:])
			if 8+align(size) > uint64(len(desc)) {
				return 0
			}
			if property == propertyISANeeded && size == 4 {
				return highestBit(le.Uint32(desc[8:]))
			}
			desc = desc[8+align(size):]
		}
		return 0
	}
	return 0
}

func highestBit(v uint32) uint32 {
	level := uint32(0)
	for v >>= 1; v != 0; v >>= 1 {
		level++
	}
	return level
}
