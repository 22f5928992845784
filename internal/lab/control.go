package lab

import (
	"fmt"
	"strings"
)

// Nodes are the names of all nodes, up or down.
func (w *World) Nodes() []string {
	names := make([]string, len(w.members))
	for i, m := range w.members {
		names[i] = m.name
	}
	return names
}

// Leader is the name of the node that leads a majority, empty while none does.
func (w *World) Leader() string {
	l := w.leader()
	if l == nil {
		return ""
	}
	follow := 0
	for _, m := range w.members {
		if m.up && m.replica.Leader() == l.id && w.reaches(l.id, m.id) && w.reaches(m.id, l.id) {
			follow++
		}
	}
	if follow <= len(w.members)/2 {
		return ""
	}
	return l.name
}

// Killed tells whether a node is down until Restart.
func (w *World) Killed(name string) bool {
	m, err := w.member(name)
	return err == nil && m.held
}

func (w *World) member(name string) (*member, error) {
	for _, m := range w.members {
		if m.name == name {
			return m, nil
		}
	}
	return nil, fmt.Errorf("no node '%s'; there are %s", name, strings.Join(w.Nodes(), ", "))
}

// Kill lets a node lose its power, until Restart.
func (w *World) Kill(name string) error {
	m, err := w.member(name)
	if err == nil {
		m.held = true
		m.crash(true)
	}
	return err
}

// Restart starts a node that is down with the data that it has on its disk.
func (w *World) Restart(name string) error {
	m, err := w.member(name)
	if err == nil {
		m.held = false
		m.start()
	}
	return err
}

// Isolate cuts a node off from all other nodes, until Heal. Clients reach it.
func (w *World) Isolate(name string) error {
	m, err := w.member(name)
	if err == nil {
		w.Tell("the spec cuts %v off", m)
		w.isolate(m, w.apart)
	}
	return err
}

// Cut cuts the link between two nodes, both ways, until Heal.
func (w *World) Cut(a, b string) error {
	from, err := w.member(a)
	if err != nil {
		return err
	}
	to, err := w.member(b)
	if err != nil {
		return err
	}
	if from == to {
		return fmt.Errorf("%s can't be cut off from itself", a)
	}
	w.Tell("the spec cuts %v and %v apart", from, to)
	w.apart[link{from.id, to.id}], w.apart[link{to.id, from.id}] = true, true
	return nil
}

// Heal ends all cuts.
func (w *World) Heal() {
	if len(w.apart) > 0 {
		w.Tell("the spec heals all cuts")
	}
	clear(w.cut)
	clear(w.apart)
}
