# Everything a person or a machine does with this repository.
# The index is SQLite, so a C compiler is needed: .ci/install sees to it.

GO     ?= go
DRIVE  ?= $(HOME)/Drive
PREFIX ?= /usr/local

# RACE=-race runs the unit tests with the race detector.
RACE   ?=
# SOAK says how many times longer than usual `make soak` runs, SOAK_RUN which tests, SOAK_TRACES how many random traces
# the planner decides.
SOAK        ?= 20
SOAK_RUN    ?= .
SOAK_TRACES ?= 1000000
# BENCH passes flags to the benchmark, for instance BENCH="-quick", BENCH="-sync" or
# BENCH="-json -modes root,user -measure create".
BENCH  ?=

# Everything but the tests whose outcome go cannot cache, as they look at what the
# other packages build rather than at their own.
UNITS = $(shell $(GO) list ./... | grep -v -e '^vdfs/integration' -e '^vdfs/internal/arrows')

export CGO_ENABLED = 1

.PHONY: help run stop build install test unit integration soak bench lint clean

help:
	@echo 'make run    installs what is missing, builds, and mounts $(DRIVE)'
	@echo 'make stop   unmounts it'
	@echo 'make test   runs every test, real mounts included'
	@echo 'make bench  measures against the disk below and a loopback'
	@echo 'also: build install unit integration soak lint clean'

run:
	@.ci/install run
	@$(MAKE) --no-print-directory build
	@.ci/drive "$(DRIVE)"

stop:
	bin/vdfs unmount "$(DRIVE)"

build:
	$(GO) build -o bin/vdfs ./cmd/vdfs

install: build
	install -D -m 0755 bin/vdfs "$(DESTDIR)$(PREFIX)/bin/vdfs"

test:
	@.ci/install test
	@$(MAKE) --no-print-directory unit integration

unit:
	$(GO) test $(RACE) -timeout 15m $(UNITS)
	$(GO) test -count 1 ./internal/arrows

integration:
	@[ -e /dev/fuse ] || echo '*** no /dev/fuse: every test with a real mount is SKIPPED here (and fails where CI=true) ***'
	$(GO) test -count 1 -timeout 40m ./integration/...

soak:
	@.ci/install soak
	VDFS_PLAN_TRACES=$(SOAK_TRACES) $(GO) test -timeout 12h -count 1 -run '$(SOAK_RUN)' ./syncer/plan
	VDFS_SOAK=$(SOAK) $(GO) test -timeout 12h -count 1 -v -run '$(SOAK_RUN)' ./integration/

# An ordinary user is measured, too: root sees to what udev does where there is one.
bench:
	@.ci/install $(if $(findstring -sync,$(BENCH)),bench,run)
	@[ "$$(id -u)" -ne 0 ] || chmod 0666 /dev/fuse
	$(GO) run ./integration/bench $(BENCH)

lint:
	@unformatted=$$($(GO) tool gofumpt -l $$(ls $$(git ls-files -co --exclude-standard '*.go') 2>/dev/null)) || exit 1; \
	if [ -n "$$unformatted" ]; then echo "not formatted (go tool gofumpt -w .):"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

clean:
	rm -rf bin
