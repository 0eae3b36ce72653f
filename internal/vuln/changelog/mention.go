package changelog

import (
	"regexp"
	"slices"
	"strings"
)

// meaning is what an entry says of a CVE. Of several in one entry, the later constants come
// last.
type meaning int

const (
	nothing  meaning = iota // it is only mentioned
	unfixes                 // this version takes a fix back
	fixes                   // this version fixes it; what is not said otherwise
	perfects                // this version fixes what the earlier try did not
)

// mention is a CVE in a bullet.
type mention struct {
	cve     string
	meaning meaning
}

var (
	// cvePattern also takes what people write for it: "CVE2025-1234", "CVE 2025-1234",
	// "CVE_2025_1234", and patches' "CVE-2025-{1234,5678}".
	cvePattern = regexp.MustCompile(`(?i)\bCVE[-_: ]{0,2}((?:19|20)\d{2})[-_](?:(\d{4,7})\b|(\d*)\{(\d+(?:,\d+)+)\})`)

	// shortPattern goes on after one with further numbers of the same year: ", -5678",
	// " and -5678", "/5678", "+5678". A bare number after a comma is a bug's, not a CVE's.
	shortPattern = regexp.MustCompile(`^(?:(?:,? ?(?:and|or|&) ?|, ?|/)-(\d{4,7})|[/+](\d{4,5}))([^\w-]|$)`)

	// between stands between two CVEs of one list.
	between = regexp.MustCompile(`^(?:[\s,;/&+]|\band\b|\bor\b)*$`)
)

// Words beside a list of CVEs that change what it says, before it and after it.
var (
	notBefore = regexp.MustCompile(`(?i)\b(?:not|n't|never|no longer) (?:be )?(?:affected|vulnerable|exploitable|applicable|concerned) (?:by|to|for)(?: the)?\s*$` +
		`|\bunaffected by\s*$|\b(?:not|n't) (?:yet )?(?:fix|address|contain (?:a|the) fix for|include (?:a|the) fix for)\s*$` +
		`|\b(?:unfixed|not fixed|still open|still vulnerable to|still affected by|ignor(?:e|ed|ing)|no fix (?:yet )?for)[: ]\s*$`)
	notAfter = regexp.MustCompile(`(?i)^[\s,:;(\[–-]*(?:(?:is|are|was|were|does|do|did|has|have|been)? ?(?:not|n't)|doesn't|don't|isn't|aren't|wasn't|weren't) (?:be )?(?:affect|vulnerable|exploitable|applicable|apply|relevant|an issue|fixed|yet)` +
		`|^[\s,:;(\[–-]*(?:unaffected|n/a|false positive|disputed|rejected)\b`)

	oldBefore = regexp.MustCompile(`(?i)\bregressions?\b[^.;]{0,60}$` +
		`|\b(?:incomplete|partial|previous|earlier|old|original|existing) (?:fix(?:es)?|patch(?:es)?|correction|mitigation|update)\b[^.;,]{0,20}$` +
		`|\b(?:after|since|while|when) (?:the )?(?:fix(?:es|ing)?|solution|changes?|patch(?:es)?)(?: (?:of|for|to))?\s*$` +
		`|\b(?:solution|handling|fallout)\b[^.;,]{0,15}\b(?:of|to|for|from)\s*$` +
		`|\b(?:see(?: also)?|cf\.?|similar to|related to|variant of|same as|like|unlike|duplicate of)\s*$` +
		`|\b(?:drop(?:ped|s)?|remov(?:e|ed|es|ing)|delet(?:e|ed)|refresh(?:ed|es)?|rebase[ds]?|renam(?:e|ed)|updat(?:e|ed) patch(?:es)?)\b[:,]?(?: (?:the|obsolete|old|patch(?:es)?|fix(?:es)?|for|security|upstreamed|backported))*[ "':]*(?:debian/patches/|d/p/|d/patches/|patches/)?[\w./-]*$`)
	oldAfter = regexp.MustCompile(`(?i)^(?:\.patch|\.diff|\S*\.patch|\S*\.diff)?[\s,:;(\["'\d–-]*(?:fix )?(?:regressions?\b|(?:was |were |is |are |has been |have been )?(?:already|previously) |(?:was|were) (?:already |previously )?fixed in|(?:is |are |was |were )?(?:now )?(?:included|applied|merged) upstream|upstreamed)`)

	revertBefore  = regexp.MustCompile(`(?i)\b(?:revert(?:s|ed|ing)?|back(?:s|ed|ing)? out|backout)\s+(?:of\s+)?(?:the\s+)?(?:(?:upstream|security|previous)\s+)?(?:fix(?:es)?|patch(?:es)?|changes?|backport|commit)?\s*(?:for|of|from)?\s*["'“]?(?:debian/patches/|d/p/|d/patches/)?\s*$`)
	revertAfter   = regexp.MustCompile(`(?i)^[\s:,]*(?:backout|(?:patch |fix )?(?:is |was |has been )?(?:reverted|backed out))\b`)
	perfectAfter  = regexp.MustCompile(`(?i)^[\s,:;(-]*(?:follow-?up|additional|second|further|complete|improved?) (?:fix|patch)`)
	perfectBefore = regexp.MustCompile(`(?i)\b(?:complete|finish|really|properly|actually|correctly|fully)\s+(?:the\s+)?(?:fix(?:es|ed|ing)?|address(?:es|ed)?)(?:\s+(?:for|of))?\s*$` +
		`|\b(?:proper|correct|complete|full|additional|further|second|follow-up|followup|improved?)\s+(?:fix(?:es)?|patch(?:es)?)\s+(?:for|of)\s*$`)
)

