package feed

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/vuln/osv"
)

// TestRefusesWhatIsBroken first syncs a sound feed of 100 records, then the same feed spoilt:
// what is there must stay, byte for byte, and the feed must be taken again once it is mended.
func TestRefusesWhatIsBroken(t *testing.T) {
	// zipped spoils the archive by its files.
	zipped := func(change func(map[string][]byte)) func(testing.TB, *export) {
		return func(t testing.TB, e *export) {
			files := map[string][]byte{}
			for id := range some(100) {
				text, err := os.ReadFile(filepath.Join(e.dir, "Go", id+".json"))
				if err != nil {
					t.Fatal(err)
				}
				files[id+".json"] = text
			}
			change(files)
			e.put(t, "Go/all.zip", zipOf(t, files))
		}
	}
	// bytesOf spoils the archive by its bytes.
	bytesOf := func(change func([]byte) []byte) func(testing.TB, *export) {
		return func(t testing.TB, e *export) {
			text, err := os.ReadFile(filepath.Join(e.dir, "Go/all.zip"))
			if err != nil {
				t.Fatal(err)
			}
			e.put(t, "Go/all.zip", change(text))
		}
	}
	// with spoils the records.
	with := func(change func(map[string]*osv.Record)) func(testing.TB, *export) {
		return func(t testing.TB, e *export) {
			records := some(100)
			change(records)
			e.write(t, records)
			e.remove(t, "Go/modified_id.csv")
		}
	}
	tests := []struct {
		name   string
		spoil  func(testing.TB, *export)
		kind   fault.Kind
		says   string
		forced bool // taken with Force
	}{
		{name: "no such folder", spoil: func(t testing.TB, e *export) { e.remove(t, "Go") }, kind: fault.NotFound, says: "no such file"},
		{name: "an empty file", spoil: bytesOf(func([]byte) []byte { return nil }), kind: fault.Denied, says: "no archive"},
		{name: "a page of a portal", spoil: bytesOf(func([]byte) []byte { return []byte("<html>log in</html>") }), kind: fault.Denied, says: "no archive"},
		{name: "half an archive", spoil: bytesOf(func(b []byte) []byte { return b[:len(b)/2] }), kind: fault.Denied, says: "no archive"},
		{name: "a byte changed", spoil: bytesOf(func(b []byte) []byte { b[200] ^= 1; return b }), kind: fault.Denied, says: "no archive"},
		{name: "an archive of nothing", spoil: zipped(func(f map[string][]byte) { clear(f) }), kind: fault.Denied, says: "no records", forced: true},
		{name: "a path", spoil: zipped(func(f map[string][]byte) { f["../T-1.json"] = f["T-0001.json"] }), kind: fault.Denied, says: "../T-1.json"},
		{name: "a folder", spoil: zipped(func(f map[string][]byte) { f["deep/"] = nil }), kind: fault.Denied, says: "deep/"},
		{name: "something else in it", spoil: zipped(func(f map[string][]byte) { f["run.sh"] = []byte("#!/bin/sh") }), kind: fault.Denied, says: "run.sh"},
		{name: "a bomb", spoil: zipped(func(f map[string][]byte) { f["B-1.json"] = bytes.Repeat([]byte(" "), 15<<20) }), kind: fault.Denied, says: "would unpack"},
		{name: "a bomb that says it is packed badly", spoil: func(t testing.TB, e *export) {
			zipped(func(f map[string][]byte) { f["B-1.json"] = bytes.Repeat([]byte(" "), 15<<20) })(t, e)
			bytesOf(func(b []byte) []byte {
				for at := bytes.Index(b, []byte("PK\x01\x02")); bytes.HasPrefix(b[at:], []byte("PK\x01\x02")); {
					binary.LittleEndian.PutUint32(b[at+20:], 1<<30) // APPNOTE.TXT 4.3.12, "compressed size"
					at += 46 + int(binary.LittleEndian.Uint16(b[at+28:])+binary.LittleEndian.Uint16(b[at+30:])+binary.LittleEndian.Uint16(b[at+32:]))
				}
				return b
			})(t, e)
		}, kind: fault.Denied, says: "larger than its"},
		{name: "a record that is too large", spoil: zipped(func(f map[string][]byte) { f["B-1.json"] = bytes.Repeat([]byte(" "), osv.MaxRecord+1) }), kind: fault.Denied, says: "B-1.json"},
		{name: "a record that lies about its size", spoil: lie, kind: fault.Denied, says: "no archive"},
		{name: "one record twice", spoil: twice, kind: fault.Denied, says: "twice"},
		{name: "records of other names", spoil: zipped(func(f map[string][]byte) {
			for id := range some(40) {
				f[id+".json"] = f["T-0099.json"]
			}
		}), kind: fault.Denied, says: "cannot be read"},
		{name: "records that are none", spoil: zipped(func(f map[string][]byte) {
			for id := range some(40) {
				f[id+".json"] = []byte("{}")
			}
		}), kind: fault.Denied, says: "cannot be read"},
		{name: "a third is gone", spoil: with(func(r map[string]*osv.Record) {
			for id := range some(33) {
				delete(r, id)
			}
		}), kind: fault.Denied, says: "33 of 100 are gone", forced: true},
		{name: "a third is withdrawn", spoil: with(func(r map[string]*osv.Record) {
			for id := range some(33) {
				r[id].Withdrawn, r[id].Modified = day(2), day(2)
			}
		}), kind: fault.Denied, says: "33 of 100 are gone or withdrawn", forced: true},
		{name: "all of it is older", spoil: with(func(r map[string]*osv.Record) {
			for id := range r {
				r[id] = record(id, -3)
			}
			r["T-0500"] = record("T-0500", -2)
		}), kind: fault.Denied, says: "older", forced: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			records := some(100)
			e := newExport(t, records)
			e.remove(t, "Go/modified_id.csv")
			for _, url := range []string{e.dir, e.serve(t, nil).URL} {
				e.write(t, records)
				e.remove(t, "Go/modified_id.csv")
				s := newSite(t, url)
				s.mustSync(t)
				before := s.status()

				tt.spoil(t, e)
				err := s.sync(t)
				if fault.KindOf(err) != tt.kind || err == nil || !strings.Contains(err.Error(), tt.says) || fault.HintOf(err) == "" {
					t.Errorf("%s: want a fault of kind %d that says %q and hints, got %v (hint %q)", url, tt.kind, tt.says, err, fault.HintOf(err))
				}
				after := s.status()
				if after.Error == "" {
					t.Errorf("%s: the status does not tell", url)
				}
				after.Error = ""
				if diff := cmp.Diff(before, after); diff != "" {
					t.Errorf("%s: the status changed: -before +after:\n%s", url, diff)
				}
				if diff := cmp.Diff(records, s.have(t)); diff != "" {
					t.Errorf("%s: -want +got:\n%s", url, diff)
				}
				if diff := cmp.Diff([]string{"Go/records-1.zst", "Go/state.json", "lock"}, s.files(t)); diff != "" {
					t.Errorf("%s: files: -want +got:\n%s", url, diff)
				}

				mended := some(100)
				mended["T-0001"] = record("T-0001", 9)
				e.write(t, mended)
				s.mustSync(t)
				if diff := cmp.Diff(mended, s.have(t)); diff != "" {
					t.Errorf("%s: mended: -want +got:\n%s", url, diff)
				}
			}
			forced := newExport(t, records)
			forced.remove(t, "Go/modified_id.csv")
			s := newSite(t, forced.dir)
			s.mustSync(t)
			tt.spoil(t, forced)
			s.options.Force = true
			if err := s.sync(t); (err == nil) != tt.forced {
				t.Errorf("with force, want it taken: %t, got %v", tt.forced, err)
			}
		})
	}
}

