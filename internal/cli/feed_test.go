package cli

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/internal/vuln/feed"
)

// TestFeedsAreShownWithoutCredentials: they stand in feeds.yaml, and nowhere else.
func TestFeedsAreShownWithoutCredentials(t *testing.T) {
	for _, form := range []format{"", "json", "yaml"} {
		var out bytes.Buffer
		env := &Env{Out: &out, Err: &out, Home: t.TempDir(), Getenv: func(string) string { return "" }, format: form}
		err := changeFeeds(env, func([]feed.Feed) ([]feed.Feed, error) {
			return []feed.Feed{
				{Name: "osv", Kind: feed.OSV, URL: "https://me:hidden@mirror.example.com/osv?token=hidden", Ecosystems: []string{"Go"}},
				{Name: "debian", Kind: feed.Debian, Mirrors: map[string]string{"trixie": "https://me:hidden@mirror.example.com/debian"}},
			}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if text := out.String(); strings.Contains(text, "hidden") || !strings.Contains(text, "mirror.example.com/osv") {
			t.Errorf("-o %q prints\n%s", form, text)
		}
		if info, err := os.Stat(env.home().FeedsFile()); err != nil || info.Mode() != 0o600 {
			t.Errorf("others may read it: %v, %v", info.Mode(), err)
		}
		kept, _, err := feed.Load(env.home().FeedsFile())
		if err != nil || len(kept) != 2 || !strings.Contains(kept[0].URL, "me:hidden@") || !strings.Contains(kept[1].Mirrors["trixie"], "me:hidden@") {
			t.Errorf("kept are %+v, %v", kept, err)
		}
	}
}
