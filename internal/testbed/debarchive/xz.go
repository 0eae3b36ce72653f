package debarchive

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// storeXZ gives data as one .xz stream of one block of stored LZMA2 chunks (The .xz File
// Format, version 1.2): readers take it as any other, and no compressor is needed.
func storeXZ(data []byte) []byte {
	const chunk = 1 << 16
	flags := []byte{0, 1} // CRC32 after each block
	out := bytes.NewBufferString("\xfd7zXZ\x00")
	out.Write(flags)
	out.Write(crc(flags))

	header := []byte{2, 0, 0x21, 1, 8, 0, 0, 0} // 12 bytes with CRC; filter LZMA2, dictionary of 64 KiB
	start := out.Len()
	out.Write(header)
	out.Write(crc(header))
	kind := byte(1) // the first chunk resets the dictionary
	for rest := data; len(rest) > 0; kind = 2 {
		n := min(chunk, len(rest))
		out.Write([]byte{kind, byte((n - 1) >> 8), byte(n - 1)})
		out.Write(rest[:n])
		rest = rest[n:]
	}
	out.WriteByte(0)
	unpadded := out.Len() - start + crc32.Size
	pad(out, start)
	out.Write(crc(data))

	at := out.Len()
	records := []byte{0, 1}
	records = binary.AppendUvarint(records, uint64(unpadded))
	records = binary.AppendUvarint(records, uint64(len(data)))
	out.Write(records)
	pad(out, at)
	out.Write(crc(out.Bytes()[at:]))

	footer := binary.LittleEndian.AppendUint32(nil, uint32((out.Len()-at)/4-1))
	footer = append(footer, flags...)
	out.Write(crc(footer))
	out.Write(footer)
	out.WriteString("YZ")
	return out.Bytes()
}

func crc(b []byte) []byte { return binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(b)) }

// pad fills with zeros up to a multiple of four bytes since start.
func pad(out *bytes.Buffer, start int) {
	for (out.Len()-start)%4 != 0 {
		out.WriteByte(0)
	}
}
