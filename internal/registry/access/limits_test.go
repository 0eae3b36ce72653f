package access_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRequestLimits(t *testing.T) {
	b := serve(t, site+"  limits: {requests: {perSecond: 1, burst: 5}, anonymous: {perSecond: 1, burst: 3}}\n")
	count := func(q asking) (served int, last got) {
		q.path = "/v2/public/app/tags/list"
		for range 10 {
			if last = b.ask(q); last.status != http.StatusTooManyRequests {
				served++
			}
		}
		return served, last
	}
	for name, c := range map[string]struct {
		q    asking
		most int
	}{"bob": {asking{user: "bob", password: "bob-secret"}, 6}, "anybody": {asking{}, 4}} {
		served, last := count(c.q)
		if served == 0 || served > c.most || last.header.Get("Retry-After") == "" || !strings.Contains(last.body, "TOOMANYREQUESTS") {
			t.Errorf("%s: %d of 10 were served, the last got %d %s", name, served, last.status, last.body)
		}
	}
	if got := b.ask(asking{path: "/v2/", user: "ann", password: "ann-secret"}); got.status != 200 {
		t.Errorf("others pay for it: got %d", got.status)
	}
}

// TestGuessing: who guesses is made to wait, and then does not learn that he guessed right.
func TestGuessing(t *testing.T) {
	b := serve(t, site)
	ask := func(user, password string) got { return b.ask(asking{path: "/v2/", user: user, password: password}) }
	for range 20 {
		if got := ask("ann", "wrong"); got.status != http.StatusUnauthorized {
			t.Fatalf("got %d", got.status)
		}
	}
	if got := ask("ann", "ann-secret"); got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") == "" {
		t.Errorf("the right password after wrong ones: got %d", got.status)
	}
	if got := b.ask(asking{path: "/token", user: "ann", password: "ann-secret"}); got.status != http.StatusTooManyRequests {
		t.Errorf("the token server is a way around: got %d", got.status)
	}
	if got := ask("bob", "bob-secret"); got.status != 200 {
		t.Errorf("another user: got %d", got.status)
	}
	b.hand.move(time.Minute)
	if got := ask("ann", "ann-secret"); got.status != 200 {
		t.Errorf("after a while: got %d", got.status)
	}
	b.hand.move(2 * time.Hour)
	if got := ask("ann", "ann-secret"); got.status != 200 {
		t.Errorf("the next day: got %d", got.status)
	}
	for i := range 200 {
		ask(strings.Repeat("x", i+1), "wrong")
	}
	if got := ask("bob", "bob-secret"); got.status != http.StatusTooManyRequests {
		t.Errorf("who tries many users is not slowed down: got %d", got.status)
	}
	if got := ask("ann", "ann-secret"); got.status != 200 {
		t.Errorf("one who was let in from there, and pays for others: got %d", got.status)
	}
	b.hand.move(11 * time.Minute)
	if got := ask("bob", "bob-secret"); got.status != 200 {
		t.Errorf("when nobody has tried for a while: got %d", got.status)
	}
}

// TestClientsBehindProxies: who comes through a trusted proxy counts by his own address, and
// nobody can pretend to come through one.
func TestClientsBehindProxies(t *testing.T) {
	const tight = site + "  limits: {anonymous: {perSecond: 1, burst: 2}}\n"
	for _, c := range []struct {
		name, proxies string
		from          [2]string // X-Forwarded-For of many requests, and of the next
		apart         bool      // they count apart
	}{
		{"nobody is trusted", "[]", [2]string{"192.0.2.1", "192.0.2.2"}, false},
		{"two clients", "[127.0.0.0/8]", [2]string{"192.0.2.1", "192.0.2.2"}, true},
		{"one client who invents others", "[127.0.0.0/8]", [2]string{"198.51.100.1, 192.0.2.1", "198.51.100.2, 192.0.2.1"}, false},
		{"through two proxies", "[127.0.0.0/8, 10.0.0.0/8]", [2]string{"192.0.2.1, 10.1.2.3", "192.0.2.2, 10.3.2.1"}, true},
		{"another network is trusted", "[10.0.0.0/8]", [2]string{"192.0.2.1", "192.0.2.2"}, false},
		{"one network of IPv6", "[127.0.0.0/8]", [2]string{"2001:db8::1", "2001:db8::2"}, false},
		{"two networks of IPv6", "[127.0.0.0/8]", [2]string{"2001:db8::1", "2001:db8:0:1::1"}, true},
		{"no address", "[127.0.0.0/8]", [2]string{"unknown", "other"}, false},
	} {
		b := serve(t, tight+"  trustedProxies: "+c.proxies+"\n")
		ask := func(from string) int {
			return b.ask(asking{path: "/v2/public/app/tags/list", header: http.Header{"X-Forwarded-For": {from}}}).status
		}
		for range 5 {
			ask(c.from[0])
		}
		if got := ask(c.from[1]) != http.StatusTooManyRequests; got != c.apart {
			t.Errorf("%s: counted apart: %t", c.name, got)
		}
	}
}

