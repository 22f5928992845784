package shell

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHTTP(t *testing.T) {
	gone := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/echo":
			body, _ := io.ReadAll(r.Body)
			w.Header().Set("X-Method", r.Method)
			w.WriteHeader(http.StatusCreated)
			io.WriteString(w, r.Header.Get("X-Mine")+string(body))
		case "/long":
			for range httpBytesMax>>20 + 1 {
				w.Write(make([]byte, 1<<20))
			}
		case "/never":
			select {
			case <-r.Context().Done():
			case <-gone:
			}
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	defer close(gone)
	for _, c := range []struct{ in, want string }{
		{"local r = http.post(url .. '/echo', 'body', {headers = {['X-Mine'] = 'mine: '}})\nprint(r.status, r.ok, r.body, r.headers['x-method'])", "201\ttrue\tmine:body\tPOST"},
		{"local r = http.get(url .. '/nothing')\nprint(r.status, r.ok)", "404\tfalse"},
		{"http.get(url .. '/long')", "! stdin:2: http: URL/long: the answer is longer than 16777216 bytes"},
		{"http.get(url .. '/never', {timeout = 0.01})", "! stdin:2: http: URL/never: no answer within 10ms"},
		{"http.get('http://127.0.0.1:1/', {timeout = -1})", "! stdin:2: bad argument #2 to get (timeout: seconds expected, more than 0)"},
		{"local ok, err = pcall(http.get, 'nowhere')\nprint(ok, err)", "false\tstdin:2: http: Get \"nowhere\": unsupported protocol scheme \"\""},
		// Others go on while it waits.
		{"local done = false after(0, function() done = true end) pcall(http.get, url .. '/never', {timeout = 1, headers = {}}) print(done)", "true"},
	} {
		s, out := newTestSession(t, newFake())
		err := RunInput(context.Background(), NewConsole(s, newFake(), "stdin", nil), strings.NewReader("url = '"+server.URL+"'\n"+c.in))
		got := out.take()
		if err != nil {
			got += "! " + err.Error()
		}
		if got = strings.ReplaceAll(strings.TrimSpace(got), server.URL, "URL"); got != c.want {
			t.Errorf("%s: got %s, want %s", c.in, got, c.want)
		}
	}
}
