# Only Go is needed. race tests also want a C compiler and are left out without one.

GO          ?= go
STATICCHECK := $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS     := -s -w -X main.version=$(VERSION)
CC_FOUND    := $(shell command -v $$($(GO) env CC) 2>/dev/null)

# Packages whose goroutines share memory, or whose callers' do.
RACE := ./raft/... ./luafsm/... ./persist/... ./gossip/... ./client/... ./internal/replica/... ./internal/node/...

.DEFAULT_GOAL := help
.PHONY: help build run test check race sim specs mutants storage chaos arch bench screenshots docs man clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/syncsh, a static binary
	@mkdir -p bin
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/syncsh ./cmd/syncsh

man: ## write the man pages to man/
	@mkdir -p man
	@SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || echo 0) \
		$(GO) run -tags man -ldflags '-X main.version=$(VERSION)' ./cmd/syncsh man man
	@echo "man/syncsh.1 and others; man -l man/syncsh.1"

run: build ## build, then open the REPL (or run what is piped in)
	@bin/syncsh

test: ## run all tests
	$(GO) test -timeout 10m ./...

check: ## gofmt, vet, staticcheck, imports, race tests, short simulation
	@unformatted=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go' 2>/dev/null || find . -name '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt: run gofmt -w on"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(STATICCHECK) ./...
	$(GO) test ./internal/arch
	@$(MAKE) --no-print-directory race
	$(GO) vet -tags mutants ./internal/sim ./internal/mutant
	$(GO) test -short ./internal/sim ./internal/spec
	$(GO) run -tags mutants ./internal/sim -mutants $(MUTANTS_SHORT) -seeds 50

race: ## race tests of the packages with goroutines
ifeq ($(CC_FOUND),)
	@echo "race tests skipped: no C compiler"
else
	CGO_ENABLED=1 $(GO) test -race -short -timeout 10m $(RACE)
endif

sim: ## long simulation: SEEDS=10000 clusters, PROGRAMS=10000 generated scripts
	SYNCSH_SIM_SEEDS=$${SEEDS:-10000} $(GO) test -count=1 -timeout 240m -v -run '^TestSeeds$$' ./internal/sim
	SYNCSH_PROGRAMS=$${PROGRAMS:-10000} $(GO) test -count=1 -timeout 60m -run '^TestGeneratedPrograms' ./luafsm
	@$(MAKE) --no-print-directory specs SEEDS=200

# Bugs that the first few seeds find; make mutants plants all.
MUTANTS_SHORT := vote-twice,vote-log-unchecked,learner-counts,no-step-down

specs: build ## the specs of the object library: SEEDS=200 simulated clusters for each test
	bin/syncsh test scripts/spec --seeds $${SEEDS:-200}

mutants: ## plant bugs one after the other; the simulator must find each (MUTANTS=all SEEDS=2000)
	$(GO) run -tags mutants ./internal/sim -mutants $${MUTANTS:-all} -seeds $${SEEDS:-2000}

chaos: ## real processes under faults: CHAOS_DURATION=2m, CHAOS_NODES=3,5, CHAOS_SEED, CHAOS_LEASES=1
	CHAOS_DURATION=$${CHAOS_DURATION:-2m} CHAOS_NODES=$${CHAOS_NODES:-3,5} \
	$(GO) test -count=1 -v -timeout 60m -run '^TestChaos$$' ./internal/chaos

storage: ## storage exhaustively: each byte cut, each bit flipped, each prefix of operations
	@mkdir -p bin
	@$(GO) test -count=1 -timeout 60m -v -run '^Test(Storage|SnapshotEveryDamage|FlipEveryBit|CutEveryByte)' ./persist -everything >bin/storage.txt; \
	status=$$?; grep -v -e '^=== ' -e '^ *--- PASS: .*/' bin/storage.txt; exit $$status

# The machine must give the same on every architecture: the generated programs that
# make test runs, or the first ARCH_PROGRAMS, and the tables of cases of its library,
# run under qemu's user mode (Debian: apt-get install qemu-user-static) and are
# compared with this machine's.
ARCH_PROGRAMS ?=
ARCH_DIR      := bin/arch
ARCH_LIB_RUN  := ^Test(Golden|.*Math|.*Number|.*Format|.*Pattern|.*JSON|.*Table|.*String)

arch: ## the machine as arm64 and s390x, compared with this one (needs qemu-user-static)
	@mkdir -p $(ARCH_DIR)
	@CGO_ENABLED=0 $(GO) test -c -o $(ARCH_DIR)/machine.test ./luafsm
	@cd luafsm && SYNCSH_PROGRAMS=$(ARCH_PROGRAMS) SYNCSH_PROGRAMS_OUT=$(CURDIR)/$(ARCH_DIR)/programs.txt \
		$(CURDIR)/$(ARCH_DIR)/machine.test -test.run '^TestProgramsWritten$$' -test.timeout 60m >/dev/null
	@for arch in arm64:aarch64 s390x:s390x; do \
		go=$${arch%%:*}; qemu=qemu-$${arch##*:}-static; \
		if ! command -v $$qemu >/dev/null 2>&1; then echo "arch $$go skipped: no $$qemu (apt-get install qemu-user-static)"; continue; fi; \
		set -e; \
		CGO_ENABLED=0 GOARCH=$$go $(GO) test -c -o $(ARCH_DIR)/machine.$$go.test ./luafsm; \
		CGO_ENABLED=0 GOARCH=$$go $(GO) test -c -o $(ARCH_DIR)/lib.$$go.test ./luafsm/internal/lib; \
		(cd luafsm && SYNCSH_PROGRAMS=$(ARCH_PROGRAMS) SYNCSH_PROGRAMS_OUT=$(CURDIR)/$(ARCH_DIR)/programs.$$go.txt \
			$$qemu $(CURDIR)/$(ARCH_DIR)/machine.$$go.test -test.run '^(TestProgramsWritten|TestLanguage)$$' -test.timeout 60m); \
		(cd luafsm/internal/lib && $$qemu $(CURDIR)/$(ARCH_DIR)/lib.$$go.test -test.short -test.run '$(ARCH_LIB_RUN)' -test.timeout 60m); \
		cmp $(ARCH_DIR)/programs.txt $(ARCH_DIR)/programs.$$go.txt; \
		echo "arch $$go: $$(wc -l <$(ARCH_DIR)/programs.txt) programs equal"; \
	done

bench: ## run the Go benchmarks; bin/syncsh bench loads a cluster
	$(GO) test -run '^$$' -bench . -benchmem ./...

screenshots: build ## write docs/screenshots/*.svg: the REPL and top, driven in a terminal
	cd docs/screenshots && $(GO) run . -syncsh $(CURDIR)/bin/syncsh

docs: ## write docs/OBJECTS.md from the comments in scripts/
	@mkdir -p bin
	@$(GO) run ./internal/objdoc >bin/OBJECTS.md && mv bin/OBJECTS.md docs/OBJECTS.md

clean: ## delete what was built
	rm -rf bin man
