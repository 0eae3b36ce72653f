package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"plimsoll.dev/plimsoll/internal/controller/bed"
	"plimsoll.dev/plimsoll/internal/fault"
)

func TestReadFollowsToTheEnd(t *testing.T) {
	s := New(t.TempDir(), 0)
	l, err := s.Create("shop", "app-b1")
	if err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	got := make([]bytes.Buffer, 8)
	for i := range got {
		readers.Go(func() {
			if err := s.Read(t.Context(), "shop", "app-b1", true, &got[i]); err != nil {
				t.Error(err)
			}
		})
	}
	var want bytes.Buffer
	for i := range 5000 {
		line := fmt.Sprintf("line %d %s\n", i, strings.Repeat("x", rand.IntN(100)))
		want.WriteString(line)
		if _, err := io.WriteString(l, line); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	readers.Wait()
	for i := range got {
		if got[i].String() != want.String() {
			t.Errorf("reader %d has %d bytes of %d", i, got[i].Len(), want.Len())
		}
	}
	if len(s.open) != 0 {
		t.Error("the store holds a log that has ended")
	}
	if _, err := l.Write([]byte("late")); err == nil {
		t.Error("it can be written after its end")
	}
}

func TestReadEndsWithItsReader(t *testing.T) {
	s := New(t.TempDir(), 0)
	if _, err := s.Create("shop", "app-b1"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Read(ctx, "shop", "app-b1", true, io.Discard); err != nil {
		t.Error(err)
	}
}

func TestALogIsBounded(t *testing.T) {
	s := New(t.TempDir(), 1000)
	l, err := s.Create("shop", "app-b1")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100_000 {
		fmt.Fprintf(l, "line %d\n", i)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := s.Read(t.Context(), "shop", "app-b1", false, &got); err != nil {
		t.Fatal(err)
	}
	if got.Len() > 1000+tailSize+100 {
		t.Errorf("it has %d bytes", got.Len())
	}
	if text := got.String(); !strings.HasPrefix(text, "line 0\n") || !strings.HasSuffix(text, "line 99999\n") || !strings.Contains(text, "bytes are left out here]") {
		t.Errorf("it is %.100q … %q", text, text[len(text)-100:])
	}
}

func TestNamesLeadNowhereElse(t *testing.T) {
	dir := t.TempDir()
	s := New(filepath.Join(dir, "logs"), 0)
	if err := os.WriteFile(filepath.Join(dir, "other.log"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, names := range [][2]string{{"..", "other"}, {"shop", "../../other"}, {".", "other"}, {"", "other"}, {"shop", ""}, {"a/..", "b"}, {"shop", "a..b"}, {"shop", "a\x00b"}, {"Shop", "b"}} {
		if err := s.Read(t.Context(), names[0], names[1], false, io.Discard); fault.KindOf(err) != fault.Usage {
			t.Errorf("%q is read: %v", names, err)
		}
		if _, err := s.Create(names[0], names[1]); fault.KindOf(err) != fault.Usage {
			t.Errorf("%q is written: %v", names, err)
		}
	}
	if err := s.Read(t.Context(), "shop", "app-b1", false, io.Discard); fault.KindOf(err) != fault.NotFound {
		t.Errorf("got %v", err)
	}
}

func TestSweepAndRemove(t *testing.T) {
	s := New(t.TempDir(), 0)
	for _, build := range []string{"a-b1", "a-b2", "b-b1"} {
		l, err := s.Create("shop", build)
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
	}
	if err := s.Sweep(func(_, build string) bool { return build == "a-b2" }); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(s.dir, "*", "*"))
	if len(left) != 1 || filepath.Base(left[0]) != "a-b2.log" {
		t.Errorf("left are %v", left)
	}
	if err := errors.Join(s.Remove("shop", "a-b2"), s.Remove("shop", "a-b2")); err != nil {
		t.Error(err)
	}
}

// TestHandlerAsksTheCluster has accounts of a real API server read a log.
func TestHandlerAsksTheCluster(t *testing.T) {
	b := bed.New(t)
	s := New(t.TempDir(), 0)
	l, err := s.Create("default", "app-b1")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(l, "built\n")
	_ = l.Close()
	for _, name := range []string{"reader", "nobody"} {
		b.Create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}})
	}
	clients, err := kubernetes.NewForConfig(b.Config)
	if err != nil {
		t.Fatal(err)
	}
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "logs"}, Rules: []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{"plimsoll.dev"}, Resources: []string{"builds/log"}}}}
	if _, err := clients.RbacV1().Roles("default").Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "logs"}, RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: "logs"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "default", Name: "reader"}},
	}
	if _, err := clients.RbacV1().RoleBindings("default").Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	token := func(account string) string {
		review, err := clients.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + review.Status.Token
	}
	reader, nobody := token("reader"), token("nobody")
	handler := Handler(s, b.Client)
	for _, test := range []struct {
		name, method, path, authorization string
		code                              int
	}{
		{"who may", "GET", "/logs/default/app-b1", reader, 200},
		{"who may, as it goes on", "GET", "/logs/default/app-b1?follow", reader, 200},
		{"who may, of one that has none", "GET", "/logs/default/app-b2", reader, 404},
		{"who may, elsewhere", "GET", "/logs/kube-system/app-b1", reader, 403},
		{"who may not", "GET", "/logs/default/app-b1", nobody, 403},
		{"nobody", "GET", "/logs/default/app-b1", "", 401},
		{"a token of another's", "GET", "/logs/default/app-b1", "Bearer nonsense", 401},
		{"a password", "GET", "/logs/default/app-b1", "Basic dTpw", 401},
		{"a name that is none", "GET", "/logs/default/..%2f..%2fother", reader, 404},
		{"who may, to write", "POST", "/logs/default/app-b1", reader, 405},
	} {
		t.Run(test.name, func(t *testing.T) {
			request := httptest.NewRequest(test.method, test.path, nil)
			if test.authorization != "" {
				request.Header.Set("Authorization", test.authorization)
			}
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, request)
			if answer.Code != test.code {
				t.Errorf("got %d: %s", answer.Code, answer.Body)
			}
			if (answer.Code == http.StatusOK) != (answer.Body.String() == "built\n") {
				t.Errorf("the body is %q", answer.Body)
			}
		})
	}
	t.Run("by the API server's proxy", func(t *testing.T) {
		for token, code := range map[string]int{reader: http.StatusOK, nobody: http.StatusForbidden} {
			request := httptest.NewRequest("GET", "/logs/default/app-b1", nil)
			request.Header.Set(TokenHeader, token)
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, request)
			if answer.Code != code {
				t.Errorf("got %d, want %d: %s", answer.Code, code, answer.Body)
			}
		}
	})
}