// mentions gives the CVEs that a bullet names, in its order and once each.
func mentions(item string) []mention {
	var all []mention
	found := lists(item)
	for i, list := range found {
		end := len(item)
		if i+1 < len(found) {
			end = found[i+1].start
		}
		start := 0
		if i > 0 {
			start = found[i-1].end
		}
		meaning := judge(sentenceBefore(item[start:list.start]), sentenceAfter(item[list.end:end]))
		for _, cve := range list.cves {
			if !slices.ContainsFunc(all, func(m mention) bool { return m.cve == cve }) {
				all = append(all, mention{cve, meaning})
			}
		}
	}
	return all
}

// judge tells what is said by what stands beside: a doubt is read as a fix, which is what
// changelogs name CVEs for.
func judge(before, after string) meaning {
	switch {
	case notBefore.MatchString(before), notAfter.MatchString(after):
		return nothing
	case revertBefore.MatchString(before), revertAfter.MatchString(after):
		return unfixes
	case perfectBefore.MatchString(before), perfectAfter.MatchString(after):
		return perfects
	case oldBefore.MatchString(before), oldAfter.MatchString(after):
		return nothing
	}
	return fixes
}

// list is a run of CVEs with only commas and such between them.
type list struct {
	start, end int // in the bullet
	cves       []string
}

func lists(item string) []list {
	var all []list
	for _, at := range cvePattern.FindAllStringSubmatchIndex(item, -1) {
		group := func(n int) string {
			if at[2*n] < 0 {
				return ""
			}
			return item[at[2*n]:at[2*n+1]]
		}
		found := list{start: at[0], end: at[1]}
		year := group(1)
		if group(2) != "" {
			found.cves = []string{name(year, group(2))}
		}
		for number := range strings.SplitSeq(group(4), ",") {
			if number != "" {
				found.cves = append(found.cves, name(year, group(3)+number))
			}
		}
		for more := shortPattern.FindStringSubmatchIndex(item[found.end:]); more != nil; more = shortPattern.FindStringSubmatchIndex(item[found.end:]) {
			number := max(more[2], more[4]) // of the two groups one is there
			end := max(more[3], more[5])
			found.cves = append(found.cves, name(year, item[found.end+number:found.end+end]))
			found.end += end
		}
		if last := len(all) - 1; last >= 0 && between.MatchString(item[min(all[last].end, found.start):found.start]) {
			all[last].end, all[last].cves = found.end, append(all[last].cves, found.cves...)
			continue
		}
		all = append(all, found)
	}
	return all
}

func name(year, number string) string { return "CVE-" + year + "-" + number }

// sentenceBefore gives what belongs to the same sentence before the list.
func sentenceBefore(text string) string {
	if at := strings.LastIndex(text, ". "); at >= 0 {
		return text[at+2:]
	}
	return text
}

func sentenceAfter(text string) string {
	before, _, _ := strings.Cut(text, ". ")
	return before
}
