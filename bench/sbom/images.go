package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// recipe is an image of real packages, each of its parts one layer.
type recipe struct {
	name  string
	debs  []string // of the machine's own archive, with all they depend on
	npm   []string // "name@version"
	fat   bool     // a jar that holds all jars of the debs, as Spring Boot makes them
	goDir string   // a Go program, relative to this repository
	repo  bool     // the Go programs that this benchmark itself made
}

func recipes() []recipe {
	return []recipe{
		{name: "go", debs: []string{"ca-certificates", "tzdata"}, goDir: "examples/apps/go"},
		{
			name: "node", debs: []string{"nodejs", "ca-certificates"},
			npm: []string{
				"aws-sdk@2.1692.0", "express@4.21.1", "next@14.2.15", "react@18.3.1", "react-dom@18.3.1", "typescript@5.6.3",
				"webpack@5.95.0", "eslint@8.57.1", "jest@29.7.0", "lodash@4.17.21",
			},
		},
		{
			name: "jre", debs: []string{
				"openjdk-17-jre-headless", "liblog4j2-java", "libjetty9-java", "libspring-web-java", "libjackson2-databind-java", "libguava-java",
				"libcommons-text-java", "libhttpclient-java", "libnetty-java",
			}, fat: true,
		},
		{
			name: "large", debs: []string{
				"build-essential", "openjdk-17-jre-headless", "maven", "npm", "python3-pandas", "python3-django", "python3-flask",
				"postgresql", "golang-go", "ruby", "php-symfony-console",
			},
			npm: []string{"next@14.2.15", "react@18.3.1", "react-dom@18.3.1", "jest@29.7.0"}, repo: true,
		},
	}
}

// maker makes images in a folder, once each.
type maker struct {
	dir  string
	root string // of this repository
	own  []string
}

// image gives the folder of an OCI layout that holds the image.
func (m *maker) image(ctx context.Context, r recipe) (string, error) {
	final := filepath.Join(m.dir, "images", r.name)
	if _, err := os.Stat(final); err == nil {
		return final, nil
	}
	fmt.Fprintf(os.Stderr, "making the image %s …\n", r.name)
	work, err := os.MkdirTemp(m.dir, "work-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	var layers []v1.Layer
	for _, part := range []struct {
		name  string
		wants bool
		fill  func(context.Context, string, recipe) error
	}{
		{"debs", len(r.debs) > 0, m.debs}, {"npm", len(r.npm) > 0, npm}, {"fat", r.fat, m.fatJar}, {"go", r.goDir != "" || r.repo, m.goPrograms},
	} {
		if !part.wants {
			continue
		}
		root := filepath.Join(work, part.name)
		if err := errors.Join(os.MkdirAll(root, 0o755), part.fill(ctx, root, r)); err != nil {
			return "", fmt.Errorf("%s: %s: %w", r.name, part.name, err)
		}
		packed := root + ".tar.gz"
		if err := pack(root, packed); err != nil {
			return "", err
		}
		layer, err := tarball.LayerFromFile(packed, tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return "", err
		}
		layers = append(layers, layer)
	}
	return final, write(work, final, layers)
}

// write makes the layout aside, then renames it.
func write(work, final string, layers []v1.Layer) error {
	image, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), layers...)
	if err != nil {
		return err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return err
	}
	config.OS, config.Architecture = "linux", "amd64"
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return err
	}
	made := filepath.Join(work, "layout")
	at, err := layout.Write(made, empty.Index)
	if err != nil {
		return err
	}
	if err := at.AppendImage(image); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return err
	}
	return os.Rename(made, final)
}

// debs fetches packages with all they depend on, and unpacks them as dpkg would.
func (m *maker) debs(ctx context.Context, root string, r recipe) error {
	archives := filepath.Join(m.dir, "debs", r.name)
	status := filepath.Join(archives, "none")
	if err := errors.Join(os.MkdirAll(filepath.Join(archives, "partial"), 0o755), os.WriteFile(status, nil, 0o644)); err != nil {
		return err
	}
	args := []string{
		"-y", "-qq", "--download-only", "--no-install-recommends", "-o", "Dir::Cache::archives=" + archives,
		"-o", "Dir::State::status=" + status, "-o", "APT::Sandbox::User=root", "-o", "Debug::NoLocking=1", "install",
	}
	if err := command(ctx, "", "apt-get", append(args, r.debs...)...); err != nil {
		return err
	}
	list, err := filepath.Glob(filepath.Join(archives, "*.deb"))
	if err != nil || len(list) == 0 {
		return errors.Join(err, fmt.Errorf("apt-get fetched nothing into %s", archives))
	}
	info := filepath.Join(root, "var/lib/dpkg/info")
	if err := os.MkdirAll(info, 0o755); err != nil {
		return err
	}
	var database strings.Builder
	for _, deb := range list {
		stanza, err := unpack(ctx, deb, root, info)
		if err != nil {
			return fmt.Errorf("%s: %w", deb, err)
		}
		database.WriteString(stanza + "\n")
	}
	return os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), []byte(database.String()), 0o644)
}