func TestOnlyOneStep(t *testing.T) {
	var log strings.Builder
	Begin(&log, "detect", "")
	fmt.Fprintln(&log, "it fits")
	Begin(&log, "build", "amd64")
	fmt.Fprint(&log, "compiling\n\ndone\n")
	Begin(&log, "export", "amd64")
	fmt.Fprint(&log, "pushed")
	for step, want := range map[string]string{
		"detect": "===> detect\nit fits\n",
		"build":  "===> build amd64\ncompiling\n\ndone\n",
		"export": "===> export amd64\npushed",
		"other":  "",
	} {
		var got strings.Builder
		part := &only{step: step, out: &got}
		for text := log.String(); text != ""; { // it comes in pieces
			n := min(5, len(text))
			if _, err := io.WriteString(part, text[:n]); err != nil {
				t.Fatal(err)
			}
			text = text[n:]
		}
		if err := part.close(); err != nil || got.String() != want {
			t.Errorf("%s: got %q, %v", step, got.String(), err)
		}
	}
	part := &only{step: "build", out: io.Discard}
	_, _ = part.Write(bytes.Repeat([]byte("x"), 3*mostHeld))
	if len(part.held) > mostHeld {
		t.Errorf("it holds %d bytes of a line without end", len(part.held))
	}
}
