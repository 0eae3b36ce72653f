// Package scanners holds plimsoll's findings against those of grype and osv-scanner.
package scanners
