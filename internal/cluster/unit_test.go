package cluster

import (
	"crypto/x509"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/fault"
)

func TestIssue(t *testing.T) {
	t.Parallel()
	now := time.Now()
	day := 24 * time.Hour
	first := certificate{name: "server", common: "server", names: []string{"localhost", "127.0.0.1"}}
	for _, c := range []struct {
		name   string
		reason string
		then   func(dir string) // what happens between the two
		later  time.Duration
		want   certificate
		anew   bool
	}{
		{name: "good", reason: "what is good stays", want: first},
		{name: "near its end", reason: "two months before its end it is made anew", later: 306 * day, want: first, anew: true},
		{name: "not near its end", reason: "until then it stays", later: 304 * day, want: first},
		{name: "other names", reason: "it must say what is wanted", want: certificate{name: "server", common: "server", names: []string{"localhost"}}, anew: true},
		{name: "other user", reason: "it must say what is wanted", want: certificate{name: "server", common: "other", names: first.names}, anew: true},
		{name: "half", reason: "what is not whole is no certificate", want: first, anew: true,
			then: func(dir string) { _ = os.WriteFile(filepath.Join(dir, "server.key"), []byte("half"), 0o600) }},
		{name: "other key", reason: "a certificate fits its key", want: first, anew: true,
			then: func(dir string) {
				_ = os.Rename(filepath.Join(dir, "ca.key"), filepath.Join(dir, "server.key"))
			}},
		{name: "other authority", reason: "nobody trusts the first authority any more", want: first, anew: true,
			then: func(dir string) { _ = os.Remove(filepath.Join(dir, "ca.crt")) }},
		{name: "authority near its end", reason: "all is made anew with it", later: 9*365*day + day, want: first, anew: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			before := issued(t, dir, first, now)
			if c.then != nil {
				c.then(dir)
			}
			after := issued(t, dir, c.want, now.Add(c.later))
			if anew := before.SerialNumber.Cmp(after.SerialNumber) != 0; anew != c.anew {
				t.Errorf("made anew: %v, want %v: %s", anew, c.anew, c.reason)
			}
		})
	}
}

// issued gives a certificate that verifies as a server's and as a client's.
func issued(t *testing.T, dir string, c certificate, now time.Time) *x509.Certificate {
	t.Helper()
	a, err := openAuthority(dir, now)
	if err == nil {
		err = a.issue(c, now)
	}
	if err != nil {
		t.Fatal(err)
	}
	cert, _, err := readPair(a.file(c.name))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: "localhost", CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
			t.Error(err)
		}
	}
	info, err := os.Stat(a.file(c.name) + ".key")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v; want mode 0600", info, err)
	}
	return cert
}

