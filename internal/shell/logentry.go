package shell

import (
	"encoding/json"
	"fmt"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
)

// LogCommand is a command of the log for people and for programs.
type LogCommand struct {
	Kind    string            `json:"kind"` // call, deploy, create, drop, setting, tick, ...
	Session uint64            `json:"session,omitempty"`
	Serial  uint64            `json:"serial,omitempty"`
	Object  string            `json:"object,omitempty"`
	Method  string            `json:"method,omitempty"`
	Args    []json.RawMessage `json:"args,omitempty"`
	Text    string            `json:"text"` // in Lua notation
}

var commandNames = map[command.Kind]string{
	command.Call: "call", command.Deploy: "deploy", command.Create: "create", command.Drop: "drop",
	command.Setting: "setting", command.Tick: "tick", command.Open: "open",
}

// DecodeLogCommand reads a command of the log.
func DecodeLogCommand(b []byte) (LogCommand, error) {
	d := codec.NewDecoder(b)
	head, err := command.DecodeHead(&d)
	if err != nil {
		return LogCommand{}, err
	}
	c := LogCommand{Kind: commandNames[head.Kind], Session: head.Session, Serial: head.Serial}
	if c.Kind == "" {
		c.Kind = fmt.Sprintf("kind %d", head.Kind)
	}
	switch head.Kind {
	case command.Call:
		return c, c.decodeCall(&d)
	case command.Deploy:
		return c, c.decodeDeploy(&d)
	}
	var fields []lua.LValue
	for d.Left() > 0 {
		v, err := decodeValue(&d, 0)
		if err != nil {
			return c, err
		}
		fields = append(fields, v)
	}
	c.fill(head.Kind, fields)
	return c, nil
}

func (c *LogCommand) decodeCall(d *codec.Decoder) (err error) {
	if c.Object, err = d.String(); err != nil {
		return err
	}
	if c.Method, err = d.String(); err != nil {
		return err
	}
	args, err := decodeValues(d.Rest())
	if err != nil {
		return err
	}
	written := make([]string, len(args))
	for i, v := range args {
		written[i] = Format(v)
		c.addArg(v)
	}
	c.Text = fmt.Sprintf("%s:%s(%s)", c.Object, c.Method, strings.Join(written, ", "))
	return nil
}

func (c *LogCommand) decodeDeploy(d *codec.Decoder) error {
	scripts, err := command.DecodeScripts(d)
	if err != nil {
		return err
	}
	names := make([]string, len(scripts))
	for i, s := range scripts {
		names[i] = fmt.Sprintf("%s (%d bytes)", s.Name, len(s.Source))
		c.addArg(lua.LString(s.Name))
	}
	c.Text = "deploy " + strings.Join(names, ", ")
	return d.End()
}

// fill writes the fields behind a command's head.
func (c *LogCommand) fill(kind command.Kind, fields []lua.LValue) {
	switch {
	case kind == command.Create && len(fields) == 2:
		c.Object = lua.LVAsString(fields[0])
		c.addArg(fields[1])
		c.Text = fmt.Sprintf("object(%s, %s)", Format(fields[0]), Format(fields[1]))
	case kind == command.Drop && len(fields) == 1:
		c.Object = lua.LVAsString(fields[0])
		c.Text = "drop " + c.Object
	default:
		written := []string{c.Kind}
		for _, f := range fields {
			written = append(written, Format(f))
			c.addArg(f)
		}
		c.Text = strings.Join(written, " ")
	}
}

// addArg adds an argument in JSON; what JSON can't hold is in Lua notation.
func (c *LogCommand) addArg(v lua.LValue) {
	s, err := JSON(v)
	if err != nil {
		b, _ := json.Marshal(Format(v)) // a string always can be
		s = string(b)
	}
	c.Args = append(c.Args, json.RawMessage(s))
}
