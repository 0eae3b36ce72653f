package layer

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
)

const (
	gzipLevel = 5         // most of the best ratio at a tenth of its time
	gzipBlock = 256 << 10 // bytes that one core compresses at a time
)

func recipe(compression string) string {
	return fmt.Sprint(compression, " ", gzipLevel, " ", gzipBlock, " ", compressorVersion())
}

// compressorVersion gives the versions of the modules that compress: another one may make
// other bytes of the same input.
func compressorVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var versions []string
	for _, module := range info.Deps {
		if strings.HasPrefix(module.Path, "github.com/klauspost/") {
			versions = append(versions, module.Path+"@"+module.Version)
		}
	}
	return strings.Join(versions, " ")
}

// compressor gives a writer whose output depends on its input alone.
func compressor(w io.Writer, compression string) (io.WriteCloser, error) {
	switch compression {
	case "gzip":
		packed, err := pgzip.NewWriterLevel(w, gzipLevel)
		if err != nil {
			return nil, err
		}
		// Blocks are compressed by all cores, but their bounds, and so the bytes, depend on
		// the block size alone.
		return packed, packed.SetConcurrency(gzipBlock, runtime.GOMAXPROCS(0))
	case "zstd":
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	}
	return nil, errors.New("unknown compression " + compression)
}
