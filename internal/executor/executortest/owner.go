package executortest

import (
	"io/fs"
	"syscall"
)

// owner gives a file's uid.
func owner(i fs.FileInfo) uint32 {
	st, ok := i.Sys().(*syscall.Stat_t)
	if !ok {
		return ^uint32(0)
	}
	return st.Uid
}
