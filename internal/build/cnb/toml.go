package cnb

import (
	"bytes"

	"github.com/BurntSushi/toml"
)

// runImage is a RunImage as lifecycles read it.
type runImage struct {
	Image   string   `toml:"image"`
	Mirrors []string `toml:"mirrors,omitempty"`
}

// OrderTOML gives the text of an order.toml (platform.md, "order.toml").
func OrderTOML(order Order) string {
	return encode(struct {
		Order Order `toml:"order"`
	}{order})
}

// RunTOML gives the text of a run.toml, the default image first (platform.md, "run.toml").
func RunTOML(images []RunImage) string {
	var out struct {
		Images []runImage `toml:"images"`
	}
	for _, i := range images {
		out.Images = append(out.Images, runImage(i))
	}
	return encode(out)
}

// StackTOML gives the text of a stack.toml, which came before run.toml and holds one image.
func StackTOML(image RunImage) string {
	return encode(struct {
		RunImage runImage `toml:"run-image"`
	}{runImage(image)})
}

// encode cannot fail: what it is given holds only text, flags and lists.
func encode(value any) string {
	var out bytes.Buffer
	encoder := toml.NewEncoder(&out)
	encoder.Indent = ""
	_ = encoder.Encode(value)
	return out.String()
}