func TestSizeLimits(t *testing.T) {
	b := serve(t, site+"  limits: {blobSize: 1000, manifestSize: 500}\n")
	as := func(q asking) asking { q.user, q.password = "ann", "ann-secret"; return q }
	begin := func() string {
		t.Helper()
		return b.ask(as(asking{method: http.MethodPost, path: "/v2/team/app/blobs/uploads/"})).header.Get("Location")
	}
	chunk := func(n int) string { return strings.Repeat("x", n) }
	if got := b.ask(as(asking{method: http.MethodPut, path: "/v2/team/app/manifests/v1", body: chunk(501)})); got.status != http.StatusRequestEntityTooLarge || !strings.Contains(got.body, "SIZE_INVALID") {
		t.Errorf("a manifest: got %d %s", got.status, got.body)
	}
	if got := b.ask(as(asking{method: http.MethodPatch, path: begin(), body: chunk(1001)})); got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a blob: got %d %s", got.status, got.body)
	}
	at := begin()
	for _, want := range []int{http.StatusAccepted, http.StatusAccepted, http.StatusRequestEntityTooLarge} {
		got := b.ask(as(asking{method: http.MethodPatch, path: at, body: chunk(500)}))
		if got.status != want {
			t.Errorf("a blob in parts: got %d %s, want %d", got.status, got.body, want)
		}
		if next := got.header.Get("Location"); next != "" {
			at = next
		}
	}
	if got := b.streamed(begin(), 1000); got.status != http.StatusAccepted {
		t.Errorf("a blob that is as large as it may be: got %d %s", got.status, got.body)
	}
	if got := b.streamed(begin(), 1001); got.status != http.StatusRequestEntityTooLarge || !strings.Contains(got.body, "SIZE_INVALID") {
		t.Errorf("a blob that does not say how large it is: got %d %s", got.status, got.body)
	}
}

// streamed sends so many bytes without saying how many.
func (b *bed) streamed(path string, n int) got {
	b.t.Helper()
	body := io.MultiReader(bytes.NewReader(bytes.Repeat([]byte("x"), n))) // of no known length
	req, err := http.NewRequest(http.MethodPatch, "http://"+b.addr+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	req.SetBasicAuth("ann", "ann-secret")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return got{resp.StatusCode, resp.Header, string(text)}
}

// TestUploadsAtOnce holds uploads open and asks for one more.
func TestUploadsAtOnce(t *testing.T) {
	b := serve(t, site+"  limits: {uploads: 2}\n")
	var open []net.Conn
	for range 2 {
		conn, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		at := b.ask(asking{method: http.MethodPost, path: "/v2/team/app/blobs/uploads/", user: "bob", password: "bob-secret"}).header.Get("Location")
		if _, err := io.WriteString(conn, "PATCH "+at+" HTTP/1.1\r\nHost: x\r\nAuthorization: Basic Ym9iOmJvYi1zZWNyZXQ=\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		// Once it wants the body the upload is under way.
		if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
			t.Fatalf("%q, %v", line, err)
		}
		open = append(open, conn)
	}
	one := asking{method: http.MethodPost, path: "/v2/team/app/blobs/uploads/", user: "bob", password: "bob-secret"}
	until := func(want int) {
		t.Helper()
		var got got
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			if got = b.ask(one); got.status == want {
				return
			}
		}
		t.Errorf("got %d, want %d", got.status, want)
	}
	until(http.StatusTooManyRequests)
	if got := b.ask(asking{method: http.MethodPost, path: one.path, user: "ann", password: "ann-secret"}); got.status != http.StatusAccepted {
		t.Errorf("others pay for it: got %d", got.status)
	}
	for _, conn := range open {
		if _, err := io.WriteString(conn, "whole"); err != nil {
			t.Fatal(err)
		}
	}
	until(http.StatusAccepted)
}
