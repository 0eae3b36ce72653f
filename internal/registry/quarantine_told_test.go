package registry_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/call"
)

// TestQuarantineSaysWhy: a refusal has reason and remedy, one line, for people and programs.
func TestQuarantineSaysWhy(t *testing.T) {
	g := openGated(t, registry.Options{})
	d, _ := g.image("shop/app", "1", "the layer")
	g.gate.say("shop/app", d, artifact.ActionDeny)
	type refusal struct {
		Code, Message string
		Detail        struct {
			Gate, Digest string
			Rules        []string
		}
	}
	for path, name := range map[string]string{
		"manifests/1": "shop/app:1", "manifests/" + d.String(): "shop/app@" + d.String(), "blobs/" + blobOf("the layer"): "shop/app@" + blobOf("the layer"),
	} {
		got := g.want("reader", "GET /v2/shop/app/"+path, 403)
		var answer struct{ Errors []refusal }
		if err := json.Unmarshal([]byte(got.body), &answer); err != nil {
			t.Fatalf("%v: %s", err, got.body)
		}
		want := refusal{Code: "DENIED", Message: name + " is quarantined: has 3 fixable findings past their time; remedy: plimsoll rebase shop/app"}
		want.Detail.Gate, want.Detail.Digest, want.Detail.Rules = "registry", d.String(), []string{"starter/fixable"}
		if diff := cmp.Diff([]refusal{want}, answer.Errors); diff != "" {
			t.Error(diff)
		}
		if head := g.want("reader", "HEAD /v2/shop/app/"+path, 403); head.body != "" || head.header.Get("Docker-Content-Digest") != "" || head.header.Get("Warning") != `299 - "`+want.Message+`"` {
			t.Errorf("HEAD tells %q %v", head.body, head.header)
		}
		if got := g.want("publisher", "HEAD /v2/shop/app/"+path, 404); got.header.Get("Docker-Content-Digest") != "" {
			t.Errorf("HEAD tells who pushes %v", got.header)
		}
	}
	g.gate.say("shop/app", d, artifact.ActionWarn)
	got := g.want("reader", "HEAD /v2/shop/app/manifests/1", 200)
	if want := `299 - "shop/app:1 is released with a warning: has 3 fixable findings past their time; remedy: plimsoll rebase shop/app"`; got.header.Get("Warning") != want {
		t.Errorf("warned with %q, want %q", got.header.Get("Warning"), want)
	}
	g.gate.said["shop/app@"+d.String()] = registry.Judgement{Action: artifact.ActionWarn, Why: "a \"quote\"\r\nX-Evil: 1 \\ \x00 ü " + strings.Repeat("x", 4000)}
	got = g.want("reader", "HEAD /v2/shop/app/manifests/1", 200)
	if w := got.header.Get("Warning"); got.header.Get("X-Evil") != "" || len(w) > 1100 || strings.Count(w, `"`) != 2 {
		t.Errorf("warned with %q", got.header)
	}
}

// TestRemedyNamesTheHost: who pulls runs the remedy elsewhere, where the repository without a host
// is another. Nobody puts words into it by the host that he asks for.
func TestRemedyNamesTheHost(t *testing.T) {
	g := openGated(t, registry.Options{})
	d, _ := g.image("shop/app", "1", "the layer")
	for _, c := range []struct{ host, remedy, want string }{
		{"registry.example.com", "plimsoll rebase shop/app:1", "plimsoll rebase registry.example.com/shop/app:1"},
		{"127.0.0.1:5000", "plimsoll attest shop/app@" + d.String(), "plimsoll attest 127.0.0.1:5000/shop/app@" + d.String()},
		{"[::1]:5000", "plimsoll build SOURCE -t shop/app:1", "plimsoll build SOURCE -t [::1]:5000/shop/app:1"},
		{"registry.example.com", "plimsoll rebase team/shop/app:1 --run-image shop/apple:1", "plimsoll rebase team/shop/app:1 --run-image shop/apple:1"},
		{"registry.example.com", "ask the makers of shop/app", "ask the makers of shop/app"},
		{"x;reboot", "plimsoll rebase shop/app:1", "plimsoll rebase shop/app:1"},
		{"--force", "plimsoll rebase shop/app:1", "plimsoll rebase shop/app:1"},
	} {
		g.gate.mu.Lock()
		g.gate.said = map[string]registry.Judgement{"shop/app@" + d.String(): {Action: artifact.ActionDeny, Why: "of shop/app:1", Remedy: c.remedy}}
		g.gate.mu.Unlock()
		req, err := http.NewRequest(http.MethodGet, g.url+"/v2/shop/app/manifests/1", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = c.host
		req.SetBasicAuth("reader", "x")
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		var answer struct{ Errors []struct{ Message string } }
		err = json.NewDecoder(resp.Body).Decode(&answer)
		_ = resp.Body.Close()
		if want := "shop/app:1 is quarantined: of shop/app:1; remedy: " + c.want; err != nil || len(answer.Errors) != 1 || answer.Errors[0].Message != want {
			t.Errorf("at %q: %v, %+v, want %q", c.host, err, answer, want)
		}
	}
}

// TestPullsAreRecorded: those who listen hear what was asked for, and what the gate said.
func TestPullsAreRecorded(t *testing.T) {
	gate := &rulings{}
	heard := make(chan call.Record, 10)
	reg := open(t, registry.Options{Gate: gate})
	g := &gated{t, reg, gate, "http://" + serve(t, reg, registry.ServeOptions{
		Doors: []func(http.Handler) http.Handler{principals}, Heard: []func(*call.Record){func(r *call.Record) { heard <- *r }},
	})}
	d, _ := g.image("a", "1", "the layer")
	next := func() call.Record {
		t.Helper()
		select {
		case r := <-heard:
			return r
		case <-time.After(10 * time.Second):
			t.Fatal("nothing is heard")
			return call.Record{}
		}
	}
	const why = " is quarantined: has 3 fixable findings past their time; remedy: plimsoll rebase a"
	for action, want := range map[artifact.Action]call.Record{
		artifact.ActionDeny:  {Status: 403, Verdict: "deny", Why: "a:1" + why},
		artifact.ActionAllow: {Status: 200, Verdict: "allow"},
		artifact.ActionAudit: {Status: 200, Verdict: "audit"},
	} {
		gate.say("a", d, action)
		want.Digest, want.MediaType = d.String(), ociManifest
		g.ask("reader", "GET /v2/a/manifests/1", nil)
		only := cmpopts.IgnoreFields(call.Record{}, "Time", "Took", "Method", "Path", "Endpoint", "Client", "Agent", "Bytes", "Principal")
		if diff := cmp.Diff(want, next(), only); diff != "" {
			t.Error(diff)
		}
		layer := blobOf("the layer")
		want.Digest, want.MediaType, want.Why = layer, "", strings.Replace(want.Why, ":1", "@"+layer, 1)
		g.ask("reader", "GET /v2/a/blobs/"+layer, nil)
		if diff := cmp.Diff(want, next(), only); diff != "" {
			t.Error(diff)
		}
	}
	g.ask("inspector", "GET /v2/a/manifests/1", nil)
	if r := next(); r.Verdict != "" || r.Digest != d.String() {
		t.Errorf("of who may inspect is heard %+v", r)
	}
}
