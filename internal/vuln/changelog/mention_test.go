package changelog

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMentions reads sentences that changelogs of Debian 13 have, most of them word by word.
func TestMentions(t *testing.T) {
	fixed := func(cves ...string) (all []mention) {
		for _, cve := range cves {
			all = append(all, mention{"CVE-" + cve, fixes})
		}
		return all
	}
	said := func(m meaning, cves ...string) (all []mention) {
		for _, cve := range cves {
			all = append(all, mention{"CVE-" + cve, m})
		}
		return all
	}
	tests := []struct {
		source, item string
		want         []mention
	}{
		// What is a CVE.
		{"openssl", "* CVE-2025-9230: Fix incorrect check of unwrapped key size", fixed("2025-9230")},
		{"brotli", "* Detect and report invalid stream earlier (CVE-2026-111497) (Closes: #1151690)", fixed("2026-111497")},
		{"bind9", "+ [CVE2025-40777]: Fix a possible assertion failure when", fixed("2025-40777")},
		{"python-tornado", "* CVE 2013-2009. Avoid allowing", fixed("2013-2009")},
		{"libxml2", "- CVE-2025-{49794,49796}: use after free", fixed("2025-49794", "2025-49796")},
		{"ruby3.3", "+ d/p/CVE-2025-272{19,20}.patch: new", fixed("2025-27219", "2025-27220")},
		{"libxml2", "* Fix CVE-2025-49794 and -49796.", fixed("2025-49794", "2025-49796")},
		{"libnet-cidr-set-perl", "* CVE-2026-49940+49942.patch: Only accept ASCII", fixed("2026-49940", "2026-49942")},
		{"made up", "* CVE-2025-40778/40780, -40781: cache poisoning", fixed("2025-40778", "2025-40780", "2025-40781")},
		{"made up", "* fixes cve-2025-1111 and CVE-2025-1111.", fixed("2025-1111")},
		// What is none.
		{"openjdk-21", "- CVE-2025-53057, 8360937: Enhance certificate handling", fixed("2025-53057")},
		{"libvncserver", "* debian/patches/CVE-2019-15690/0001-heap-buffer-overflow.patch: new", fixed("2019-15690")},
		{"chromium", "- CVE-????-?????: Under coordination.", nil},
		{"edk2", "+ 0001-CVE-2019-1.patch", nil},
		{"exim4", "* (GCVE-25-2026-09-50-1) Exim", nil},
		{"made up", "* CVE-2025-123 is too short, CVE-2025-12345678 is too long", nil},
		// What is not fixed here.
		{"mediawiki", "* New upstream version 1.43.9, fixing CVE-2026-58024, CVE-2026-58025. This version is not affected by CVE-2026-58036.", append(fixed("2026-58024", "2026-58025"), said(nothing, "2026-58036")...)},
		{"mediawiki", "* New upstream version 1.31.7, fixing CVE-2020-10960. CVE-2020-10959 does not affect this version of MediaWiki.", append(fixed("2020-10960"), said(nothing, "2020-10959")...)},
		{"log4cxx", "* Note: Debian is not affected by CVE-2023-31038, the OBDC Appender was never enabled", said(nothing, "2023-31038")},
		{"wordpress", "- Check permissions on edit notes CVE-2026-3906 (not vulnerable)", said(nothing, "2026-3906")},
		{"exim4", "* Closes: #1148506 (CVE-2026-94055 is not relevant - TLS Early banner support was introduced in 4.99.)", said(nothing, "2026-94055")},
		{"openjdk-21", "* CVE-2024-21094, 8317507: Already fixed in November 2023: C2 compilation fails", said(nothing, "2024-21094")},
		{"c-ares", "* Drop CVE-2025-62408 patch, included upstream.", said(nothing, "2025-62408")},
		{"ceph", "* Removing CVE-2024-48916.patch, included upstream.", said(nothing, "2024-48916")},
		{"glance", "* Removed CVE-2024-32498 patches applied upstream.", said(nothing, "2024-32498")},
		{"ruby-rack", "* Remove CVE-2018-16471.patch already applied upstream", said(nothing, "2018-16471")},
		{"apache2", "* Fix CVE-2024-38473 regression: error parsing URL //: with space", said(nothing, "2024-38473")},
		{"jq", "* Fix a regression introduced by the fix for CVE-2026-44777: a module was dropped", said(nothing, "2026-44777")},
		{"libpng1.6", "* Cherry-pick upstream regression fix for previously fixed CVE 2026-33416.", said(nothing, "2026-33416")},
		{"flatpak", "- Various fixes for regressions caused when fixing CVE-2026-34078", said(nothing, "2026-34078")},
		{"bubblewrap", "- This ensures that vulnerabilities similar to CVE-2026-41163 can't happen in future.", said(nothing, "2026-41163")},
		{"redis", "* CVE-2026-66373: Double free via RESTORE of a stream, an incomplete fix for CVE-2026-25243; deleting", append(fixed("2026-66373"), said(nothing, "2026-25243")...)},
		// What is fixed, whatever it sounds like.
		{"libssh", "- CVE-2025-1111: conditions with OpenSSL backend; gcrypt backend is not affected", fixed("2025-1111")},
		{"vim", "* Fix CVE-2026-28417 + fix regression", fixed("2026-28417")},
		{"curl", "~ CVE-2023-23914: HSTS ignored on multiple requests", fixed("2023-23914")},
		{"python-django", "- CVE-2018-6188: A regression in Django 1.11.8 made", fixed("2018-6188")},
		{"linux", `- Revert "net/smc: Introduce TCP ULP support" (CVE-2026-46330)`, fixed("2026-46330")},
		{"linux", "- crypto: algif_aead - Revert to operating out-of-place (CVE-2026-31431)", fixed("2026-31431")},
		{"linux", "- net/sched: sch_teql: fix use-after-free on lower qdisc drop (CVE-2026-99282)", fixed("2026-99282")},
		{"linux", "- mtd: mtdoops: free page bitmap when the backing MTD is removed (CVE-2026-89953)", fixed("2026-89953")},
		// What is taken back, and what is fixed for good.
		{"libxml-libxml-perl", `* Revert "CVE-2017-10672: Use-after-free by controlling the arguments"`, said(unfixes, "2017-10672")},
		{"made up", "* Revert fix for CVE-2025-1111, it breaks uploads", said(unfixes, "2025-1111")},
		{"protobuf", "* Complete fix of CVE-2024-7254 (closes: #1082381):", said(perfects, "2024-7254")},
		{"pillow", "* Followup fix for CVE-2026-42310 (Closes: #1141330)", said(perfects, "2026-42310")},
		{"nodejs", "+ CVE-2025-23085: follow-up fix wrong check for NGHTTP2_GOAWAY", said(perfects, "2025-23085")},
		{"inetutils", "- This is the complete fix for CVE-2026-24061, with its own CVE pending.", said(perfects, "2026-24061")},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, mentions(tt.item), cmp.AllowUnexported(mention{})); diff != "" {
			t.Errorf("%s: %s\n-want +got:\n%s", tt.source, tt.item, diff)
		}
	}
}
