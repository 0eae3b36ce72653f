// Package class takes a Java class file and gives its name and whether it can be started.
package class

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Class is what a class file says
// (https://docs.oracle.com/javase/specs/jvms/se21/html/jvms-4.html).
type Class struct {
	Name string // such as com.example.Main
	Main bool   // it has public static void main(String[])
}

// Tags of the constant pool (section 4.4).
const (
	tagUTF8               = 1
	tagInteger            = 3
	tagFloat              = 4
	tagLong               = 5
	tagDouble             = 6
	tagClass              = 7
	tagString             = 8
	tagFieldref           = 9
	tagMethodref          = 10
	tagInterfaceMethodref = 11
	tagNameAndType        = 12
	tagMethodHandle       = 15
	tagMethodType         = 16
	tagDynamic            = 17
	tagInvokeDynamic      = 18
	tagModule             = 19
	tagPackage            = 20
)

const (
	magic        = 0xCAFEBABE
	accPublic    = 0x0001
	accStatic    = 0x0008
	mainName     = "main"
	mainArgument = "([Ljava/lang/String;)V"
)

// Parse reads a class file as far as its methods.
func Parse(file []byte) (Class, error) {
	r := &reader{in: bytes.NewReader(file)}
	if r.u4() != magic {
		return Class{}, errors.New("it is no Java class file")
	}
	r.skip(4) // versions
	pool := r.pool()
	r.skip(2) // access flags
	name := pool.text(pool.class[r.u2()])
	r.skip(2)                          // super class
	r.skip(2 * int(r.u2()))            // interfaces
	r.members(func(_, _, _ uint16) {}) // fields
	c := Class{Name: dotted(name)}
	r.members(func(flags, name, descriptor uint16) {
		const wanted = accPublic | accStatic
		c.Main = c.Main || flags&wanted == wanted && pool.text(name) == mainName && pool.text(descriptor) == mainArgument
	})
	if r.err != nil {
		return Class{}, fmt.Errorf("read a Java class file: %w", r.err)
	}
	if c.Name == "" {
		return Class{}, errors.New("read a Java class file: it has no name")
	}
	return c, nil
}

func dotted(name string) string {
	text := []byte(name)
	for i, b := range text {
		if b == '/' {
			text[i] = '.'
		}
	}
	return string(text)
}

// pool is what is needed of a constant pool, by index.
type pool struct {
	utf8  map[uint16]string
	class map[uint16]uint16
}

func (p pool) text(index uint16) string { return p.utf8[index] }

// reader reads big-endian numbers until the first error.
type reader struct {
	in  *bytes.Reader
	err error
}

func (r *reader) pool() pool {
	p := pool{utf8: map[uint16]string{}, class: map[uint16]uint16{}}
	count := int(r.u2())
	for i := 1; i < count && r.err == nil; i++ {
		switch tag := r.u1(); tag {
		case tagUTF8:
			text := make([]byte, r.u2())
			r.full(text)
			p.utf8[uint16(i)] = string(text)
		case tagClass:
			p.class[uint16(i)] = r.u2()
		case tagString, tagMethodType, tagModule, tagPackage:
			r.skip(2)
		case tagMethodHandle:
			r.skip(3)
		case tagInteger, tagFloat, tagFieldref, tagMethodref, tagInterfaceMethodref, tagNameAndType, tagDynamic, tagInvokeDynamic:
			r.skip(4)
		case tagLong, tagDouble:
			r.skip(8)
			i++ // they count twice
		default:
			r.fail(fmt.Errorf("constant %d has the unknown tag %d", i, tag))
		}
	}
	return p
}

// members passes over fields or methods and shows each.
func (r *reader) members(show func(flags, name, descriptor uint16)) {
	for count := r.u2(); count > 0 && r.err == nil; count-- {
		flags, name, descriptor := r.u2(), r.u2(), r.u2()
		for attributes := r.u2(); attributes > 0 && r.err == nil; attributes-- {
			r.skip(2)
			r.skip(int(r.u4()))
		}
		if r.err == nil {
			show(flags, name, descriptor)
		}
	}
}

func (r *reader) u1() byte {
	var b [1]byte
	r.full(b[:])
	return b[0]
}

func (r *reader) u2() uint16 {
	var b [2]byte
	r.full(b[:])
	return binary.BigEndian.Uint16(b[:])
}

func (r *reader) u4() uint32 {
	var b [4]byte
	r.full(b[:])
	return binary.BigEndian.Uint32(b[:])
}

func (r *reader) full(b []byte) {
	if r.err == nil {
		_, err := io.ReadFull(r.in, b)
		r.fail(err)
	}
	if r.err != nil {
		clear(b)
	}
}

func (r *reader) skip(n int) {
	if r.err != nil {
		return
	}
	if n > r.in.Len() {
		r.fail(io.ErrUnexpectedEOF)
		return
	}
	_, err := r.in.Seek(int64(n), io.SeekCurrent)
	r.fail(err)
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}
