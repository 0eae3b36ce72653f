package artifact

import "testing"

func TestURLNamesNoPathOfThisMachine(t *testing.T) {
	tests := []struct {
		name   string
		source Source
		want   string
	}{
		{"a plain directory", Source{Kind: DirectorySource, Location: "/home/ann/app"}, ""},
		{"a work tree", Source{Kind: DirectorySource, Location: "/home/ann/app", Origin: "https://git.example/app"}, "https://git.example/app"},
		{"git", Source{Kind: GitSource, Location: "ssh://git@git.example/app"}, "ssh://git@git.example/app"},
		{"git on disk", Source{Kind: GitSource, Location: "file:///srv/app.git"}, ""},
		{"an archive's file", Source{Kind: ArchiveSource, Location: "/tmp/app.zip"}, ""},
		{"an archive's URL", Source{Kind: ArchiveSource, Location: "https://example/app.zip"}, "https://example/app.zip"},
		{"an image", Source{Kind: ImageSource, Location: "oci://example/app"}, "oci://example/app"},
		{"nothing", Source{}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.source.URL(); got != tt.want {
				t.Errorf("URL() = %q, want %q", got, tt.want)
			}
		})
	}
}
