package luafsm

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
)

// try is a call or query, and what a model says that it answers.
type try struct {
	query  bool
	method string
	args   []any
	want   string
}

// compare makes random calls and compares each answer with that of a model in Go.
// The machine goes through a dump and a restore now and then; in the end no timer
// is left when the object's time has passed.
func compareWith(t *testing.T, object string, newModel func(*rand.Rand, *rig) func() try) {
	for seed := range int64(6) {
		r, rng := newRig(t), rand.New(rand.NewSource(seed))
		r.mustDeploy(object+".lua", script(t, object+".lua"))
		next := newModel(rng, r)
		var done []string
		for i := range 400 {
			r.clock += int64(rng.Intn(3)) * int64(rng.Intn(2000))
			r.apply(command.AppendTick(nil)) // queries have the clock of the last entry
			r.tick()
			s := next()
			var got string
			if s.query {
				got = show(r.query(command.AppendQuery(nil, object, s.method, args(s.args...))))
			} else {
				got = show(r.call(object, s.method, s.args...))
			}
			done = append(done, fmt.Sprintf("%d: %s%v = %s", r.clock, s.method, s.args, got))
			if got != s.want {
				t.Fatalf("seed %d: want %s\n%s", seed, s.want, strings.Join(done[max(0, len(done)-30):], "\n"))
			}
			if i%100 == 99 {
				r.m = restored(t, r.m)
			}
		}
		r.clock += 1_000_000_000
		r.tick()
		if n := r.timers(); n != 0 {
			t.Errorf("seed %d: %d timers are left", seed, n)
		}
	}
}

// braces is a list as show has it.
func braces[T any](l []T) string {
	var out []string
	for _, v := range l {
		out = append(out, fmt.Sprint(v))
	}
	return "{" + strings.Join(out, ",") + "}"
}

func TestListModel(t *testing.T) {
	compareWith(t, "list", func(rng *rand.Rand, _ *rig) func() try {
		var l []int
		return func() try {
			v, n := rng.Intn(8), len(l)
			switch op := rng.Intn(12); {
			case op < 3:
				l = append(l, v)
				return try{false, "append", []any{v}, fmt.Sprint(n + 1)}
			case op < 5:
				at := rng.Intn(n + 1)
				l = slices.Insert(l, at, v)
				return try{false, "insert", []any{at + 1, v}, fmt.Sprint(n + 1)}
			case op == 5:
				at := slices.Index(l, v)
				if at < 0 {
					return try{false, "remove", []any{v}, "nil"}
				}
				l = slices.Delete(l, at, at+1)
				return try{false, "remove", []any{v}, fmt.Sprint(at + 1)}
			case op == 6 && n > 0:
				at := rng.Intn(n)
				was := l[at]
				l = slices.Delete(l, at, at+1)
				return try{false, "pop", []any{at - n}, fmt.Sprint(was)}
			case op == 7 && n > 0:
				at := rng.Intn(n)
				was := l[at]
				l[at] = v
				return try{false, "set", []any{at + 1, v}, fmt.Sprint(was)}
			case op == 8 && n > 0:
				slices.Sort(l)
				return try{false, "sort", nil, ""}
			case op == 9:
				return try{true, "len", nil, fmt.Sprint(n)}
			case n == 0:
				return try{false, "pop", nil, "nil"}
			}
			return try{true, "values", nil, braces(l)}
		}
	})
}

func TestDictModel(t *testing.T) {
	compareWith(t, "dict", func(rng *rand.Rand, _ *rig) func() try {
		m := map[string]int{}
		was := func(k string) string {
			if v, ok := m[k]; ok {
				return fmt.Sprint(v)
			}
			return "nil"
		}
		return func() try {
			k, v := string(rune('a'+rng.Intn(12))), rng.Intn(100)
			before := was(k)
			switch rng.Intn(8) {
			case 0, 1, 2:
				m[k] = v
				return try{false, "set", []any{k, v}, before}
			case 3:
				delete(m, k)
				return try{false, "pop", []any{k}, before}
			case 4:
				if before == "nil" {
					m[k] = v
				}
				return try{false, "setdefault", []any{k, v}, was(k)}
			case 5:
				return try{true, "len", nil, fmt.Sprint(len(m))}
			case 6:
				return try{true, "get", []any{k}, before}
			}
			if len(m) == 0 {
				return try{false, "clear", nil, ""}
			}
			return try{true, "keys", nil, braces(slices.Sorted(maps.Keys(m)))}
		}
	})
}

