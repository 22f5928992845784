package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
)

const (
	// httpTimeout bounds a request that names no timeout of its own.
	httpTimeout = 10 * time.Second
	// httpBytesMax bounds the body of an answer: it is kept in memory as one string.
	httpBytesMax = 16 << 20
)

// openHTTP makes the table http: get(url [, options]) and
// post(url, body [, options]). They wait; other tasks go on meanwhile.
func (s *Session) openHTTP(l *lua.LState) {
	t := l.NewTable()
	t.RawSetString("get", l.NewFunction(func(l *lua.LState) int { return s.luaHTTP(l, http.MethodGet, "", 2) }))
	t.RawSetString("post", l.NewFunction(func(l *lua.LState) int { return s.luaHTTP(l, http.MethodPost, l.CheckString(2), 3) }))
	l.SetGlobal("http", t)
}

// luaHTTP sends a request and returns {status, ok, body, headers}. An answer is
// no error whatever its status; none in time is one, and one that is too long.
func (s *Session) luaHTTP(l *lua.LState, method, body string, optionsAt int) int {
	url := l.CheckString(1)
	options := l.OptTable(optionsAt, l.NewTable())
	timeout := httpTimeout
	if v := options.RawGetString("timeout"); v != lua.LNil {
		n, ok := v.(lua.LNumber)
		if !ok || !(n > 0 && n <= lua.LNumber(maxSeconds)) {
			l.ArgError(optionsAt, "timeout: seconds expected, more than 0")
		}
		timeout = time.Duration(float64(n) * float64(time.Second))
	}
	ctx, cancel := context.WithTimeout(s.sched.current.ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		l.ArgError(1, err.Error())
	}
	if headers, ok := options.RawGetString("headers").(*lua.LTable); ok {
		headers.ForEach(func(k, v lua.LValue) { req.Header.Set(k.String(), v.String()) })
	}
	type answer struct {
		resp *http.Response
		body []byte
		err  error
	}
	got := make(chan answer, 1)
	if err := s.sched.current.wait(func(wake func()) {
		go func() {
			var a answer
			a.resp, a.body, a.err = fetch(req)
			got <- a
			wake()
		}()
	}); err != nil {
		s.raise(l, err)
	}
	a := <-got
	switch {
	case errors.Is(a.err, context.DeadlineExceeded):
		l.RaiseError("http: %s: no answer within %v", url, timeout)
	case a.err != nil:
		l.RaiseError("http: %s", a.err.Error())
	}
	headers := l.NewTable()
	for name, values := range a.resp.Header {
		headers.RawSetString(strings.ToLower(name), lua.LString(strings.Join(values, ", ")))
	}
	t := l.NewTable()
	t.RawSetString("status", lua.LNumber(a.resp.StatusCode))
	t.RawSetString("ok", lua.LBool(a.resp.StatusCode >= 200 && a.resp.StatusCode < 300))
	t.RawSetString("body", lua.LString(a.body))
	t.RawSetString("headers", headers)
	l.Push(t)
	return 1
}

// maxSeconds is the longest timeout, a day.
const maxSeconds = 24 * 60 * 60

// fetch carries out a request and reads its body.
func fetch(req *http.Request) (*http.Response, []byte, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, httpBytesMax+1))
	if err == nil && len(body) > httpBytesMax {
		err = fmt.Errorf("%s: the answer is longer than %d bytes", req.URL, httpBytesMax)
	}
	return resp, body, err
}