func TestWhoOnlyAsksDoesNotServe(t *testing.T) {
	t.Parallel()
	a, err := openAuthority(t.TempDir(), time.Now())
	if err == nil {
		err = a.issue(certificate{name: "user", common: "user"}, time.Now())
	}
	if err != nil {
		t.Fatal(err)
	}
	cert, _, err := readPair(a.file("user"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, cert.ExtKeyUsage); diff != "" {
		t.Errorf("a user's certificate is for (-want +got):\n%s", diff)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cluster.json")
	first, err := openSettings(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := openSettings(path)
	if err != nil {
		t.Fatal(err)
	}
	if first.Network != second.Network || first.APIPort != second.APIPort || first.EtcdPort != second.EtcdPort || first.PeerPort != second.PeerPort {
		t.Errorf("ports %+v became %+v", first, second)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(first.EtcdPort))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	third, err := openSettings(path)
	if err != nil || third.EtcdPort == first.EtcdPort || third.APIPort != first.APIPort {
		t.Errorf("with etcd's port taken: %+v, %v; want another for it alone", third, err)
	}
	api, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(first.APIPort))
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	if _, err := openSettings(path); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("with the API's port taken: %v, want it to be unavailable", err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openSettings(path); fault.HintOf(err) == "" {
		t.Errorf("half a file gives %v, want a hint", err)
	}
}

func TestLogIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "logs", "part.log")
	log := newBoundedLog(path)
	line := []byte(strings.Repeat("x", 1<<20-1) + "\n")
	for range 20 {
		if n, err := log.Write(line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	again := newBoundedLog(path) // another run goes on where the first ended
	if _, err := again.Write([]byte("last\n")); err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	now, err := os.ReadFile(path)
	if err != nil || len(now) != 4<<20+5 || !strings.HasSuffix(string(now), "last\n") {
		t.Errorf("the log has %d bytes, %v; want the last of 20 MiB", len(now), err)
	}
	older, err := os.Stat(path + ".1")
	if err != nil || older.Size() != logBytes {
		t.Errorf("the older log: %v, %v", older, err)
	}
	if all, err := os.ReadDir(filepath.Dir(path)); err != nil || len(all) != 2 {
		t.Errorf("%d files, %v; want two", len(all), err)
	}
}

func TestNetworksDoNotOverlap(t *testing.T) {
	t.Parallel()
	n := network{Base: netip.MustParseAddr("100.64.252.0")}
	got := []string{n.whole().String(), n.host().String(), n.node().String(), n.services().String(), n.service().String(), n.pods().String()}
	want := []string{"100.64.252.0/22", "100.64.252.1", "100.64.252.2", "100.64.253.0/24", "100.64.253.1", "100.64.254.0/23"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a network's parts (-want +got):\n%s", diff)
	}
	if n.pods().Masked() != n.pods() || n.services().Masked() != n.services() || n.services().Overlaps(n.pods()) {
		t.Error("its ranges are not apart")
	}
	if overlaps([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, n.whole()) {
		t.Error("10.0.0.0/8 is taken for a part of it")
	}
	for _, used := range []string{"100.64.0.0/10", "100.64.255.7/32"} {
		if !overlaps([]netip.Prefix{netip.MustParsePrefix(used)}, n.whole()) {
			t.Errorf("%s is not seen to overlap", used)
		}
	}
}

func TestRoutesAreRead(t *testing.T) {
	t.Parallel()
	table := "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
		"eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n" + // the default route
		"eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n" +
		"half\t000200C0\n"
	want := []string{"192.0.2.0/24"} // as amd64 and arm64 write it
	var got []string
	for _, p := range routed(table) {
		got = append(got, p.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes lead to (-want +got):\n%s", diff)
	}
}

func TestRulesAreKnownByTheirComment(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ line, comment string }{
		{"-A POSTROUTING -s 100.64.4.0/22 ! -o plim01234567 -m comment --comment plim01234567 -j MASQUERADE", "plim01234567"},
		{"-A FORWARD -i plim01234567 -j ACCEPT", ""},
		{"-P FORWARD ACCEPT", ""},
		{`-A FORWARD -m comment --comment "of another" -j ACCEPT`, `"of`},
		{"-A FORWARD -m comment --comment", ""},
		{"", ""},
	} {
		if _, comment := appended(c.line); comment != c.comment {
			t.Errorf("%q has comment %q, want %q", c.line, comment, c.comment)
		}
	}
}

func TestTheNodeHasAName(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"vm": "vm", "Build.Example": "build.example", "my_host": "my-host", "-x-": "x", "": "node", "ü": "node", strings.Repeat("a", 64): "node",
	} {
		if got := nodeName(host); got != want {
			t.Errorf("host %q is node %q, want %q", host, got, want)
		}
	}
}

func TestPodsAskNoResolverOfLoopback(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"an ordinary one", "search example\nnameserver 192.0.2.53\n", "search example\nnameserver 192.0.2.53\n"},
		{"one of two", "nameserver 127.0.0.1\nnameserver 192.0.2.53\n", "nameserver 192.0.2.53\n"},
		{"systemd's", "nameserver 127.0.0.53\noptions edns0\n", ""},
		{"version 6", "nameserver ::1\n", ""},
		{"none", "", ""},
	} {
		if got := withoutLoopback(c.text); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
