package luafsm

import (
	"errors"
	"fmt"

	"github.com/syncsh/syncsh/internal/command"
	lua "github.com/yuin/gopher-lua"
)

// The version of the machine is part of the state. All machines begin with
// firstVersion, whatever their builds can do, and an Upgrade in the log raises
// it at one index for all. What a build adds to the semantics it does only from
// its version on.

// MachineVersion is the highest version of the machine's semantics that this
// program runs. Machines of different versions may give different results for
// the same entry.
const MachineVersion = 1

const firstVersion = 1

// ErrVersion is returned when the log or a dump asks for a machine version that
// this program doesn't run.
var ErrVersion = errors.New("luafsm: this program is too old for the cluster's machine version")

// Version is the version in force.
func (m *Machine) Version() int { return m.version }

// Err is ErrVersion once the log has raised the version above what this program
// runs, and nil before. The machine is then of no use: it has not applied that
// entry, and must not be asked, dumped or given another. The node stops, to go
// on from its last snapshot once it is started with a newer program; it must not
// go on without applying what the others apply.
func (m *Machine) Err() error { return m.err }

// upgrade raises the version.
func (m *Machine) upgrade(b []byte, to int) []byte {
	switch {
	case to <= m.version:
		return m.refuse(b, command.CodeBadArgument, "the machine has version %d already", m.version)
	case to > m.runs:
		m.err = fmt.Errorf("%w: %d, this program runs %d", ErrVersion, to, m.runs)
		return m.stopped(b)
	}
	m.begin()
	if err := m.store.Section(sectionMachine).SetString("version", lua.LNumber(to)); err != nil {
		return m.refuse(b, command.CodeScript, "%v", err)
	}
	m.commit()
	m.version = to
	return m.appendLines(b, nil)
}

// stopped is the result of all commands from an upgrade on that this program
// can't follow.
func (m *Machine) stopped(b []byte) []byte {
	return m.refuse(b, command.CodeClosed, "%v", m.err)
}
