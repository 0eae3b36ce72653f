package scanners

import (
	_ "github.com/anchore/grype/grype/distro"
	_ "github.com/anchore/grype/grype/match"
	_ "github.com/anchore/grype/grype/matcher"
	_ "github.com/anchore/grype/grype/pkg"
	_ "github.com/anchore/grype/grype/vulnerability/mock"
	_ "github.com/anchore/grype/grype/version"
	_ "github.com/google/go-cmp/cmp"
	_ "github.com/google/osv-scalibr/enricher/vulnmatch/osvlocal"
	_ "plimsoll.dev/plimsoll/internal/vuln/match"
)
