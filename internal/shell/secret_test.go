package shell

import "testing"

func TestMaskSecrets(t *testing.T) {
	for in, want := range map[string]string{
		`password = "hunter2"`:                        `password = "***"`,
		`db_password='a\'b' x = 1`:                    `db_password="***" x = 1`,
		`conf:set{user = "ann", apiKey = "k", n = 1}`: `conf:set{user = "ann", apiKey = "***", n = 1}`,
		`t["token"] = [[abc]]`:                        `t["token"] = "***"`,
		`kv:set("db_secret", "s")`:                    `kv:set("db_secret", "***")`,
		`vault:set_token("s")`:                        `vault:set_token("***")`,
		`key = 12345`:                                 `key = "***"`,
		`PASSWORD = "open`:                            `PASSWORD = "***"`,
		`a.secret = "x"; b.secret = "y"`:              `a.secret = "***"; b.secret = "***"`,
		`kv:set("key", "value")`:                      `kv:set("key", "value")`,
		`if key == "x" then end`:                      `if key == "x" then end`,
		`counter:inc(5)`:                              `counter:inc(5)`,
		`token = nil`:                                 `token = nil`,
		`for key, v in pairs(t) do print(key) end`:    `for key, v in pairs(t) do print(key) end`,
		`password = os.getenv("PW")`:                  `password = os.getenv("PW")`,
	} {
		if got := maskSecrets(in); got != want {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
	}
}
