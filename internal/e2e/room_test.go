package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/syncsh/syncsh/client"
)

// smallDisk mounts a file system of some MiB. Without the right to mount the
// test is skipped.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("skipped: mounting a small tmpfs needs root on Linux; internal/node has the same with a fault file system")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("skipped: mounting a small tmpfs is not permitted here: %s", strings.TrimSpace(string(out)))
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

// TestFullDisk: a node on a file system of 6 MiB, most of it taken by another
// file. Calls are refused as overloaded, status says why, reads go on, kill -9
// and a start on the full disk lose nothing, and it goes on by itself when the
// other file is gone (scenario 55, lua-facts 53).
func TestFullDisk(t *testing.T) {
	disk := smallDisk(t, "6m")
	other := filepath.Join(disk, "other")
	c := newCluster(t, 0)
	p := c.add(ports(t, 1)[0], "--expect", "1")
	p.data = filepath.Join(disk, "n1")
	p.args = []string{"node", "--name", p.name, "--addr", p.addr, "--data", p.data, "--expect", "1"}
	p.start(t)
	c.awaitHealthy(1)
	c.syncsh("deploy", "-c", p.addr, "../../scripts/kv.lua")
	if err := os.WriteFile(other, make([]byte, 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}

	cl, err := client.Dial(context.Background(), client.Config{Addrs: []string{p.addr}, Timeout: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	text := strings.Repeat("x", 32<<10)
	acked := 0
	c.await("calls to be refused", func() bool {
		_, err := cl.Call(context.Background(), "kv", "set", "calls", acked+1)
		if err == nil {
			acked++
			_, err = cl.Call(context.Background(), "kv", "set", "text", text)
		}
		if err != nil && client.CodeOf(err) != client.CodeOverloaded {
			t.Fatalf("code %v: %v", client.CodeOf(err), err)
		}
		return err != nil
	})
	reads := func() {
		t.Helper()
		v, err := cl.Query(context.Background(), "kv", "get", "calls")
		if err != nil || v[0] != int64(acked) {
			t.Fatalf("reads %v, %v; %d were acknowledged", v, err, acked)
		}
	}
	reads()
	if text := c.syncsh("status", "-c", p.addr); !strings.Contains(text, "disk full") || !strings.Contains(text, "n1: the disk of n1 has no space for the log") {
		t.Fatalf("status says\n%s", text)
	}
	if text := c.syncsh("status", "--json", "-c", p.addr); !strings.Contains(text, `"disk_full":"the disk of n1`) {
		t.Fatalf("status --json says\n%s", text)
	}

	p.kill()
	p.start(t)
	c.awaitHealthy(1)
	reads()
	c.await("the started node to notice", func() bool { return strings.Contains(c.syncsh("status", "-c", p.addr), "disk full") })
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	c.await("calls to be taken", func() bool {
		_, err := cl.Call(context.Background(), "kv", "set", "calls", acked+1)
		return err == nil
	})
	acked++
	reads()
	if code := p.stop(t); code != 0 {
		t.Fatalf("exit code %d after SIGTERM", code)
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(disk, &st); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d calls on a disk of 6 MiB, %d KiB left", acked, int64(st.Bavail)*int64(st.Bsize)>>10)
}
