package call

import "net/http"

// Keep is a door that lets nobody write to a reserved repository, whoever he is.
func Keep(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to, ok := Parse(r.URL.Path)
		if ok && Reserved(to.Repository) && r.Method != http.MethodGet && r.Method != http.MethodHead {
			RecordOf(r.Context()).Why = "reserved"
			Refusal{Status: http.StatusForbidden, Code: "DENIED", Message: Steps + " holds the images of build steps: nobody writes there"}.Write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}
