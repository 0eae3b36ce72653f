package poll

import (
	"regexp"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

var (
	commit   = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	digested = regexp.MustCompile(`sha256:[0-9a-f]{64}$`)
)

// QuestionOf gives what is to be asked of the source of an Image. For one that says itself
// exactly what it is, a commit's id or a digest, there is nothing to ask: fixed is that.
func QuestionOf(image *v1alpha1.Image) (q Question, fixed string) {
	q = Question{Namespace: image.Namespace, ServiceAccount: string(image.Spec.ServiceAccountName)}
	switch s := image.Spec.Source; {
	case s.Git != nil:
		q.Kind, q.Location, q.Revision = Git, s.Git.URL, s.Git.Revision
		return q, commit.FindString(s.Git.Revision)
	case s.Archive != nil:
		q.Kind, q.Location = Archive, s.Archive.URL
		return q, string(s.Archive.Checksum)
	case s.Artifact != nil:
		q.Kind, q.Location = Artifact, string(s.Artifact.Image)
		return q, digested.FindString(q.Location)
	}
	return q, ""
}
