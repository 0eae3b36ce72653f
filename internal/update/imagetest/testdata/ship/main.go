// Command ship is the program of the image that tests test.
package main

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "sink":
			os.Exit(3)
		case "hang":
			time.Sleep(time.Hour)
		case "user":
			if os.Getuid() != 1000 || os.Getenv("CARGO") != "tea" {
				os.Exit(4)
			}
		}
		return
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "afloat", r.URL.Query().Get("at")) })
	http.HandleFunc("/hole", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "leak", http.StatusInternalServerError) })
	http.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) })
	if err := http.ListenAndServe(":"+os.Getenv("PORT"), nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
