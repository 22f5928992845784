package main

import (
	"errors"
	"syscall"

	"github.com/syncsh/syncsh/internal/replica"
	"github.com/syncsh/syncsh/persist"
	"github.com/syncsh/syncsh/raft"
)

// roomTicks is as in internal/node.
const roomTicks = 50

// noRoom tells whether an error is that of a full disk.
func noRoom(err error) bool {
	return errors.Is(err, persist.ErrNoRoom) || errors.Is(err, syscall.ENOSPC)
}

// save is node.save: without room the store keeps the save, and nothing that
// depends on it leaves.
func (m *member) save(s *raft.Save) error {
	err := m.store.Save(*s)
	switch {
	case err == nil:
		m.keptIsStored()
		m.durable.save(s)
		m.replica.Saved(s.LSN)
		err = m.store.Room()
	case !errors.Is(err, persist.ErrNoRoom):
		return err
	default:
		m.w.stats.held++
		m.kept = append(m.kept, s)
	}
	if err != nil && !m.replica.Room().Full {
		m.noticeRoom(err)
	}
	return nil
}

func (m *member) keptIsStored() {
	for _, s := range m.kept {
		m.durable.save(s)
	}
	m.kept = nil
}

// watchRoom is node.watchRoom.
func (m *member) watchRoom() error {
	err := m.store.Reserve()
	if err != nil && !errors.Is(err, persist.ErrNoRoom) {
		return err
	}
	if err == nil {
		m.keptIsStored()
	}
	m.replica.Saved(m.store.Durable())
	m.noticeRoom(err)
	return nil
}

func (m *member) noticeRoom(err error) {
	room := replica.Room{Full: err != nil}
	if room.Full {
		room.Refuse = "the disk has no space for the log; nothing happened"
	}
	if was := m.replica.Room(); was.Full != room.Full {
		m.w.log("%v notices that its disk is full: %v", m, room.Full)
		if room.Full {
			m.w.stats.waitedForRoom++
		}
	}
	m.replica.SetRoom(room)
}
