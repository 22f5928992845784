package client

import "testing"

// A voter counts only if it could help to commit: one that is cut off from the
// others still answers whoever asks it.
func TestStatusCountsWhoFollowsTheLeader(t *testing.T) {
	node := func(name, role string, term uint64, leader string) *NodeStatus {
		return &NodeStatus{Name: name, Role: role, Term: term, Leader: leader}
	}
	n1, n2, n3 := node("n1", "leader", 7, "n1"), node("n2", "follower", 7, "n1"), node("n3", "follower", 7, "n1")
	diverged := node("n3", "follower", 7, "n1")
	diverged.Diverged = true
	for name, k := range map[string]struct {
		answers   []*NodeStatus
		healthy   bool
		tolerates int
	}{
		"all":                         {[]*NodeStatus{n1, n2, n3}, true, 1},
		"one down":                    {[]*NodeStatus{n1, n2, nil}, true, 0},
		"one hears nobody":            {[]*NodeStatus{n1, n2, node("n3", "follower", 7, "")}, true, 0},
		"one still names the leader":  {[]*NodeStatus{n1, n2, node("n3", "follower", 6, "n1")}, true, 0},
		"one names an older leader":   {[]*NodeStatus{n1, n2, node("n3", "leader", 5, "n3")}, true, 0},
		"one diverged":                {[]*NodeStatus{n1, n2, diverged}, true, 0},
		"the leader alone":            {[]*NodeStatus{n1, node("n2", "follower", 7, ""), node("n3", "follower", 7, "")}, false, 0},
		"one diverged, one cut off":   {[]*NodeStatus{n1, node("n2", "follower", 7, ""), diverged}, false, 0},
		"nobody leads":                {[]*NodeStatus{node("n1", "follower", 7, ""), node("n2", "candidate", 7, ""), node("n3", "follower", 7, "")}, false, 0},
		"the leader does not answer":  {[]*NodeStatus{nil, n2, n3}, false, 0},
		"the first asked is cut off":  {[]*NodeStatus{node("n1", "follower", 6, ""), node("n2", "leader", 7, "n2"), node("n3", "follower", 7, "n2")}, true, 0},
		"learners are not counted up": {[]*NodeStatus{n1, n2, n3, node("n4", "learner", 7, "n1")}, true, 1},
	} {
		first := *k.answers[1]
		if k.answers[0] != nil {
			first = *k.answers[0]
		}
		for i, role := range []string{"voter", "voter", "voter", "learner"}[:len(k.answers)] {
			first.Members = append(first.Members, Member{Name: []string{"n1", "n2", "n3", "n4"}[i], Role: role})
		}
		if s := aggregate(&first, k.answers); s.Healthy != k.healthy || s.Tolerates != k.tolerates {
			t.Errorf("%s: healthy %v, tolerates %d; want %v, %d", name, s.Healthy, s.Tolerates, k.healthy, k.tolerates)
		}
	}
}
