// Package inventorytest takes a way to make empty databases and gives the tests that the
// inventory passes on each of them.
package inventorytest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // the drivers that Exec names
	_ "modernc.org/sqlite"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/inventory/query"
)

// Run runs all tests. empty gives the address of a database that nobody else uses.
func Run(t *testing.T, empty func(testing.TB) string) {
	for _, part := range []struct {
		name string
		test func(*testing.T, string)
	}{
		{"Answers", testAnswers},
		{"AnswersOfFindings", testFindings},
		{"Bundled", testBundled},
		{"Notes", testNotes},
		{"Suppressions", testSuppressions},
		{"History", testHistory},
		{"PutIsIdempotent", testIdempotent},
		{"Pages", testPages},
		{"Many", testMany},
		{"AffectedNames", testAffectedNames},
		{"Remembered", testRemembered},
		{"Rematch", testRematch},
		{"Facts", testFacts},
		{"OtherForms", testOtherForms},
		{"FactsAgain", testFactsAgain},
		{"Verdicts", testVerdicts},
		{"ManyVerdicts", testManyVerdicts},
		{"Stale", testStale},
		{"News", testNews},
		{"NewsOfOnesOwn", testOwnNews},
		{"Exposed", testExposed},
		{"Chosen", testChosen},
		{"HostileText", testHostile},
		{"Refusals", testRefusals},
		{"ConcurrentStarts", testConcurrentStarts},
		{"ConcurrentWriters", testConcurrentWriters},
		{"NewerSchema", testNewerSchema},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, empty(t)) })
	}
}

// Database makes a database in the PostgreSQL server at the address and gives its own.
func Database(t testing.TB, server string) string {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	name := "t" + rand.Text()
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	address.Path = "/" + name
	return address.String()
}

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: day(1)} }

// day gives noon of a day in January 2026.
func day(n int) time.Time { return time.Date(2026, 1, n, 12, 0, 0, 0, time.UTC) }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// open opens the index until the test ends.
func open(t testing.TB, address string, c *clock) *inventory.Inventory {
	t.Helper()
	inv, err := inventory.Open(t.Context(), address, inventory.Options{Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := inv.Close(); err != nil {
			t.Error(err)
		}
	})
	return inv
}

// sum gives the digest of a text.
func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(s[:])
}

// ask gives the answer to a question.
func ask(t testing.TB, inv *inventory.Inventory, question string) inventory.Result {
	t.Helper()
	q, err := query.Parse(question)
	if err != nil {
		t.Fatal(err)
	}
	result, err := inv.Query(t.Context(), q, inventory.Page{})
	if err != nil {
		t.Fatalf("%s: %v", question, err)
	}
	return result
}

// named gives the names of the images that a question is answered with.
func named(t testing.TB, inv *inventory.Inventory, question string) []string {
	t.Helper()
	result := ask(t, inv, question)
	names := []string{}
	for _, image := range result.Images {
		names = append(names, image.Name)
	}
	if len(names) != result.Total {
		t.Errorf("%s: %d images on the only page, but a total of %d", question, len(names), result.Total)
	}
	return names
}

func put(t testing.TB, inv *inventory.Inventory, images ...inventory.Image) {
	t.Helper()
	if err := inv.Put(t.Context(), images...); err != nil {
		t.Fatal(err)
	}
}

// match gives a Matcher that knows one advisory for each name of a package.
func match(advisories map[string]artifact.Finding) inventory.Matcher {
	return func(_ context.Context, packages []inventory.Package) ([]inventory.Finding, error) {
		var findings []inventory.Finding
		for _, p := range packages {
			if f, found := advisories[p.Name]; found && p.Version != f.Fixed {
				f.Published = day(1)
				findings = append(findings, inventory.Finding{PackageID: p.ID, Finding: f})
			}
		}
		return findings, nil
	}
}

func rematch(t testing.TB, inv *inventory.Inventory, which inventory.Which, advisories map[string]artifact.Finding) inventory.Rematched {
	t.Helper()
	changed, err := inv.Rematch(t.Context(), which, match(advisories))
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

// Exec runs a statement in a database as its users cannot.
func Exec(t testing.TB, address, statement string) {
	t.Helper()
	db := database(t, address)
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// database opens the database behind an inventory's back.
func database(t testing.TB, address string) *sql.DB {
	t.Helper()
	driver, source := "pgx", address+"&search_path=plimsoll"
	if path, found := strings.CutPrefix(address, "sqlite:"); found {
		driver, source = "sqlite", path
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	return db
}