// twice writes an archive that has one name twice: who takes the first and who takes the
// second see different feeds.
func twice(t testing.TB, e *export) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for range 2 {
		addFile(t, w, "T-0001.json", []byte("{}"))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	e.put(t, "Go/all.zip", out.Bytes())
}

// lie writes an archive whose directory says that a record is small.
func lie(t testing.TB, e *export) {
	text := zipOf(t, map[string][]byte{"T-0001.json": bytes.Repeat([]byte(" "), 1<<20)})
	const directory = "PK\x01\x02"
	at := bytes.LastIndex(text, []byte(directory))
	binary.LittleEndian.PutUint32(text[at+24:], 10)
	e.put(t, "Go/all.zip", text)
}

func TestRefusesServersThatLie(t *testing.T) {
	tests := []struct {
		name  string
		serve http.HandlerFunc
		kind  fault.Kind
		says  string
	}{
		{"an error", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) }, fault.Unavailable, "500"},
		{"a refusal", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }, fault.Denied, "403"},
		{"fewer bytes than promised", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("short"))
		}, fault.Unavailable, "cannot be read"},
		{"more than a feed may be", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "99999999999999")
		}, fault.Denied, "larger"},
		{"a part that was not asked for", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 7-9/10")
			w.WriteHeader(http.StatusPartialContent)
		}, fault.Denied, "206"},
		{"in circles", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		}, fault.Unavailable, "redirects"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := newExport(t, some(10))
			lying := false
			web := e.serve(t, func(files http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if lying && strings.HasSuffix(r.URL.Path, "all.zip") {
						tt.serve(w, r)
						return
					}
					files.ServeHTTP(w, r)
				})
			})
			e.remove(t, "Go/modified_id.csv")
			s := newSite(t, web.URL)
			s.mustSync(t)
			lying = true
			err := s.sync(t)
			if fault.KindOf(err) != tt.kind || err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("want a fault of kind %d that says %q, got %v", tt.kind, tt.says, err)
			}
			if len(s.have(t)) != 10 {
				t.Error("what was there is gone")
			}
		})
	}
}

