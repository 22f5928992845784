package spec

import (
	lua "github.com/yuin/gopher-lua"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/lab"
	"github.com/syncsh/syncsh/luafsm"
)

// connection is a client of the lab as a shell.Cluster that can be watched.
type connection struct{ *lab.Client }

// Tell implements shell.Teller.
func (c connection) Tell(o client.WatchOptions, told func(client.WatchEvent, error)) (stop func(), err error) {
	to := lab.WatchOptions{Object: o.Object, Topic: o.Topic, Resume: o.Resume, From: o.From}
	for _, k := range o.Path {
		switch k := k.(type) {
		case string:
			to.Keys = append(to.Keys, lua.LString(k))
		case bool:
			to.Keys = append(to.Keys, lua.LBool(k))
		case int64:
			to.Keys = append(to.Keys, lua.LNumber(k))
		case float64:
			to.Keys = append(to.Keys, lua.LNumber(k))
		default:
			return nil, &command.Error{Code: command.CodeBadArgument, Message: "a key is a string, a number or a boolean"}
		}
	}
	w := c.Watch(to, func(t lab.Told) {
		if t.Began {
			o.Began(t.Index)
		}
		if t.Err == nil && t.Picture == nil && t.Changes == nil && t.Event == nil {
			return
		}
		e, err := watchEvent(t)
		told(e, err)
	})
	return w.Stop, nil
}

// watchEvent is what package client makes of the same.
func watchEvent(t lab.Told) (e client.WatchEvent, err error) {
	e.Index = t.Index
	switch {
	case t.Err != nil:
		return e, t.Err
	case t.Picture != nil:
		e.Kind = client.WatchPicture
		e.Value, err = one(t.Picture)
	case t.Event != nil:
		e.Kind = client.WatchEmitted
		e.Event = client.Event{Seq: t.Event.Seq, Object: t.Event.Object, Topic: t.Event.Topic}
		e.Event.Values, err = client.DecodeValues(t.Event.Values)
	default:
		e.Kind = client.WatchChanged
		for i := range t.Changes {
			change, err := change(&t.Changes[i])
			if err != nil {
				return e, err
			}
			e.Changes = append(e.Changes, change)
		}
	}
	return e, err
}

// one is the only value of an array.
func one(array []byte) (any, error) {
	values, err := client.DecodeValues(array)
	if err != nil || len(values) == 0 {
		return nil, err
	}
	return values[0], nil
}

func change(c *luafsm.Change) (out client.Change, err error) {
	if out.Path, err = client.DecodeValues(c.Path); err != nil {
		return out, err
	}
	if out.Removed = c.Value == nil; out.Removed {
		return out, nil
	}
	out.Value, err = one(append(codec.AppendArrayLen(nil, 1), c.Value...))
	return out, err
}