// unpack puts one package into the root, with what dpkg keeps of it, and gives its stanza.
func unpack(ctx context.Context, deb, root, info string) (string, error) {
	if err := command(ctx, "", "dpkg-deb", "-x", deb, root); err != nil {
		return "", err
	}
	control, err := exec.CommandContext(ctx, "dpkg-deb", "-f", deb).Output()
	if err != nil {
		return "", err
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(string(control), "Package: "), "\n")
	files, err := exec.CommandContext(ctx, "sh", "-c", `dpkg-deb --fsys-tarfile "$1" | tar -t`, "sh", deb).Output()
	if err != nil {
		return "", err
	}
	var list strings.Builder
	for file := range strings.Lines(string(files)) {
		list.WriteString(strings.TrimSuffix(strings.TrimPrefix(strings.TrimRight(file, "\n"), "."), "/") + "\n")
	}
	sums, err := exec.CommandContext(ctx, "dpkg-deb", "-I", deb, "md5sums").Output()
	if err != nil {
		sums = nil // few have none
	}
	head, rest, _ := strings.Cut(string(control), "\n")
	return head + "\nStatus: install ok installed\n" + rest, errors.Join(
		os.WriteFile(filepath.Join(info, name+".list"), []byte(list.String()), 0o644),
		os.WriteFile(filepath.Join(info, name+".md5sums"), sums, 0o644),
	)
}

// npm installs packages as an app's.
func npm(ctx context.Context, root string, r recipe) error {
	app := filepath.Join(root, "workspace")
	if err := os.MkdirAll(app, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(app, "package.json"), []byte(`{"name":"app","version":"1.0.0"}`), 0o644); err != nil {
		return err
	}
	return command(ctx, app, "npm", append([]string{"install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"}, r.npm...)...)
}

// fatJar puts all jars of the debs into one.
func (m *maker) fatJar(ctx context.Context, root string, r recipe) error {
	app, lib := filepath.Join(root, "workspace"), filepath.Join(root, "BOOT-INF/lib")
	if err := errors.Join(os.MkdirAll(app, 0o755), os.MkdirAll(lib, 0o755)); err != nil {
		return err
	}
	jars, err := filepath.Glob(filepath.Join(filepath.Dir(root), "debs/usr/share/java/*.jar"))
	if err != nil {
		return err
	}
	for _, jar := range jars {
		if info, err := os.Lstat(jar); err != nil || !info.Mode().IsRegular() {
			continue
		}
		if err := command(ctx, "", "cp", jar, lib); err != nil {
			return err
		}
	}
	if err := command(ctx, root, "zip", "-q", "-r", "-0", filepath.Join(app, "app.jar"), "BOOT-INF"); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(root, "BOOT-INF"))
}

// goPrograms builds the example, or copies the programs that are there already.
func (m *maker) goPrograms(ctx context.Context, root string, r recipe) error {
	bin := filepath.Join(root, "usr/local/bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	if r.repo {
		return command(ctx, "", "cp", append(slices.Clone(m.own), bin)...)
	}
	return command(ctx, filepath.Join(m.root, r.goDir), "go", "build", "-o", bin, ".")
}

// pack writes the tree as a compressed tar, by path.
func pack(root, file string) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	packed := gzip.NewWriter(out)
	w := tar.NewWriter(packed)
	err = filepath.WalkDir(root, func(at string, d fs.DirEntry, err error) error {
		if err != nil || at == root {
			return err
		}
		return add(w, root, at, d)
	})
	return errors.Join(err, w.Close(), packed.Close(), out.Close())
}

func add(w *tar.Writer, root, at string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if link, err = os.Readlink(at); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	if h.Name, err = filepath.Rel(root, at); err != nil {
		return err
	}
	if info.IsDir() {
		h.Name += "/"
	}
	if err := w.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(at)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%.2000s", name, err, out)
	}
	return nil
}

// unpacked gives the size of the image's layers as tars, bytes.
func unpacked(dir string) (int64, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return 0, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return 0, err
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		return 0, err
	}
	layers, err := image.Layers()
	if err != nil {
		return 0, err
	}
	var total int64
	for _, l := range layers {
		plain, err := l.Uncompressed()
		if err != nil {
			return 0, err
		}
		n, err := io.Copy(io.Discard, plain)
		if err = errors.Join(err, plain.Close()); err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}
