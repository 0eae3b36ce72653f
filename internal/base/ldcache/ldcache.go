// Package ldcache takes the shared libraries of a composed tree and gives the
// /etc/ld.so.cache that ldconfig would write there, without running it: Scan looks at one
// file, Directories reads ld.so.conf, Collect picks the libraries, Build writes the cache.
package ldcache

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
)

// CachePath is where the dynamic linker looks for the cache, without the leading slash.
const CachePath = "etc/ld.so.cache"

// generator names the program that wrote the cache; it is constant so that the cache
// depends on the libraries alone.
const generator = "plimsoll"

// Library is one entry of the cache.
type Library struct {
	Soname   string // what programs ask for, such as "libz.so.1"
	Path     string // absolute path that the dynamic linker opens
	Flags    uint32 // as Info.Flags
	HWCaps   string // the glibc-hwcaps folder it is in, such as "x86-64-v3"; usually empty
	ISALevel uint32 // as Info.ISALevel; the cache keeps it only beside HWCaps
}

// The layout of struct cache_file_new and its neighbours in glibc's
// sysdeps/generic/dl-cache.h, version 1.1 of the format.
const (
	magic              = "glibc-ld.so.cache1.1"
	headerSize         = 48
	entrySize          = 24
	flagLittleEndian   = 2
	extensionMagic     = 0xeaa42174
	tagGenerator       = 0
	tagHWCaps          = 1
	extensionHeader    = 8
	sectionSize        = 16
	hwcapExtension     = 1 << 62 // the entry's low half is an index into the glibc-hwcaps section
	hwcapISALevelShift = 32
)

// Build writes the cache in glibc's new format, little endian, as both amd64 and arm64
// are. Among libraries of the same name and folder kind the order of libs stays: list
// those of the first search directory first, as Collect does.
func Build(libs []Library) []byte {
	libs = slices.Clone(libs)
	slices.SortStableFunc(libs, compare)
	hwcaps := subfolders(libs)
	table := newStrings(libs, hwcaps)
	base := uint32(headerSize + entrySize*len(libs))
	extension := (base + uint32(len(table.bytes)) + 3) &^ 3

	le := binary.LittleEndian
	b := append(make([]byte, 0, extension+128), magic...)
	b = le.AppendUint32(b, uint32(len(libs)))
	b = le.AppendUint32(b, uint32(len(table.bytes)))
	b = append(b, flagLittleEndian, 0, 0, 0)
	b = le.AppendUint32(b, extension)
	b = append(b, make([]byte, 12)...)
	for _, l := range libs {
		b = le.AppendUint32(b, l.Flags)
		b = le.AppendUint32(b, base+table.offset[l.Soname])
		b = le.AppendUint32(b, base+table.offset[l.Path])
		b = le.AppendUint32(b, 0) // osversion, no longer used
		b = le.AppendUint64(b, hwcapField(l, hwcaps))
	}
	b = append(b, table.bytes...)
	b = append(b, make([]byte, extension-uint32(len(b)))...)
	return appendExtension(b, base, table, hwcaps)
}

func hwcapField(l Library, hwcaps []string) uint64 {
	if l.HWCaps == "" {
		return 0
	}
	index, _ := slices.BinarySearch(hwcaps, l.HWCaps)
	return hwcapExtension | uint64(l.ISALevel)<<hwcapISALevelShift | uint64(index)
}

// appendExtension writes struct cache_extension: the generator, and the names of the
// glibc-hwcaps folders when there are some.
func appendExtension(b []byte, base uint32, table stringTable, hwcaps []string) []byte {
	le := binary.LittleEndian
	count := uint32(1)
	if len(hwcaps) > 0 {
		count = 2
	}
	start := uint32(len(b)) + extensionHeader + count*sectionSize
	names := uint32(4 * len(hwcaps))
	section := func(tag, offset, size uint32) {
		for _, v := range []uint32{tag, 0, offset, size} {
			b = le.AppendUint32(b, v)
		}
	}
	b = le.AppendUint32(b, extensionMagic)
	b = le.AppendUint32(b, count)
	section(tagGenerator, start+names, uint32(len(generator)))
	if len(hwcaps) > 0 {
		section(tagHWCaps, start, names)
	}
	for _, name := range hwcaps {
		b = le.AppendUint32(b, base+table.offset[name])
	}
	return append(b, generator...)
}

// compare is the order of elf/cache.c: names descending by libcmp, for the linker's
// binary search; then glibc-hwcaps entries before plain ones.
func compare(a, b Library) int {
	if c := libcmp(b.Soname, a.Soname); c != 0 {
		return c
	}
	if c := cmp.Compare(b.Flags, a.Flags); c != 0 {
		return c
	}
	if (a.HWCaps != "") != (b.HWCaps != "") {
		if a.HWCaps != "" {
			return -1
		}
		return 1
	}
	return strings.Compare(a.HWCaps, b.HWCaps)
}

// libcmp is glibc's _dl_cache_libcmp: bytes, but runs of digits by their number, and a
// digit after anything that is none. Numbers wrap at 32 bits and bytes are signed, as in
// glibc on amd64; the linker searches by the same function.
func libcmp(a, b string) int {
	at := func(s string, i int) byte {
		if i < len(s) {
			return s[i]
		}
		return 0
	}
	i, j := 0, 0
	for i < len(a) {
		ca, cb := a[i], at(b, j)
		switch {
		case isDigit(ca) && isDigit(cb):
			var na, nb int32
			na, i = number(a, i)
			nb, j = number(b, j)
			if na != nb {
				return cmp.Compare(na, nb)
			}
		case isDigit(ca):
			return 1
		case isDigit(cb):
			return -1
		case ca != cb:
			return cmp.Compare(int8(ca), int8(cb))
		default:
			i++
			j++
		}
	}
	return cmp.Compare(0, int8(at(b, j)))
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func number(s string, i int) (n int32, end int) {
	for ; i < len(s) && isDigit(s[i]); i++ {
		n = n*10 + int32(s[i]-'0')
	}
	return n, i
}

// subfolders gives the glibc-hwcaps folders in use, sorted: the position is the index.
func subfolders(libs []Library) []string {
	var names []string
	for _, l := range libs {
		if l.HWCaps != "" {
			names = append(names, l.HWCaps)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// stringTable is the cache's strings, each ended by NUL; a string that is the end of
// another shares its bytes (elf/stringtable.c).
type stringTable struct {
	bytes  []byte
	offset map[string]uint32
}

func newStrings(libs []Library, hwcaps []string) stringTable {
	all := slices.Clone(hwcaps)
	for _, l := range libs {
		all = append(all, l.Soname, l.Path)
	}
	// Sorted by their reversed bytes, descending, a string follows those it ends.
	slices.SortFunc(all, func(a, b string) int { return bytes.Compare(reversed(b), reversed(a)) })
	all = slices.Compact(all)
	table := stringTable{offset: map[string]uint32{}}
	previous := ""
	for i, s := range all {
		if i > 0 && strings.HasSuffix(previous, s) {
			table.offset[s] = table.offset[previous] + uint32(len(previous)-len(s))
		} else {
			table.offset[s] = uint32(len(table.bytes))
			table.bytes = append(append(table.bytes, s...), 0)
		}
		previous = s
	}
	return table
}

func reversed(s string) []byte {
	b := []byte(s)
	slices.Reverse(b)
	return b
}
