package plane

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestWebhooksThatDoNotArrive sends half of a webhook: it is cut off, and its room is another's.
func TestWebhooksThatDoNotArrive(t *testing.T) {
	ended := make(chan error, 1)
	server := httptest.NewServer(received(100*time.Millisecond, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		ended <- err
	})))
	defer server.Close()
	conn, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST /webhooks HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf")
	select {
	case err := <-ended:
		if err == nil {
			t.Error("half of it was taken for all")
		}
	case <-time.After(time.Minute):
		t.Fatal("it is waited for for ever")
	}
}

// TestStrangersTakeNoMoreOfTheAPI asks for logs as fast as it can.
func TestStrangersTakeNoMoreOfTheAPI(t *testing.T) {
	asked := 0
	handler := paced(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	refused := 0
	for range 1000 {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", "/logs/shop/web-b1", nil))
		if w.Code == http.StatusTooManyRequests {
			refused++
		}
	}
	if asked < 40 || asked > 400 || asked+refused != 1000 {
		t.Errorf("%d requests went through, %d were refused", asked, refused)
	}
}