func TestSetModel(t *testing.T) {
	compareWith(t, "set", func(rng *rand.Rand, _ *rig) func() try {
		m := map[int]bool{} // from 1: the sequence of a table comes and goes
		return func() try {
			k := 1 + rng.Intn(10)
			had := m[k]
			switch rng.Intn(6) {
			case 0, 1:
				m[k] = true
				return try{false, "add", []any{k}, fmt.Sprint(!had)}
			case 2:
				delete(m, k)
				return try{false, "discard", []any{k}, fmt.Sprint(had)}
			case 3:
				if len(m) == 0 {
					return try{false, "pop", nil, "nil"}
				}
				first := slices.Min(slices.Collect(maps.Keys(m)))
				delete(m, first)
				return try{false, "pop", nil, fmt.Sprint(first)}
			case 4:
				return try{true, "contains", []any{k}, fmt.Sprint(had)}
			}
			if len(m) == 0 {
				return try{true, "len", nil, "0"}
			}
			return try{true, "members", nil, braces(slices.Sorted(maps.Keys(m)))}
		}
	})
}

// job of a modelled queue.
type job struct {
	id, tries int
	priority  float64
	due       int64
}

// queues is a model of queue, and of pqueue with priorities.
type queues struct {
	rng         *rand.Rand
	r           *rig
	priorities  bool
	ready, dead []job
	taken       map[int]job
	id, receipt int
}

func (q *queues) line(j job) {
	q.ready = append(q.ready, j)
	slices.SortFunc(q.ready, func(a, b job) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.id, b.id))
	})
}

func (q *queues) again(j job) {
	if j.tries < 3 {
		q.line(j)
	} else {
		q.dead = append(q.dead, j)
		slices.SortFunc(q.dead, func(a, b job) int { return cmp.Compare(a.id, b.id) })
		q.dead = q.dead[max(0, len(q.dead)-2):]
	}
}

// expire takes back what is due, as the timers do, in the order in which it is.
func (q *queues) expire() {
	for {
		first := 0
		for receipt, j := range q.taken {
			if j.due <= q.r.clock && (first == 0 || cmp.Or(cmp.Compare(j.due, q.taken[first].due), cmp.Compare(receipt, first)) < 0) {
				first = receipt
			}
		}
		if first == 0 {
			return
		}
		j := q.taken[first]
		delete(q.taken, first)
		q.again(j)
	}
}

func (q *queues) reserve(seconds int) try {
	if len(q.ready) == 0 {
		return try{false, "reserve", []any{seconds}, "nil"}
	}
	j := q.ready[0]
	q.ready = q.ready[1:]
	q.receipt++
	j.tries++
	j.due = q.r.clock + int64(seconds)*1000
	q.taken[q.receipt] = j
	priority := ""
	if q.priorities {
		priority = fmt.Sprintf("priority=%.14g,", j.priority)
	}
	return try{false, "reserve", []any{seconds}, fmt.Sprintf("{id=%d,%sreceipt=%d,tries=%d,value=v}", j.id, priority, q.receipt, j.tries)}
}

