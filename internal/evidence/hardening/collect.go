package hardening

import (
	"archive/tar"
	"bytes"
	"cmp"
	"errors"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
)

// What a layer may hold, so that a hostile one costs little.
const (
	maxEntries  = 4_000_000
	maxFindings = 10_000  // of files, and of secrets, that are kept; the others are counted
	maxLinks    = 100     // of the root
	maxText     = 1 << 20 // bytes of a file in which secrets are looked for
	sniffed     = 8 << 10 // bytes by which text is told from the rest, as git does
)

// Collector makes the Summary of a layer from its entries, in the order of the tar.
type Collector struct {
	out     Summary
	entries int
	paths   paths
	at      map[string]notable // by path, for hard links
	text    []byte
}

// notable is what is worth telling of a path.
type notable struct {
	mode         int64
	capabilities string
	kind         ProgramKind
}

// NewCollector gives a Collector for the layer of the diffID.
func NewCollector(diffID string) *Collector {
	return &Collector{out: Summary{Layer: diffID}, at: map[string]notable{}, text: make([]byte, 0, sniffed)}
}

// File takes an entry. It reads of r what it needs, which for most files is a few kB.
func (c *Collector) File(header *tar.Header, r io.Reader) error {
	if c.entries++; c.entries > maxEntries {
		return errors.New("the layer has more than " + strconv.Itoa(maxEntries) + " files")
	}
	at := clean(header.Name)
	if at == "" {
		return nil
	}
	if c.whiteout(at) {
		return nil
	}
	c.paths.add(at, header.Typeflag == tar.TypeDir)
	found := c.notable(at, header)
	switch _, again := c.at[at]; {
	case found == notable{}:
		delete(c.at, at) // the last entry of a path counts
	case again || len(c.at) < maxFindings:
		c.at[at] = found
	default:
		c.out.Skipped.More++
	}
	if header.Typeflag == tar.TypeSymlink && !strings.Contains(at, "/") && len(c.out.Links) < maxLinks {
		c.out.Links = append(c.out.Links, link{at, clean(header.Linkname)})
	}
	if header.Typeflag == tar.TypeReg && header.Size > 0 {
		return c.search(at, header.Size, r)
	}
	return nil
}

// clean gives the path without leading slashes and dots; "" for the root.
func clean(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

// whiteout notes what the entry hides (OCI image-spec, layer.md, "Whiteouts"), and says
// whether it is one.
func (c *Collector) whiteout(at string) bool {
	dir, base := path.Split(at)
	hidden, is := strings.CutPrefix(base, ".wh.")
	switch {
	case !is:
		return false
	case base == ".wh..wh..opq":
		c.paths.empty(strings.TrimSuffix(dir, "/"))
	case hidden != "" && !strings.HasPrefix(hidden, ".wh."): // else bookkeeping of aufs
		c.paths.add(dir+hidden, false)
	}
	return true
}

const (
	setIDs = 0o6000
	sticky = 0o1000
)

func (c *Collector) notable(at string, header *tar.Header) notable {
	var found notable
	switch header.Typeflag {
	case tar.TypeLink:
		return c.linked(at, header)
	case tar.TypeSymlink:
		return notable{kind: programKind(at)}
	case tar.TypeReg:
		found.capabilities = capabilities(header)
		if header.Mode&0o111 != 0 {
			found.kind = programKind(at)
		}
		if header.Mode&setIDs != 0 && header.Mode&0o111 != 0 || header.Mode&0o002 != 0 {
			found.mode = header.Mode & 0o7777
		}
	case tar.TypeDir:
		if header.Mode&0o002 != 0 && header.Mode&sticky == 0 {
			found.mode = header.Mode & 0o7777
		}
	}
	if found.mode == 0 && found.capabilities != "" {
		found.mode = header.Mode & 0o7777
	}
	return found
}

// linked gives what is worth telling of a further name of a file: all that is of the first,
// and its own name.
func (c *Collector) linked(at string, header *tar.Header) notable {
	found := c.at[clean(header.Linkname)]
	found.kind = programKind(at)
	return found
}

// search looks for secrets in text.
func (c *Collector) search(at string, size int64, r io.Reader) error {
	n, err := io.ReadFull(r, c.text[:min(size, sniffed)])
	text := c.text[:n]
	if err != nil {
		return err
	}
	if bytes.IndexByte(text, 0) >= 0 {
		c.out.Skipped.Binary++
		return nil
	}
	if size > sniffed {
		length := min(size, maxText)
		c.text = slices.Grow(text, int(length)-n)
		text = c.text[:length]
		if _, err := io.ReadFull(r, text[n:]); err != nil {
			return err
		}
		if size > maxText {
			c.out.Skipped.Cut++
		}
	}
	for _, hit := range secretsIn(at, text) {
		if len(c.out.Secrets) == maxFindings {
			c.out.Skipped.More++
			continue
		}
		c.out.Secrets = append(c.out.Secrets, Secret{Kind: hit.kind, In: InFile, Name: at, Line: hit.line, Layer: c.out.Layer, Sample: isSample(at)})
	}
	return nil
}

// Summary gives what the entries came to. The Collector is used up.
func (c *Collector) Summary() *Summary {
	for at, found := range c.at {
		file := File{Path: at, Mode: strconv.FormatInt(found.mode, 8), Capabilities: found.capabilities, Layer: c.out.Layer}
		if found.mode&setIDs != 0 && found.mode&0o111 != 0 {
			c.out.SetID = append(c.out.SetID, file)
		}
		if found.capabilities != "" {
			c.out.Capabilities = append(c.out.Capabilities, file)
		}
		if found.mode&0o002 != 0 && found.mode&sticky == 0 {
			c.out.WorldWritable = append(c.out.WorldWritable, file)
		}
		if found.kind != "" {
			c.out.Programs = append(c.out.Programs, Program{Kind: found.kind, Path: at, Layer: c.out.Layer})
		}
	}
	for _, files := range [][]File{c.out.SetID, c.out.Capabilities, c.out.WorldWritable} {
		slices.SortFunc(files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	}
	slices.SortFunc(c.out.Programs, func(a, b Program) int { return cmp.Compare(a.Path, b.Path) })
	slices.SortFunc(c.out.Secrets, compareSecrets)
	c.out.Secrets = slices.Compact(c.out.Secrets)
	c.out.index = c.paths.index()
	return &c.out
}
