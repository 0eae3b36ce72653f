package oci

import (
	"context"
	"encoding/json"
	"net/http"
)

// Limits of a list of tags: of a repository that has more none is given.
const (
	maxTags     = 200_000
	maxTagPage  = 8 << 20 // bytes
	maxTagPages = 2_000
)

// Tags lists the tags of the reference's repository, in the order the registry gives them.
func (s *Session) Tags(ctx context.Context, ref Reference) ([]string, error) {
	tags, err := s.tags(ctx, ref)
	return tags, wrap("list tags", ref, err)
}

func (s *Session) tags(ctx context.Context, ref Reference) ([]string, error) {
	repo, err := s.repository(ctx, ref)
	if err != nil {
		return nil, err
	}
	var all []string
	query := "n=1000"
	for range maxTagPages {
		answer, err := repo.do(ctx, http.MethodGet, "tags/list?"+query, request{limit: maxTagPage})
		if err != nil {
			return nil, err
		}
		var page struct {
			Tags []string `json:"tags"`
		}
		if err := json.Unmarshal(answer.body, &page); err != nil {
			return nil, bad("the list of tags is not valid: %v", err)
		}
		if all = append(all, page.Tags...); len(all) > maxTags {
			break
		}
		next, more := answer.nextPage()
		if !more {
			return all, nil
		}
		query = next
	}
	return nil, bad("it has more than %d tags", maxTags)
}
