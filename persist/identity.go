package persist

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/raft"
)

// IdentityFile is what a data directory has from its first start on.
const IdentityFile = "identity"

const (
	identityMagic = "SYNCSHID"
	// identityBytesMax bounds the file that is read at Open.
	identityBytesMax = 4096
	// nameBytesMax bounds Identity.Name.
	nameBytesMax = 255
	// clusterHexLen is the length of a cluster's id.
	clusterHexLen = 32
)

// Identity says whose directory this is.
type Identity struct {
	// NodeID never changes once it is set: every record of the log is bound to it.
	NodeID raft.ID
	Name   string
	// Cluster is 32 hexadecimal digits, or empty until the member has learned it.
	// It never changes once it is set.
	Cluster string
	// FormatVersion is that of the directory; SetIdentity ignores it.
	FormatVersion uint32
}

// Check returns ErrIdentity when the directory is not that of the node or the
// cluster that is meant. What want leaves empty is not compared, nor is a
// cluster that the directory does not know yet.
func (id Identity) Check(want Identity) error {
	switch {
	case want.NodeID != 0 && id.NodeID != want.NodeID:
		return fmt.Errorf("directory of node %016x, not of node %016x: %w", uint64(id.NodeID), uint64(want.NodeID), ErrIdentity)
	case want.Cluster != "" && id.Cluster != "" && id.Cluster != want.Cluster:
		return fmt.Errorf("directory of cluster %s, not of cluster %s: %w", id.Cluster, want.Cluster, ErrIdentity)
	case want.Name != "" && id.Name != want.Name:
		return fmt.Errorf("directory of the node named %q, not of %q: %w", id.Name, want.Name, ErrIdentity)
	}
	return nil
}

// Identity returns whose directory this is; all is zero before the first
// SetIdentity.
func (d *Dir) Identity() Identity { return d.identity }

// SetIdentity stores id, atomically and durably. A node id and a cluster that
// are set can't be changed.
func (d *Dir) SetIdentity(id Identity) error {
	old := d.identity
	switch {
	case d.closed:
		return ErrClosed
	case id.NodeID == 0:
		return fmt.Errorf("node id 0: %w", ErrIdentity)
	case old.NodeID != 0 && old.NodeID != id.NodeID:
		return fmt.Errorf("node id %016x can't become %016x: %w", uint64(old.NodeID), uint64(id.NodeID), ErrIdentity)
	case old.Cluster != "" && old.Cluster != id.Cluster:
		return fmt.Errorf("cluster %s can't become %q: %w", old.Cluster, id.Cluster, ErrIdentity)
	case len(id.Name) > nameBytesMax:
		return fmt.Errorf("name of %d bytes, at most %d: %w", len(id.Name), nameBytesMax, ErrTooLarge)
	}
	if id.Cluster != "" {
		if _, err := hex.DecodeString(id.Cluster); err != nil || len(id.Cluster) != clusterHexLen {
			return fmt.Errorf("cluster %q is not %d hexadecimal digits: %w", id.Cluster, clusterHexLen, ErrIdentity)
		}
	}
	id.FormatVersion = FormatVersion
	return d.writeIdentity(id, d.begun)
}

// writeIdentity stores id and whether the log was begun. The latter tells a
// directory whose log is lost from one that never had any: a lost log is a lost
// vote.
func (d *Dir) writeIdentity(id Identity, begun bool) error {
	p := codec.AppendArrayLen(nil, 4)
	p = codec.AppendUint(p, uint64(id.NodeID))
	p = codec.AppendString(p, id.Name)
	p = codec.AppendString(p, id.Cluster)
	p = codec.AppendBool(p, begun)

	b := append([]byte(nil), identityMagic...)
	b = binary.LittleEndian.AppendUint32(b, FormatVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(p)))
	b = append(b, p...)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	if err := d.writeFile(IdentityFile, b); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	d.identity, d.begun = id, begun
	return nil
}

// writeFile replaces a file as a whole: after a crash there is the old or the
// new one.
func (d *Dir) writeFile(name string, b []byte) error {
	tmp := name + tmpSuffix
	if err := d.fs.Remove(d.file(tmp)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := d.fs.Create(d.file(tmp))
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = d.fs.Rename(d.file(tmp), d.file(name))
	}
	if err == nil {
		err = d.fs.SyncDir(d.path)
	}
	return err
}

// noteBytesMax bounds a note that is read.
const noteBytesMax = 1 << 20

// WriteNote stores a small file of the caller's next to the log, atomically and
// durably.
func (d *Dir) WriteNote(name string, b []byte) error {
	if err := d.writeFile(name, b); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// ReadNote returns what WriteNote stored, or fs.ErrNotExist.
func (d *Dir) ReadNote(name string) ([]byte, error) { return d.readFile(name, noteBytesMax) }

// readFile reads a file of at most bytesMax bytes as a whole.
func (d *Dir) readFile(name string, bytesMax int64) ([]byte, error) {
	f, err := d.fs.Open(d.file(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > bytesMax {
		return nil, damage(name, 0, "%d bytes long", size)
	}
	b := make([]byte, size)
	return b, readFull(f, b, 0)
}

// RemoveNote removes a note, if there is one. After a crash it may be there again.
func (d *Dir) RemoveNote(name string) error {
	if err := d.fs.Remove(d.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// readIdentity reads the identity file, if there is one.
func (d *Dir) readIdentity() error {
	b, err := d.readFile(IdentityFile, identityBytesMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(b) < 20 || string(b[:8]) != identityMagic {
		return damage(IdentityFile, 0, "not an identity file")
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v > FormatVersion {
		return fmt.Errorf("%s: format %d, this program reads up to %d: %w", filepath.Join(d.path, IdentityFile), v, FormatVersion, ErrFormat)
	}
	end := len(b) - 4
	if binary.LittleEndian.Uint32(b[end:]) != crc32.Checksum(b[:end], castagnoli) {
		return damage(IdentityFile, 0, "checksum does not match")
	}
	dec := codec.NewDecoder(b[16:end])
	if err := d.decodeIdentity(&dec); err != nil {
		return damage(IdentityFile, 16, "%v", err)
	}
	return nil
}

func (d *Dir) decodeIdentity(dec *codec.Decoder) error {
	if err := dec.FixedArray(4); err != nil {
		return err
	}
	id, err := dec.Uint()
	if err != nil {
		return err
	}
	if d.identity.Name, err = dec.String(); err != nil {
		return err
	}
	if d.identity.Cluster, err = dec.String(); err != nil {
		return err
	}
	if d.begun, err = dec.Bool(); err != nil {
		return err
	}
	d.identity.NodeID = raft.ID(id)
	d.identity.FormatVersion = FormatVersion
	return dec.End()
}