func (q *queues) next() try {
	q.expire()
	seconds, receipt := 1+q.rng.Intn(5), 2+q.rng.Intn(q.receipt)
	j, valid := q.taken[receipt]
	switch op := q.rng.Intn(12); op {
	case 0, 1, 2:
		return q.put()
	case 3, 4:
		return q.reserve(seconds)
	case 5:
		delete(q.taken, receipt)
		return try{false, "ack", []any{receipt}, fmt.Sprint(valid)}
	case 6, 7:
		delay := q.rng.Intn(2) * seconds
		if valid {
			delete(q.taken, receipt)
			if delay > 0 && j.tries < 3 {
				q.receipt++
				j.due = q.r.clock + int64(delay)*1000
				q.taken[q.receipt] = j
			} else {
				q.again(j)
			}
		}
		return try{false, "fail", []any{receipt, delay}, fmt.Sprint(valid)}
	case 8:
		if valid {
			j.due = q.r.clock + int64(seconds)*1000
			q.taken[receipt] = j
		}
		return try{false, "extend", []any{receipt, seconds}, fmt.Sprint(valid)}
	case 9:
		if len(q.ready) == 0 {
			return try{false, "get", []any{"none"}, "none"}
		}
		q.ready = q.ready[1:]
		return try{false, "get", []any{"none"}, "v"}
	case 10:
		return q.revive()
	}
	return try{true, "qsize", nil, fmt.Sprint(len(q.ready), len(q.taken), len(q.dead))}
}

func (q *queues) full() bool { return len(q.ready)+len(q.taken) >= 8 }

func (q *queues) put() try {
	s := try{false, "put", []any{"v"}, "nil"}
	priority := 0.0
	if q.priorities {
		priority = []float64{-1e300, -2.5, -1, -1e-300, 0, 1e-5, 1, 2, 1e9}[q.rng.Intn(9)]
		s.args = append(s.args, priority)
	}
	if !q.full() {
		q.id++
		q.line(job{id: q.id, priority: priority})
		s.want = fmt.Sprint(q.id)
	}
	return s
}

func (q *queues) revive() try {
	if len(q.dead) == 0 || q.full() {
		return try{true, "full", nil, fmt.Sprint(q.full())}
	}
	j := q.dead[0]
	s := try{false, "revive", []any{j.id}, fmt.Sprint(q.id + 1)}
	q.dead = q.dead[1:]
	q.id++
	j.id, j.tries = q.id, 0
	q.line(j)
	return s
}

func testQueueModel(t *testing.T, object string) {
	compareWith(t, object, func(rng *rand.Rand, r *rig) func() try {
		q := &queues{rng: rng, r: r, priorities: object == "pqueue", taken: map[int]job{}, id: 1, receipt: 1}
		options := codec.AppendMapLen(nil, 3)
		for _, o := range []struct {
			name string
			n    int64
		}{{"capacity", 8}, {"dead", 2}, {"tries", 3}} {
			options = codec.AppendInt(codec.AppendString(options, o.name), o.n)
		}
		r.call(object, "configure", options)
		return q.next
	})
}

func TestQueueModel(t *testing.T)  { testQueueModel(t, "queue") }
func TestPQueueModel(t *testing.T) { testQueueModel(t, "pqueue") }

func TestLedgerModel(t *testing.T) {
	compareWith(t, "ledger", func(rng *rand.Rand, r *rig) func() try {
		names := []string{"a", "b", "c"}
		balance, total, serial := map[string]int{}, 0, 0
		answers := map[string]try{}
		for _, n := range names {
			r.call("ledger", "open", n)
		}
		refuse := func(s try, who string, n int) try {
			s.want = fmt.Sprintf("script: ledger:%s: %s has %d, not %d", map[string]string{"withdraw": "withdraw(account, amount, key)", "transfer": "transfer(from, to, amount, key)"}[s.method], who, balance[who], n)
			return s
		}
		return func() try {
			serial++
			key, n := fmt.Sprint("k", serial), 1+rng.Intn(50)
			from, to := names[rng.Intn(3)], names[rng.Intn(3)]
			s := try{method: "deposit", args: []any{from, n, key}}
			switch op := rng.Intn(7); {
			case op == 0:
				balance[from] += n
				total += n
				s.want = fmt.Sprint(balance[from])
			case op == 1:
				s.method = "withdraw"
				if balance[from] < n {
					return refuse(s, from, n)
				}
				balance[from] -= n
				total -= n
				s.want = fmt.Sprint(balance[from])
			case op < 4 && from != to:
				s.method, s.args = "transfer", []any{from, to, n, key}
				if balance[from] < n {
					return refuse(s, from, n)
				}
				balance[from] -= n
				balance[to] += n
				s.want = fmt.Sprint(balance[from], balance[to])
			case op == 4 && len(answers) > 0: // once more: the answer of the first time
				return answers[slices.Sorted(maps.Keys(answers))[rng.Intn(len(answers))]]
			case op == 5:
				return try{true, "balance", []any{from}, fmt.Sprint(balance[from])}
			default:
				return try{true, "sum", nil, fmt.Sprint(total, 3)}
			}
			answers[key] = s
			return s
		}
	})
}

