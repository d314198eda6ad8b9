package dir_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"vdfs/syncer/remote"
	"vdfs/syncer/remote/dir"
)

// BenchmarkList lists a whole tree of about 13 000 entries, Go's own source;
// the walk of the standard library, with the stat that it lacks, is the baseline.
func BenchmarkList(b *testing.B) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	must(b, err)
	src := filepath.Join(strings.TrimSpace(string(root)), "src")
	ep, err := dir.Open(src, dir.Options{Staging: b.TempDir()})
	must(b, err)
	defer ep.Close()
	if _, err := ep.Changes(context.Background(), ""); err != nil {
		b.Fatal(err)
	}
	b.Run("endpoint", func(b *testing.B) {
		for b.Loop() {
			b.ReportMetric(float64(count(b, ep, "p:")), "entries")
		}
	})
	b.Run("walk", func(b *testing.B) {
		for b.Loop() {
			must(b, filepath.WalkDir(src, func(_ string, e os.DirEntry, err error) error {
				if err == nil {
					_, err = e.Info()
				}
				return err
			}))
		}
	})
}

func count(t testing.TB, ep remote.Endpoint, id remote.ItemID) int {
	t.Helper()
	n := 0
	for page := ""; ; {
		entries, next, err := ep.List(context.Background(), id, page)
		must(t, err)
		for _, e := range entries {
			n++
			if e.Kind == remote.Dir {
				n += count(t, ep, e.ID)
			}
		}
		if page = next; page == "" {
			return n
		}
	}
}

// BenchmarkPut creates small files, durably, by one and by many writers.
func BenchmarkPut(b *testing.B) {
	for _, writers := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("%d writers", writers), func(b *testing.B) {
			base := b.TempDir()
			must(b, os.Mkdir(filepath.Join(base, "root"), 0o755))
			ep, err := dir.Open(filepath.Join(base, "root"), dir.Options{Staging: filepath.Join(base, "staging")})
			must(b, err)
			defer ep.Close()
			var wg sync.WaitGroup
			next := make(chan int)
			for range writers {
				wg.Go(func() {
					for i := range next {
						data := strings.Repeat("x", 4096)
						_, err := ep.Put(context.Background(), &remote.Upload{
							Parent: "p:", Name: fmt.Sprintf("f%d", i), Size: 4096, Body: strings.NewReader(data),
						})
						if err != nil {
							b.Error(err)
						}
					}
				})
			}
			for i := range b.N {
				next <- i
			}
			close(next)
			wg.Wait()
		})
	}
}
