package subnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The test binary plays other processes: "claim DIR HOME".
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "claim" {
		p, err := Claim(context.Background(), Config{Dir: os.Args[2], Home: os.Args[3], First: testFirst})
		fmt.Print(p, err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var testFirst = netip.MustParseAddr("127.9.200.0") // beyond what other tests listen on

func config(t *testing.T) Config {
	t.Helper()
	return Config{Dir: filepath.Join(t.TempDir(), "claims"), Home: t.TempDir(), First: testFirst}
}

func withHome(cfg Config, home string) Config {
	cfg.Home = home
	return cfg
}

func claims(t *testing.T, cfg Config, want string) {
	t.Helper()
	got, err := Claim(context.Background(), cfg)
	if err != nil || got.String() != want {
		t.Errorf("%s got %s, %v; want %s", cfg.Home, got, err, want)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestClaimAndRelease(t *testing.T) {
	cfg, ctx := config(t), context.Background()
	b, c := withHome(cfg, t.TempDir()), withHome(cfg, t.TempDir())
	claims(t, cfg, "127.9.200.0/24")
	claims(t, b, "127.9.201.0/24")
	claims(t, cfg, "127.9.200.0/24")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(cfg.Home, link); err != nil {
		t.Fatal(err)
	}
	claims(t, withHome(cfg, link), "127.9.200.0/24")

	if info, err := os.Stat(cfg.Dir); err != nil || info.Mode() != os.ModeDir|os.ModeSticky|0o777 {
		t.Errorf("mode %s, %v", info.Mode(), err)
	}
	for range 2 {
		if err := Release(ctx, cfg); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(cfg.Home, "subnet")); !errors.Is(err, os.ErrNotExist) {
		t.Error("the home still names a subnet")
	}
	claims(t, c, "127.9.200.0/24")
	claims(t, cfg, "127.9.202.0/24")
}

func TestTakeOver(t *testing.T) {
	cfg := config(t)
	gone, silent, moved := filepath.Join(t.TempDir(), "gone"), t.TempDir(), filepath.Join(t.TempDir(), "moved")
	for _, home := range []string{gone, moved} {
		if err := os.Mkdir(home, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	claims(t, withHome(cfg, gone), "127.9.200.0/24")
	claims(t, withHome(cfg, silent), "127.9.201.0/24")
	claims(t, withHome(cfg, moved), "127.9.202.0/24")
	write(t, filepath.Join(cfg.Dir, "127.9.203.0"), "rubbish")
	write(t, filepath.Join(cfg.Dir, "127.9.204.0"), `{"home": "`+cfg.Home+`"}`) // a crash of ours between the two files
	if err := os.RemoveAll(gone); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(silent, "subnet"), "127.9.250.0/24\n")
	if err := os.Rename(moved, moved+"2"); err != nil {
		t.Fatal(err)
	}
	claims(t, withHome(cfg, moved+"2"), "127.9.202.0/24") // keeps it under its new name
	for _, want := range []string{"127.9.200.0/24", "127.9.201.0/24", "127.9.203.0/24", "127.9.204.0/24", "127.9.205.0/24"} {
		claims(t, withHome(cfg, t.TempDir()), want)
	}
	claims(t, withHome(cfg, silent), "127.9.250.0/24") // what it names
}

func TestLostClaim(t *testing.T) {
	cfg := config(t)
	claims(t, cfg, "127.9.200.0/24")
	if err := os.RemoveAll(cfg.Dir); err != nil { // somebody cleans up /var/tmp
		t.Fatal(err)
	}
	claims(t, cfg, "127.9.200.0/24")

	path := filepath.Join(cfg.Dir, "127.9.200.0")
	old := time.Now().Add(-1000 * time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	claims(t, cfg, "127.9.200.0/24")
	if info, err := os.Stat(path); err != nil || time.Since(info.ModTime()) > time.Hour {
		t.Error("the claim was not renewed")
	}
}

func TestCopiedHome(t *testing.T) {
	cfg := config(t)
	claims(t, cfg, "127.9.200.0/24")
	fork := t.TempDir()
	write(t, filepath.Join(fork, "subnet"), "127.9.200.0/24\n")
	_, err := Claim(context.Background(), withHome(cfg, fork))
	var conflict *ConflictError
	if !errors.As(err, &conflict) || conflict.Holder != (Claimed{Home: cfg.Home, UID: os.Getuid()}) {
		t.Fatalf("got %v", err)
	}
	want := fmt.Sprintf("cannot claim a subnet for %s: 127.9.200.0/24 is used by %s (uid %d); if %s is a copy of it, remove the copy: howdah --home %s clean; if nothing is deployed in it, remove %s/subnet to get another subnet",
		fork, cfg.Home, os.Getuid(), fork, fork, fork)
	if err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	if err := Release(context.Background(), withHome(cfg, fork)); err != nil {
		t.Fatal(err)
	}
	claims(t, cfg, "127.9.200.0/24") // untouched by the copy's release
	claims(t, withHome(cfg, fork), "127.9.201.0/24")
}

func TestSkipsSubnetsInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.9.200.77:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := config(t)
	claims(t, cfg, "127.9.201.0/24")
	write(t, filepath.Join(cfg.Home, "subnet"), "127.9.200.0/24\n")
	claims(t, cfg, "127.9.200.0/24") // its own services go on listening
}

func TestManyProcessesAtOnce(t *testing.T) {
	cfg := config(t)
	const homes, each = 8, 3
	var mu sync.Mutex
	got := map[string]map[string]bool{} // home → what its processes were told
	var wg sync.WaitGroup
	for i := range homes {
		home := filepath.Join(t.TempDir(), fmt.Sprint(i))
		if err := os.Mkdir(home, 0o700); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		got[home] = map[string]bool{}
		mu.Unlock()
		for range each {
			wg.Go(func() {
				out, err := exec.Command(os.Args[0], "claim", cfg.Dir, home).Output()
				mu.Lock()
				defer mu.Unlock()
				if got[home][string(out)] = true; err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	owner := map[string]string{}
	for home, answers := range got {
		for answer := range answers {
			if !strings.HasSuffix(answer, "/24 <nil>") || len(answers) != 1 {
				t.Errorf("%s was told %v", home, answers)
			}
			if other, taken := owner[answer]; taken {
				t.Errorf("%s has both %s and %s", answer, home, other)
			}
			owner[answer] = home
		}
	}
	if _, err := os.Stat(filepath.Join(cfg.Dir, fmt.Sprintf("127.9.%d.0", 200+homes))); err == nil {
		t.Error("not the lowest subnets")
	}
}

// In a directory of mode 1777, users share claims but not files.
func TestTwoUsers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	root, err := os.MkdirTemp("/tmp", "subnet-test") //nolint:usetesting // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	must := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	ours, theirs, exe := filepath.Join(root, "ours"), filepath.Join(root, "theirs"), filepath.Join(root, "exe")
	binary, err := os.ReadFile(os.Args[0])
	must(err, os.Chmod(root, 0o755), os.Mkdir(ours, 0o700), os.Mkdir(theirs, 0o700),
		os.Chown(theirs, 12345, 12345), os.WriteFile(exe, binary, 0o755))
	cfg := Config{Dir: filepath.Join(root, "claims"), Home: ours, First: testFirst}
	claims(t, cfg, "127.9.200.0/24")
	asOther := func(want string) {
		t.Helper()
		cmd := exec.Command(exe, "claim", cfg.Dir, theirs)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}}
		cmd.Dir = "/"
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != want {
			t.Errorf("other user got %q, %v; want %q", out, err, want)
		}
	}
	asOther("127.9.201.0/24 <nil>") // ours cannot be looked into, so it counts
	must(os.RemoveAll(ours), os.Mkdir(ours, 0o755), os.Remove(filepath.Join(theirs, "subnet")))
	asOther("127.9.201.0/24 <nil>") // ours has lapsed, but only we may remove the file
	claims(t, withHome(cfg, t.TempDir()), "127.9.200.0/24")
}

func TestErrors(t *testing.T) {
	good := config(t)
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	odd := t.TempDir()
	write(t, filepath.Join(odd, "subnet"), "10.0.0.0/24")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no home":   {func(c *Config) { c.Home = "/nix" }, "cannot claim a subnet for /nix: lstat /nix: no such file or directory"},
		"file":      {func(c *Config) { c.Home = file }, "cannot claim a subnet for " + file + ": " + file + " is not a directory"},
		"odd":       {func(c *Config) { c.Home = odd }, "cannot claim a subnet for " + odd + ": " + odd + "/subnet names no subnet of 127.0.0.0/8; remove it to get a new one"},
		"symlink":   {func(c *Config) { c.Dir = link }, "cannot claim a subnet for " + good.Home + ": open " + link + ": not a directory"},
		"first":     {func(c *Config) { c.First = netip.MustParseAddr("10.0.0.0") }, "cannot claim a subnet for " + good.Home + ": 10.0.0.0 is not an IPv4 loopback address"},
		"none free": {func(c *Config) { c.First = netip.MustParseAddr("127.255.0.0") }, "cannot claim a subnet for " + good.Home + ": no free subnet from 127.255.0.0 to 127.254.255.0; claims are in " + good.Dir},
	} {
		cfg := good
		tt.change(&cfg)
		if p, err := Claim(context.Background(), cfg); err == nil || err.Error() != tt.want || p.IsValid() {
			t.Errorf("%s: got %s, %v\nwant %s", name, p, err, tt.want)
		}
	}
}

func TestLockHonoursContext(t *testing.T) {
	cfg := config(t)
	dir, err := openShared(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := flock(context.Background(), dir); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if _, err := Claim(ctx, cfg); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