func TestRateLimiterModel(t *testing.T) {
	compareWith(t, "ratelimiter", func(rng *rand.Rand, r *rig) func() try {
		const rate, burst = 0.5, 4 // exact in binary, so the model may be simple
		r.call("ratelimiter", "define", "r", rate, burst)
		tokens, at := map[string]float64{}, map[string]int64{}
		return func() try {
			key, n := string(rune('a'+rng.Intn(3))), float64(1+rng.Intn(4))
			have := float64(burst)
			if _, ok := tokens[key]; ok {
				have = min(burst, tokens[key]+(float64(r.clock)/1000-float64(at[key])/1000)*rate)
			}
			if rng.Intn(3) == 0 {
				return try{true, "left", []any{"r", key}, fmt.Sprintf("%.14g 0.5 4", have)}
			}
			if have < n {
				return try{false, "allow", []any{"r", key, n}, fmt.Sprintf("false %.14g", (n-have)/rate)}
			}
			tokens[key], at[key] = have-n, r.clock
			return try{false, "allow", []any{"r", key, n}, fmt.Sprintf("true %.14g", have-n)}
		}
	})
}

// Enough players for many blocks, which split, empty and join.
func TestLeaderboardModel(t *testing.T) {
	r, rng := newRig(t), rand.New(rand.NewSource(1))
	r.mustDeploy("leaderboard.lua", script(t, "leaderboard.lua"))
	scores := map[string]float64{}
	sorted := func() []string {
		return slices.SortedFunc(maps.Keys(scores), func(a, b string) int {
			return cmp.Or(cmp.Compare(scores[b], scores[a]), cmp.Compare(a, b))
		})
	}
	verify := func(step int) {
		t.Helper()
		order := sorted()
		var want []string
		for _, p := range order {
			want = append(want, fmt.Sprintf("{%s,%.14g}", p, scores[p]))
		}
		if got := show(r.query(command.AppendQuery(nil, "leaderboard", "top", args(100_000)))); got != braces(want) {
			t.Fatalf("step %d: the order of %d players differs", step, len(order))
		}
		for range 20 {
			p := order[rng.Intn(len(order))]
			rank := 1 + slices.IndexFunc(order, func(o string) bool { return scores[o] == scores[p] })
			want := fmt.Sprintf("%d %.14g", rank, scores[p])
			if got := show(r.query(command.AppendQuery(nil, "leaderboard", "rank", args(p)))); got != want {
				t.Fatalf("step %d: rank of %s: %s, want %s", step, p, got, want)
			}
		}
	}
	score := func() float64 {
		switch rng.Intn(4) {
		case 0:
			return float64(rng.Intn(20) - 10)
		case 1:
			return -math.Exp(rng.Float64()*200 - 100)
		case 2:
			return math.Exp(rng.Float64()*1400 - 700)
		}
		return rng.NormFloat64()
	}
	for step := range 4 {
		var cmds [][]byte
		for range 2000 {
			p := fmt.Sprintf("p%d", rng.Intn(3000))
			if step%2 == 1 { // most of them leave again
				delete(scores, p)
				cmds = append(cmds, command.AppendCall(nil, 0, 0, "leaderboard", "remove", args(p)))
				continue
			}
			scores[p] = score()
			cmds = append(cmds, command.AppendCall(nil, 0, 0, "leaderboard", "set", args(p, scores[p])))
		}
		for _, res := range r.apply(cmds...) {
			if res.Code != command.CodeOK {
				t.Fatal(show(res))
			}
		}
		verify(step)
		r.m = restored(t, r.m)
	}
}