// TestRefusesListsThatLie spoils what a small sync reads.
func TestRefusesListsThatLie(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(testing.TB, *export)
	}{
		{"a line that is none", func(t testing.TB, e *export) { e.put(t, "Go/modified_id.csv", []byte("yesterday,T-0001\n")) }},
		{"an id that is a path", func(t testing.TB, e *export) {
			e.put(t, "Go/modified_id.csv", []byte("2026-01-01T00:00:00Z,../../T-0001\n"))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			records := some(30)
			e := newExport(t, records)
			s := newSite(t, e.dir)
			s.mustSync(t)
			newer := some(30)
			newer["T-0001"] = record("T-0001", 4)
			e.write(t, newer)
			tt.spoil(t, e)
			if err := s.sync(t); fault.KindOf(err) != fault.Denied {
				t.Errorf("want it denied, got %v", err)
			}
			if diff := cmp.Diff(records, s.have(t)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			e.write(t, newer)
			s.mustSync(t)
			if diff := cmp.Diff(newer, s.have(t)); diff != "" {
				t.Errorf("mended: -want +got:\n%s", diff)
			}
		})
	}
}

// TestBadSingleRecordsSendToTheArchive spoils the single records that a small sync reads: the
// archive, which has them sound, is read in their place.
func TestBadSingleRecordsSendToTheArchive(t *testing.T) {
	other, err := json.Marshal(record("T-0002", 4))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"another's": other, "none": []byte("{}"), "no JSON": []byte("<html>")} {
		e := newExport(t, some(30))
		s := newSite(t, e.dir)
		s.mustSync(t)
		newer := some(30)
		newer["T-0001"] = record("T-0001", 4)
		e.write(t, newer)
		e.put(t, "Go/T-0001.json", text)
		s.mustSync(t)
		if diff := cmp.Diff(newer, s.have(t)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

// TestRecordsThatNobodyCanReadDoNotStopALaterSync has a feed that lists one of them.
func TestRecordsThatNobodyCanReadDoNotStopALaterSync(t *testing.T) {
	records := some(30)
	records["T-0004"].Affected[0].Ranges[0].Type = "CALVER"
	e := newExport(t, records)
	s := newSite(t, e.dir)
	for range 3 {
		s.mustSync(t)
		if got := s.status(); got.Records != 29 || got.Rejected != 1 {
			t.Errorf("%d records, %d rejected", got.Records, got.Rejected)
		}
	}
}

func TestOneFeedsFailureIsNotAnothers(t *testing.T) {
	sound, gone := newExport(t, some(3)), newExport(t, some(3))
	s := newSite(t, sound.dir)
	gone.remove(t, "Go")
	other := Feed{Name: "gone", Kind: OSV, URL: gone.dir, Ecosystems: []string{"Go"}}
	err := s.Sync(t.Context(), []Feed{other, s.feed}, s.options)
	var known *fault.Error
	if !errors.As(err, &known) || !strings.Contains(err.Error(), "gone/Go") {
		t.Errorf("want the one failure, got %v", err)
	}
	other.Ecosystems = []string{"Go", "npm"}
	err = s.Sync(t.Context(), []Feed{other, s.feed}, s.options)
	if fault.KindOf(err) != fault.NotFound || !strings.Contains(err.Error(), "2 parts failed") || strings.Contains(err.Error(), "\n") {
		t.Errorf("want one line for two failures, got %v", err)
	}
	if len(s.have(t)) != 3 {
		t.Error("the sound feed was not read")
	}
}
