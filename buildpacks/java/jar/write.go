package jar

import (
	"archive/zip"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"
)

// epoch is the date of all entries: the first that a zip file can hold.
var epoch = time.Date(1980, 1, 1, 0, 0, 2, 0, time.UTC)

// Write makes an archive from the files of the trees, with the same bytes each time. Of two
// files with one path the first tree's is taken. Nothing is compressed: a layer is anyway.
func Write(file, mainClass string, trees ...fs.FS) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	archive := zip.NewWriter(f)
	manifest := "Manifest-Version: 1.0\r\nMain-Class: " + mainClass + "\r\n\r\n"
	w, err := entry(archive, manifestName)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, manifest); err != nil {
		return err
	}
	from := map[string]fs.FS{manifestName: nil}
	var names []string
	for _, tree := range trees {
		err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
			if _, taken := from[name]; err != nil || taken || !d.Type().IsRegular() {
				return err
			}
			from[name] = tree
			names = append(names, name)
			return nil
		})
		if err != nil {
			return err
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if err := add(archive, name, from[name]); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return f.Close()
}

func entry(archive *zip.Writer, name string) (io.Writer, error) {
	header := &zip.FileHeader{Name: name, Method: zip.Store, Modified: epoch}
	header.SetMode(0o644)
	return archive.CreateHeader(header)
}

func add(archive *zip.Writer, name string, tree fs.FS) error {
	in, err := tree.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	w, err := entry(archive, name)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, in)
	return err
}
