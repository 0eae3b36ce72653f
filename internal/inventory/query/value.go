package query

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// readValue makes of a word what a field of the kind holds; why is a hint when it cannot.
func readValue(k kind, written string) (v Value, why string) {
	v = Value{Text: written}
	ok := true
	switch k {
	case number:
		v.Number, ok = readNumber(written)
		why = "write a number: 0.5"
	case bytes:
		v.Number, ok = readSize(written)
		why = "write a size: 500MB, 1GiB"
	case severity:
		v.Text = strings.ToLower(written)
		v.Number = float64(SeverityRank(v.Text))
		ok = SeverityOf(int(v.Number)) == v.Text
		why = "write one of " + strings.Join(severities[:], ", ")
	case outcome:
		v.Text = strings.ToLower(written)
		ok = slices.Contains(outcomes, v.Text)
		why = "write one of " + strings.Join(outcomes, ", ")
	case moment:
		if v.Time, _, ok = readTime(written); !ok {
			v.Age, ok = readAge(written)
		}
		why = "write a date, 2026-01-31, or how long ago, 30d"
	case age:
		v.Age, ok = readAge(written)
		why = "write a duration: 12h, 30d, 6w, 1y"
	}
	if ok {
		why = ""
	}
	return v, why
}

func readNumber(s string) (float64, bool) {
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
}

var units = []struct {
	suffix string
	bytes  float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1},
}

func readSize(s string) (float64, bool) {
	for _, unit := range units {
		if digits, found := strings.CutSuffix(s, unit.suffix); found {
			n, ok := readNumber(digits)
			return n * unit.bytes, ok && n >= 0 && n*unit.bytes < 1<<62
		}
	}
	n, ok := readNumber(s)
	return n, ok && n >= 0 && n < 1<<62
}

// readTime reads a day, which is the first moment of it in UTC, or a time.
func readTime(s string) (t time.Time, day, ok bool) {
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, true, plausible(t)
	}
	t, err := time.Parse(time.RFC3339, s)
	return t.UTC().Truncate(time.Second), false, err == nil && plausible(t)
}

// plausible keeps years to those that any clock of the field writes with four digits.
func plausible(t time.Time) bool { return t.Year() >= 1970 && t.Year() <= 9999 }

// readAge reads a whole number of hours, days, weeks or years of 365 days.
func readAge(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	hours := map[byte]int{'h': 1, 'd': 24, 'w': 7 * 24, 'y': 365 * 24}[s[len(s)-1]]
	n, err := strconv.Atoi(s[:len(s)-1])
	if hours == 0 || err != nil || n < 0 || n > 200*365*24 || n*hours > 200*365*24 {
		return 0, false
	}
	return time.Duration(n*hours) * time.Hour, true
}
