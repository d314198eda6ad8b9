package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"vdfs/cache"
	"vdfs/offload"
	"vdfs/syncer"
	"vdfs/syncer/remote"
)

func TestErrorsHaveTheirClass(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err       error
		category  syncer.Category
		condition syncer.Condition
		lasts     bool
	}{
		"nothing": {nil, "", "", true},

		"a storage that is away":     {fmt.Errorf("list: %w", remote.ErrUnavailable), syncer.Network, syncer.NetworkError, false},
		"a storage that hangs":       {fmt.Errorf("list: %w", remote.ErrSilent), syncer.Network, syncer.NetworkError, false},
		"another storage":            {fmt.Errorf("check: %w", remote.ErrRootGone), syncer.Network, syncer.NetworkError, false},
		"nobody who has the bytes":   {fmt.Errorf("open: %w: %w", offload.ErrUnreachable, errors.New("unplugged")), syncer.Network, syncer.NetworkError, false},
		"no byte for a while":        {fmt.Errorf("read: %w", offload.ErrStalled), syncer.Network, syncer.NetworkError, false},
		"a wait for a storage":       {context.DeadlineExceeded, syncer.Network, syncer.NetworkError, false},
		"a reply that was lost":      {fmt.Errorf("put: %w", remote.ErrUnknown), syncer.Network, syncer.NetworkError, false},
		"a request to wait":          {fmt.Errorf("put: %w", &remote.Throttled{After: time.Second}), syncer.API, "", false},
		"a feed that begins anew":    {fmt.Errorf("changes: %w", remote.ErrCursorExpired), syncer.API, "", false},
		"somebody who is signed out": {fmt.Errorf("put: %w", remote.ErrAuth), syncer.API, syncer.PermissionDenied, true},
		"what the storage cannot do": {fmt.Errorf("put: %w", remote.ErrUnsupported), syncer.API, "", true},

		"a name that is taken":      {fmt.Errorf("mkdir: %w: %w", remote.ErrExists, syscall.EEXIST), syncer.FileSystem, syncer.FileExists, false},
		"a directory in the way":    {fmt.Errorf("put: %w: %w", remote.ErrKind, syscall.EISDIR), syncer.FileSystem, syncer.DirectoryExists, false},
		"a directory with contents": {fmt.Errorf("delete: %w", remote.ErrNotEmpty), syncer.FileSystem, syncer.DirectoryExists, false},
		"no permission there":       {fmt.Errorf("put: %w: %w", remote.ErrDenied, syscall.EACCES), syncer.FileSystem, syncer.PermissionDenied, true},
		"no permission here":        {&os.PathError{Op: "open", Path: "x", Err: syscall.EACCES}, syncer.FileSystem, syncer.PermissionDenied, true},
		"no room there":             {fmt.Errorf("put: %w", remote.ErrQuota), syncer.FileSystem, syncer.DiskFull, true},
		"no room here":              {errors.Join(cache.ErrNoSpace, syscall.ENOSPC), syncer.FileSystem, syncer.DiskFull, false},
		"no room for a pin":         {fmt.Errorf("pin: %w", &offload.SpaceError{Need: 2, Free: 1}), syncer.FileSystem, syncer.DiskFull, true},
		"a name the storage lacks":  {fmt.Errorf("put: %w", remote.ErrName), syncer.FileSystem, "", true},
		"a bad disk here":           {&os.PathError{Op: "read", Path: "x", Err: syscall.EIO}, syncer.FileSystem, "", false},
		"a file in use":             {fmt.Errorf("put: %w", remote.ErrLocked), syncer.FileSystem, "", false},

		"an edit in between":  {fmt.Errorf("put: %w", remote.ErrPrecondition), syncer.Data, syncer.DataMismatch, false},
		"bytes that rotted":   {fmt.Errorf("verify: %w", remote.ErrCorrupt), syncer.Data, syncer.DataMismatch, false},
		"wrong bytes, twice":  {fmt.Errorf("read: %w", offload.ErrMismatch), syncer.Data, syncer.DataMismatch, true},
		"a damaged index":     {fmt.Errorf("open: %w", cache.ErrDamaged), syncer.Data, "", true},
		"what nobody foresaw": {errors.New("directories form a cycle"), syncer.Data, "", false},
		"what a fetch passes": {fmt.Errorf("hydrate: %w: %w", offload.ErrFetch, remote.ErrDenied), syncer.FileSystem, syncer.PermissionDenied, true},
	} {
		c := classOf(tc.err)
		if c.Category != tc.category || c.Condition != tc.condition || c.Retryable == tc.lasts {
			t.Errorf("%s: %v is %+v, want %s, %q, lasting %v", name, tc.err, c, tc.category, tc.condition, tc.lasts)
		}
	}
}

// Every sentinel that a package may hand on has a row of its own: a new one does not become "other" unseen.
func TestEverySentinelHasAClass(t *testing.T) {
	t.Parallel()
	var told string
	for _, file := range []string{"class.go", "../../syncer/class.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		told += string(text)
	}
	var count int
	for pkg, dir := range map[string]string{"cache": "../../cache", "remote": "../../syncer/remote", "offload": "../../offload", "": "../../syncer"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, name := range sentinels(t, file) {
				count++
				if pkg == "offload" && name == "ErrFetch" { // what it wraps says more
					continue
				}
				if !regexp.MustCompile(`(?m)^\t\{` + strings.TrimPrefix(pkg+".", ".") + name + `, `).MatchString(told) {
					t.Errorf("%s of %s has no class", name, file)
				}
			}
		}
	}
	if count < 40 {
		t.Fatalf("only %d sentinels were found: the test proves nothing", count)
	}
}

// sentinels are the exported errors that a file declares.
func sentinels(t *testing.T, file string) (names []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range f.Decls {
		vars, ok := decl.(*ast.GenDecl)
		if !ok || vars.Tok != token.VAR {
			continue
		}
		for _, spec := range vars.Specs {
			for _, id := range spec.(*ast.ValueSpec).Names {
				if strings.HasPrefix(id.Name, "Err") {
					names = append(names, id.Name)
				}
			}
		}
	}
	return names
}

func TestTheLogTellsTheClassOfAnError(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := slog.New(classified{slog.NewTextHandler(&out, nil)})
	log.With("a", 1).WithGroup("g").Warn("failed", "error", fmt.Errorf("put: %w", remote.ErrQuota), "b", 2)
	if got := out.String(); !strings.Contains(got, "category=filesystem") || !strings.Contains(got, "retryable=false") || !strings.Contains(got, "b=2") {
		t.Errorf("told %s", got)
	}
	out.Reset()
	log.Info("fine", "error", "a text")
	if got := out.String(); strings.Contains(got, "category") {
		t.Errorf("told %s", got)
	}
}
