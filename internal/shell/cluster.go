package shell

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/luafsm"
)

// Cluster is what a session asks of: a client.Client, or a fake in tests.
type Cluster interface {
	// Do sends one request and returns at once; done is called once, on any
	// goroutine. timeout 0 is the client's own. The error of an answer that is
	// not OK, or that never came, is a *command.Error.
	Do(op wire.Op, mode wire.Mode, timeout time.Duration, payload []byte, done func(command.Result, error))
	// Exec sends a request and waits, and tries again what certainly did not
	// happen.
	Exec(ctx context.Context, op wire.Op, mode wire.Mode, payload []byte) (command.Result, error)
}

// send is Do with further tries of what certainly did not happen, as during an
// election; the cluster of a World sees to them itself. The first try is sent
// before send returns, so requests that are sent one after the other arrive in
// that order while there is a leader.
func (s *Session) send(ctx context.Context, c Cluster, op wire.Op, mode wire.Mode, timeout time.Duration, payload []byte, done func(command.Result, error)) {
	if s.conf.World != nil {
		c.Do(op, mode, timeout, payload, done)
		return
	}
	began := time.Now()
	c.Do(op, mode, timeout, payload, func(r command.Result, err error) {
		var failed *command.Error
		if !errors.As(err, &failed) || failed.Code != command.CodeNoLeader && failed.Code != command.CodeOverloaded {
			done(r, err)
			return
		}
		go func() {
			ctx := ctx
			if timeout > 0 {
				limited, cancel := context.WithDeadline(ctx, began.Add(timeout))
				defer cancel()
				ctx = limited
			}
			if ctx.Err() != nil {
				done(r, err)
				return
			}
			done(c.Exec(ctx, op, mode, payload))
		}()
	})
}

// Describe asks for the description of all objects.
func Describe(ctx context.Context, c Cluster, mode wire.Mode) (command.Description, error) {
	r, err := c.Exec(ctx, wire.OpQuery, mode, command.AppendDescribe(nil))
	if err != nil {
		return command.Description{}, err
	}
	return decodeDescription(r)
}

func decodeDescription(r command.Result) (command.Description, error) {
	d := codec.NewDecoder(r.Values)
	if err := d.FixedArray(1); err != nil {
		return command.Description{}, err
	}
	return command.DecodeDescription(&d)
}

// Deploy proposes scripts and returns what the leader says that will change. A
// new script without an object is refused: scripts share nothing else, so that
// it could only be a mistake.
func Deploy(ctx context.Context, c Cluster, scripts []command.Script) ([]string, error) {
	lines, err := deploy(ctx, c, scripts)
	if err != nil {
		return lines, &DeployError{err, scripts}
	}
	return lines, nil
}

func deploy(ctx context.Context, c Cluster, scripts []command.Script) ([]string, error) {
	if err := refuseEmpty(ctx, c, scripts); err != nil {
		return nil, err
	}
	r, err := c.Exec(ctx, wire.OpDeploy, wire.Linearizable, command.AppendDeploy(nil, 0, 0, scripts))
	if err != nil {
		return nil, err
	}
	d := codec.NewDecoder(r.Values)
	n, err := d.ArrayLen()
	if err != nil {
		return nil, err
	}
	lines := make([]string, 0, n)
	for range n {
		line, err := d.String()
		if err != nil {
			return lines, err
		}
		lines = append(lines, line)
	}
	return lines, nil
}

func refuseEmpty(ctx context.Context, c Cluster, scripts []command.Script) error {
	i := slices.IndexFunc(scripts, func(s command.Script) bool { return !namesObject(s) })
	if i < 0 {
		return nil
	}
	d, err := Describe(ctx, c, client.Linearizable)
	if err != nil {
		return err
	}
	for _, s := range scripts[i:] {
		replaces := slices.ContainsFunc(d.Scripts, func(old command.Script) bool { return old.Name == s.Name })
		if !replaces && !namesObject(s) {
			return &command.Error{Code: command.CodeBadArgument, Message: s.Name + " defines no object"}
		}
	}
	return nil
}

// namesObject tells whether a script can define an object: whether it names the
// function object anywhere. What has findings is left to the leader; it may also
// be nested too deep to be compiled here.
func namesObject(s command.Script) bool {
	if len(luafsm.Check([]command.Script{s})) > 0 {
		return true
	}
	chunk, err := parse.Parse(strings.NewReader(strings.TrimPrefix(s.Source, "\ufeff")), s.Name)
	if err != nil {
		return true
	}
	proto, err := lua.Compile(chunk, s.Name)
	return err != nil || protoNames(proto, "object")
}

func protoNames(p *lua.FunctionProto, name string) bool {
	return slices.Contains(p.Constants, lua.LValue(lua.LString(name))) ||
		slices.ContainsFunc(p.FunctionPrototypes, func(inner *lua.FunctionProto) bool { return protoNames(inner, name) })
}
