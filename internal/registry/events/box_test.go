package events

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestRefuseAddress(t *testing.T) {
	for address, public := range map[string]bool{
		"93.184.216.34": true, "2606:2800:220:1::1": true,
		"127.0.0.1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false,
		"100.64.0.1": false, "0.0.0.0": false, "255.255.255.255": false, "224.0.0.1": false, "198.18.0.1": false,
		"::1": false, "fe80::1": false, "fd00::1": false, "::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false,
		"64:ff9b::7f00:1": false, "2002:7f00:1::": false, "::": false,
	} {
		err := refuseAddress("tcp", netip.AddrPortFrom(netip.MustParseAddr(address), 443).String(), nil)
		if (err == nil) != public {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestPausesGrowToAnHour(t *testing.T) {
	p := &postman{Bus: &Bus{o: Options{First: time.Second}}}
	for attempts, most := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 30: time.Hour, 100: time.Hour} {
		for range 100 {
			if pause := p.pauseAfter(attempts); pause < most/2 || pause > most {
				t.Errorf("after %d attempts it waits %v, want %v to %v", attempts, pause, most/2, most)
			}
		}
	}
}

// A file that is no letter is put aside, and holds up nothing.
func FuzzLetter(f *testing.F) {
	l := &letter{ID: "id", Subject: "s", Body: []byte("{}"), Queued: time.Unix(1, 0)}
	dir := f.TempDir()
	if err := l.write(dir, func(path string, text []byte) error { return os.WriteFile(path, text, 0o600) }); err != nil {
		f.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, l.file()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(l.file(), text)
	f.Add("0-0-0.json", []byte("{}"))
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		if _, _, ok := readName(name); !ok || filepath.Base(name) != name || len(name) > 200 {
			return
		}
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return // no name of a file
		}
		got, err := readLetter(path)
		if err == nil && got.file() != name {
			t.Fatalf("%q was read as %q", name, got.file())
		}
	})
}
