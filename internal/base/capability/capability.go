// Package capability takes the text form of file capabilities, such as
// "cap_net_raw+ep", and gives the bytes of the security.capability extended attribute
// that a layer carries for the file; and the other way round.
package capability

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Attribute is the name of the extended attribute. In a layer it is the PAX record
// "SCHILY.xattr." + Attribute.
const Attribute = "security.capability"

// Set is what a file carries: bit n of a mask is capability number n of
// linux/capability.h. A file has one effective bit for all of its capabilities, so the
// texts that ask for some of them only are refused. The zero Set is the empty one.
type Set struct {
	Permitted   uint64
	Inheritable uint64
	Effective   bool // the program starts with its permitted capabilities switched on
}

// The layout of struct vfs_cap_data, linux/capability.h.
const (
	revisionMask = 0xff000000
	revision1    = 0x01000000
	revision2    = 0x02000000
	revision3    = 0x03000000
	effective    = 0x000001
	size1        = 12
	size2        = 20
	size3        = 24
)

// Xattr gives the attribute's value: struct vfs_cap_data of revision 2, 20 bytes, little
// endian on every architecture (linux/capability.h, VFS_CAP_REVISION_2).
func (s Set) Xattr() []byte {
	magic := uint32(revision2)
	if s.Effective {
		magic |= effective
	}
	b := make([]byte, 0, size2)
	b = binary.LittleEndian.AppendUint32(b, magic)
	b = binary.LittleEndian.AppendUint32(b, uint32(s.Permitted))
	b = binary.LittleEndian.AppendUint32(b, uint32(s.Inheritable))
	b = binary.LittleEndian.AppendUint32(b, uint32(s.Permitted>>32))
	b = binary.LittleEndian.AppendUint32(b, uint32(s.Inheritable>>32))
	return b
}

// Decode reads an attribute's value of revision 1 or 2, and of revision 3 when it belongs
// to the root of no user namespace. Anything else is a fault of kind Failed.
func Decode(xattr []byte) (Set, error) {
	bad := func(format string, args ...any) (Set, error) {
		return Set{}, fault.New(fault.Failed, "read file capabilities", fmt.Sprintf("%x", xattr), fmt.Errorf(format, args...))
	}
	if len(xattr) < 4 {
		return bad("%d bytes are too few", len(xattr))
	}
	magic := binary.LittleEndian.Uint32(xattr)
	want := map[uint32]int{revision1: size1, revision2: size2, revision3: size3}[magic&revisionMask]
	if want == 0 {
		return bad("revision %d is not known", magic>>24)
	}
	if len(xattr) != want {
		return bad("%d bytes, where revision %d has %d", len(xattr), magic>>24, want)
	}
	if extra := magic &^ (revisionMask | effective); extra != 0 {
		return bad("flags %#x are not known", extra)
	}
	word := func(i int) uint64 { return uint64(binary.LittleEndian.Uint32(xattr[4*i:])) }
	s := Set{Permitted: word(1), Inheritable: word(2), Effective: magic&effective != 0}
	if want > size1 {
		s.Permitted |= word(3) << 32
		s.Inheritable |= word(4) << 32
	}
	if want == size3 && word(5) != 0 {
		return bad("they belong to the user namespace of uid %d", word(5))
	}
	return s, nil
}

// String gives a text that Parse reads back as s, in getcap's order and spelling where
// all capabilities have the same flags: "cap_net_admin,cap_net_raw=ep".
func (s Set) String() string {
	e := ""
	if s.Effective {
		e = "e"
	}
	both := s.Permitted & s.Inheritable
	var clauses []string
	for _, c := range []struct {
		mask  uint64
		flags string
	}{
		{both, e + "ip"},
		{s.Permitted &^ both, e + "p"},
		{s.Inheritable &^ both, e + "i"},
	} {
		if c.mask != 0 {
			clauses = append(clauses, listNames(c.mask)+"="+c.flags)
		}
	}
	switch {
	case len(clauses) > 0:
		return strings.Join(clauses, " ")
	case s.Effective:
		return "=e"
	}
	return "="
}

func listNames(mask uint64) string {
	if mask == all {
		return ""
	}
	var list []string
	for m := mask; m != 0; m &= m - 1 {
		n := bits.TrailingZeros64(m)
		if n < len(names) {
			list = append(list, names[n])
		} else {
			list = append(list, fmt.Sprint(n))
		}
	}
	return strings.Join(list, ",")
}
