package base

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"plimsoll.dev/plimsoll/internal/base/content"
)

// layerFormat changes whenever the bytes of a layer made from the same nodes would.
const layerFormat = "1"

// key gives the name of the layer's bytes: a hash of the recipe and of its nodes.
func (p layerPlan) key(recipe string) string {
	sum := sha256.New()
	enc := json.NewEncoder(sum)
	_ = enc.Encode(layerFormat + " " + recipe)
	for n := range p.all() {
		_ = enc.Encode([]any{n.path, n.kind, n.mode, n.uid, n.gid, n.link, n.size, n.mtime, n.xattr, n.sum})
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// all gives the nodes of the layer in the order of its tar; a folder that several members
// ship comes once.
func (p layerPlan) all() func(yield func(*node) bool) {
	return func(yield func(*node) bool) {
		seen := map[string]bool{}
		for _, m := range p.members {
			for _, n := range m.nodes {
				if seen[n.path] {
					continue
				}
				seen[n.path] = true
				if !yield(n) {
					return
				}
			}
		}
		for _, n := range p.nodes {
			if !yield(n) {
				return
			}
		}
	}
}

// write streams the layer's uncompressed tar to w (OCI image-spec, layer.md).
func (p layerPlan) write(w io.Writer, cache *content.Cache) error {
	out := tar.NewWriter(w)
	wanted := map[*node]bool{}
	for n := range p.all() {
		wanted[n] = true
	}
	for _, m := range p.members {
		if err := writeMember(out, m, wanted, cache); err != nil {
			return fmt.Errorf("%s: %w", m.pkg, err)
		}
	}
	for _, n := range p.nodes {
		if err := writeMade(out, n); err != nil {
			return err
		}
	}
	return out.Close()
}

// writeMember writes the member's nodes in their order. The bytes of its files come as one
// stream in the same order, in which files that are not wanted are passed over.
func writeMember(out *tar.Writer, m *member, wanted map[*node]bool, cache *content.Cache) error {
	next := 0
	// flush writes what needs no stream, up to the next file that does.
	flush := func() error {
		for ; next < len(m.nodes) && !m.nodes[next].streams(); next++ {
			if n := m.nodes[next]; wanted[n] {
				if err := writeMade(out, n); err != nil {
					return err
				}
			}
		}
		return nil
	}
	err := cache.Walk(m.pkg.SHA256, m.content, func(file string, r io.Reader) error {
		if err := flush(); err != nil {
			return err
		}
		if next == len(m.nodes) || m.nodes[next].entry.Path != file {
			return nil
		}
		n := m.nodes[next]
		next++
		if !wanted[n] {
			return nil
		}
		if err := out.WriteHeader(n.header()); err != nil {
			return err
		}
		_, err := io.Copy(out, r)
		return err
	})
	if err != nil {
		return err
	}
	if err := flush(); err != nil {
		return err
	}
	if next < len(m.nodes) {
		return fmt.Errorf("its kept files lack %q", m.nodes[next].path)
	}
	return nil
}

func writeMade(out *tar.Writer, n *node) error {
	if err := out.WriteHeader(n.header()); err != nil {
		return err
	}
	_, err := out.Write(n.data)
	return err
}

// streams tells whether the node's bytes come from its package's files.
func (n *node) streams() bool { return n.kind == tar.TypeReg && n.entry != nil }

func (n *node) header() *tar.Header {
	h := &tar.Header{
		Typeflag: n.kind, Name: n.path, Linkname: n.link, Size: n.size, Mode: n.mode,
		Uid: n.uid, Gid: n.gid, ModTime: time.Unix(n.mtime, 0).UTC(),
	}
	if n.isDir() {
		h.Name += "/"
	}
	for name, value := range n.xattr {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["SCHILY.xattr."+name] = string(value)
	}
	return h
}
