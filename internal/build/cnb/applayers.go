package cnb

import "fmt"

// Part says to what a layer of an app image belongs.
type Part string

// The parts of an app image above its run image.
const (
	PartBuildpack   Part = "buildpack"   // what a buildpack brought
	PartApplication Part = "application" // the source's own files
	PartLauncher    Part = "launcher"    // what starts the processes
	PartSBOM        Part = "sbom"        // the buildpacks' bills of materials
)

// AppLayer says what a layer of an app image is.
type AppLayer struct {
	Part      Part
	Name      string // what is in it, in a few words
	Buildpack string // "id@version" of the one that brought it
}

// Layers gives what the exporter noted of the layers, by diffID.
func (m *LifecycleMetadata) Layers() map[string]AppLayer {
	known := map[string]AppLayer{
		m.Launcher.SHA:     {Part: PartLauncher, Name: "launcher"},
		m.Config.SHA:       {Part: PartLauncher, Name: "launcher's configuration"},
		m.ProcessTypes.SHA: {Part: PartLauncher, Name: "process types"},
	}
	if m.SBOM != nil {
		known[m.SBOM.SHA] = AppLayer{Part: PartSBOM, Name: "bills of materials"}
	}
	slices := m.appSlices()
	for i, sha := range slices {
		name := "application"
		if i < len(slices)-1 { // the last one holds what no slice named
			name = fmt.Sprintf("application, slice %d", i+1)
		}
		known[sha] = AppLayer{Part: PartApplication, Name: name}
	}
	for _, b := range m.Buildpacks {
		for name, layer := range b.Layers {
			known[layer.SHA] = AppLayer{Part: PartBuildpack, Name: name, Buildpack: FullName(b.ID, b.Version)}
		}
	}
	delete(known, "")
	return known
}

// appSlices reads the diffIDs of a list of layers, or of one alone.
func (m *LifecycleMetadata) appSlices() []string {
	var shas []string
	add := func(v any) {
		if one, ok := v.(map[string]any); ok {
			if sha, ok := one["sha"].(string); ok {
				shas = append(shas, sha)
			}
		}
	}
	if list, ok := m.App.([]any); ok {
		for _, one := range list {
			add(one)
		}
		return shas
	}
	add(m.App)
	return shas
}
