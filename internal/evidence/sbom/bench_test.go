package sbom_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/internal/evidence/sbom"
)

// baseLayers are those of a base like ours: a package a layer, with its papers and files.
func baseLayers(t testing.TB, packages, files int) []counted {
	layers := []counted{layerOf(t, reg("etc/os-release", osRelease))}
	for i := range packages {
		name := fmt.Sprintf("package-%03d", i)
		members := []member{reg("var/lib/dpkg/status.d/"+name, stanza(name, "1.0-1", "Source: source\n"))}
		list := "/.\n"
		for j := range files {
			path := fmt.Sprintf("usr/lib/%s/file-%03d", name, j)
			members = append(members, reg(path, "x"))
			list += "/" + path + "\n"
		}
		members = append(members, reg("var/lib/dpkg/info/"+name+".list", list), reg("usr/share/doc/"+name+"/copyright",
			"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nLicense: GPL-2+\n"))
		layers = append(layers, layerOf(t, members...))
	}
	return layers
}

// BenchmarkFleet is what a rebase of many images costs: a base of 60 layers that all have
// in common, and two small layers of each app.
func BenchmarkFleet(b *testing.B) {
	base := baseLayers(b, 60, 50)
	var images []sbom.Image
	for i := range 200 {
		own := layerOf(b, reg("workspace/main.js", fmt.Sprint(i)), reg("workspace/package.json", npmText("app", fmt.Sprint(i))))
		var modules []member
		for j := range 40 {
			modules = append(modules, reg(fmt.Sprintf("workspace/node_modules/m%d/package.json", j), npmText(fmt.Sprintf("m%d", j), "1.0."+fmt.Sprint(i))))
		}
		images = append(images, imageOf(append(append([]counted{}, base...), layerOf(b, modules...), own)...))
	}
	s := sbom.New(sbom.Options{Cache: b.TempDir()})
	for _, image := range images {
		contents(b, s, image)
	}
	b.Run("known", func(b *testing.B) { // as when evidence of the same image is made again
		for i := 0; b.Loop(); i++ {
			contents(b, s, images[i%len(images)])
		}
	})
	b.Run("new", func(b *testing.B) { // a base under images that never stood on it: only layers are known
		for i := 0; b.Loop(); i++ {
			image := images[i%len(images)]
			marker := layerOf(b, reg("marker", fmt.Sprint(i)))
			image.Layers = append(append(image.Layers[:61:61], marker.Layer), image.Layers[61:]...)
			contents(b, s, image)
		}
	})
}

// BenchmarkLayer reads a layer of files that do not compress well, and some that do.
func BenchmarkLayer(b *testing.B) {
	random := rand.NewChaCha8([32]byte{})
	var members []member
	for i := range 2000 {
		noise := make([]byte, 8<<10)
		_, _ = random.Read(noise)
		members = append(members, reg(fmt.Sprintf("usr/lib/%d/%d", i%50, i), string(noise)+strings.Repeat("some text ", 2<<10)))
	}
	plain := tarOf(b, members...)
	packed := gzipped(b, plain)
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		contents(b, sbom.New(sbom.Options{}), imageOf(bytesLayer(diffID(plain), packed)))
	}
}
