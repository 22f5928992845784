package node

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/replica"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/persist"
	"github.com/syncsh/syncsh/raft"
)

const (
	// backupsMax bounds the dumps that are kept open for backups: each keeps the
	// room of its file on the disk.
	backupsMax = 4
	// backupIdle is after how long a dump that nobody reads from is closed.
	backupIdle = time.Minute
	// backupAsksMax bounds the requests for backups that are worked on at once: each
	// has a goroutine, and a file open or a part of one in memory.
	backupAsksMax = 32
)

// backups are the dumps that are kept open.
type backups struct {
	asks atomic.Int64 // see backupAsksMax

	mu   sync.Mutex
	open map[uint64]*openBackup
}

// backupAsk is a request for a backup that is worked on, until its one answer.
type backupAsk struct {
	replica.Replier
	of *backups
}

func (a backupAsk) Reply(id uint64, result []byte) {
	a.of.asks.Add(-1)
	a.Replier.Reply(id, result)
}

// openBackup is a dump that a client copies.
type openBackup struct {
	mu   sync.Mutex // of the reading: none while it is closed
	raw  *persist.RawSnapshot
	idle *time.Timer
}

func (n *Node) failBackup(to replica.Replier, id uint64, code command.Code, message string) {
	to.Reply(id, command.AppendError(nil, 0, code, message, "", nil))
	n.flushReplies()
}

// backup answers OpBackup. It is called on the loop's goroutine.
func (n *Node) backup(to replica.Replier, req wire.Request) {
	read, err := wire.DecodeBackupRead(req.Payload)
	if err != nil {
		n.failBackup(to, req.ID, command.CodeBadArgument, "backup: "+err.Error())
		return
	}
	if n.backups.asks.Load() >= backupAsksMax {
		n.failBackup(to, req.ID, command.CodeOverloaded, "backup: too many requests wait on this node")
		return
	}
	n.backups.asks.Add(1)
	to = backupAsk{to, &n.backups}
	if read.Backup != 0 {
		n.group.Go(func() { n.readBackup(to, req.ID, read) })
		return
	}
	b := &beginBackup{node: n, to: to, req: req}
	if req.Mode == wire.Stale {
		b.dump()
		return
	}
	b.req.Op, b.req.Payload = wire.OpQuery, command.AppendSettings(nil)
	n.replica.Submit(b, b.req)
}

// beginBackup leads a backup to its dump: first a read, so that the dump has all
// that was acknowledged before, then the dump. It is the Replier of both.
type beginBackup struct {
	node *Node
	to   replica.Replier
	req  wire.Request
	// least is the index that the dump must have. One that was under way when the
	// backup was asked for may have less.
	least   raft.Index
	dumping bool
}

// Reply takes the answers to the read and to the dump.
func (b *beginBackup) Reply(_ uint64, result []byte) {
	d := codec.NewDecoder(result)
	res, err := command.DecodeResult(&d)
	if err != nil || res.Code != command.CodeOK {
		b.to.Reply(b.req.ID, result)
		b.node.flushReplies()
		return
	}
	if b.dumping && raft.Index(res.Index) >= b.least {
		b.node.group.Go(b.open)
		return
	}
	b.node.inbox.add(func(in *inputs) { in.calls = append(in.calls, b.dump) })
}

// dump asks for a dump, on the loop's goroutine.
func (b *beginBackup) dump() {
	if !b.dumping {
		b.dumping, b.least = true, b.node.replica.Applied().Index
	}
	b.req.Op, b.req.Payload = wire.OpSnapshot, nil
	b.node.replica.Submit(b, b.req)
}

// open opens the newest dump and tells the client of it.
func (b *beginBackup) open() {
	n := b.node
	raw, err := n.dir.OpenNewestRaw()
	if err != nil {
		n.failBackup(b.to, b.req.ID, command.CodeOverloaded, "backup: "+err.Error())
		return
	}
	id, ok := n.backups.add(raw)
	if !ok {
		raw.Close()
		n.failBackup(b.to, b.req.ID, command.CodeOverloaded, "backup: too many are under way on this node")
		return
	}
	m := raw.Meta
	b.to.Reply(b.req.ID, command.AppendOK(nil, uint64(m.Index), wire.AppendBackup(nil, wire.Backup{
		Backup: id, Index: uint64(m.Index), Bytes: m.Bytes, Sum: m.Sum,
	})))
	n.flushReplies()
}

// add keeps a dump open.
func (b *backups) add(raw *persist.RawSnapshot) (id uint64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.open) >= backupsMax {
		return 0, false
	}
	if b.open == nil {
		b.open = map[uint64]*openBackup{}
	}
	id = random64()
	b.open[id] = &openBackup{raw: raw, idle: time.AfterFunc(backupIdle, func() { b.close(id) })}
	return id, true
}

func (b *backups) find(id uint64) *openBackup {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open[id]
}

// close lets go of a dump.
func (b *backups) close(id uint64) {
	b.mu.Lock()
	o := b.open[id]
	delete(b.open, id)
	b.mu.Unlock()
	if o == nil {
		return
	}
	o.idle.Stop()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.raw.Close()
	o.raw = nil
}

// closeAll lets go of all.
func (b *backups) closeAll() {
	b.mu.Lock()
	var ids []uint64
	for id := range b.open {
		ids = append(ids, id)
	}
	b.mu.Unlock()
	for _, id := range ids {
		b.close(id)
	}
}

// readBackup sends a part of a dump. A read at its end closes it.
func (n *Node) readBackup(to replica.Replier, id uint64, read wire.BackupRead) {
	const gone = "backup: this node keeps no such dump open"
	o := n.backups.find(read.Backup)
	if o == nil {
		n.failBackup(to, id, command.CodeNotFound, gone)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.raw == nil {
		n.failBackup(to, id, command.CodeNotFound, gone)
		return
	}
	o.idle.Reset(backupIdle)
	size := o.raw.Meta.Bytes
	if read.Offset >= size {
		n.group.Go(func() { n.backups.close(read.Backup) })
		read.Offset = size
	}
	part := make([]byte, min(uint64(read.Length), size-read.Offset))
	if len(part) > 0 {
		if k, err := o.raw.ReadAt(part, int64(read.Offset)); k < len(part) {
			n.failBackup(to, id, command.CodeOverloaded, "backup: "+err.Error())
			return
		}
	}
	to.Reply(id, command.AppendOK(nil, uint64(o.raw.Meta.Index), wire.AppendBackupPart(nil, part)))
	n.flushReplies()
}
