# `make help` lists what there is. Nothing here needs more than Go, git, make and a POSIX shell;
# deploy/install.sh brings the rest.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:

RUN := .run
TOOL := go run ./internal/stack/make
STATICCHECK := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
WORKFLOWCHECK := go run go.temporal.io/sdk/contrib/tools/workflowcheck@v0.6.0
OASDIFF := go run github.com/oasdiff/oasdiff@v1.35.0
RELEASED := edges/rest/testdata/released
# Beyond this the go command ends a test that hangs; it measures nothing.
TEST_TIMEOUT := 20m
E2E_TIMEOUT := 40m
# The end-to-end tests, those of the web pages and the durability suite run the built programs, which the race
# detector does not see from outside; their packages are tested under it by everything else.
UNIT := $$(go list ./... | grep -v -e '/internal/e2e' -e '/internal/pages' -e '/internal/chaos')
FUZZTIME ?= 20s
BEGAN := $(shell date +%s)

# In recipes: $(call step,words) says what comes; it is what one reads while waiting.
step = @printf '\n== %s\n' "$(1)"

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

.PHONY: run
run: ## start everything on this machine and send demo messages through it; Ctrl-C stops it
	@sh deploy/install.sh
	@$(TOOL) build $(RUN)/bin
	@exec $(RUN)/bin/postrider dev

.PHONY: build
build: ## build the gateway, the simulator and the embedded Temporal server into .run/bin
	@$(TOOL) build $(RUN)/bin

.PHONY: installed
installed:
	@sh deploy/install.sh test

.PHONY: test
test: installed verify ## everything that CI runs: verify, all tests under the race detector, the end-to-end tests, the pages in a browser
	$(call step,the embedded Temporal server)
	@$(TOOL) temporald
	$(call step,tests under the race detector)
	@ARTIFACTS=$(CURDIR)/.run/artifacts go test -race -timeout $(TEST_TIMEOUT) $(UNIT)
	$(call step,every answer of the API against its documents)
	@go test -timeout $(TEST_TIMEOUT) ./edges/rest
	$(call step,end-to-end tests and the short form of the durability suite)
	@go test -count=1 -parallel 3 -timeout $(E2E_TIMEOUT) ./internal/e2e/...
	@go test -count=1 -timeout $(TEST_TIMEOUT) ./internal/chaos
	$(call step,pages in a browser)
	@ARTIFACTS=$(CURDIR)/.run/artifacts go test -count=1 -p 1 -parallel 2 -timeout $(TEST_TIMEOUT) ./internal/pages/...
	$(call step,tests of the embedded Temporal server)
	@cd deploy/temporal && go test -timeout $(TEST_TIMEOUT) ./...
	@printf '\nmake test: everything passed in %d s\n' $$(($$(date +%s) - $(BEGAN)))

.PHONY: test-race
test-race: installed ## all tests but the end-to-end ones, those in a browser and the durability suite under the race detector, none from the cache
	@$(TOOL) temporald
	@go test -race -count=1 -timeout $(TEST_TIMEOUT) $(UNIT)

# REPORT=docs/reports/bench writes the report to docs/reports/bench.json, .md and its plots.
BENCH := go run ./internal/bench $(if $(REPORT),--report $(REPORT))

.PHONY: bench
bench: ## start a stack of its own, put load on it and report what it carried; BENCH_FLAGS=-h lists the choices
	@sh deploy/install.sh
	@$(BENCH) $(BENCH_FLAGS)

.PHONY: bench-smpp
bench-smpp: ## the same over one SMPP bind of window 100: 20,000 submits, their answers and receipts
	@sh deploy/install.sh
	@$(BENCH) --only --smpp 20000 --smpp-window 100 $(BENCH_FLAGS)

.PHONY: bench-soak
bench-soak: ## an hour of 30 messages a second: whether memory grows
	@sh deploy/install.sh
	@$(BENCH) --only --soak 1h --soak-rate 30 $(BENCH_FLAGS)

.PHONY: bench-backlog
bench-backlog: ## 50,000 messages accepted while the vendor is away, then drained
	@sh deploy/install.sh
	@$(BENCH) --only --backlog 50000 $(BENCH_FLAGS)

.PHONY: bench-overload
bench-overload: ## 4,000 messages a second for a minute: what is accepted, refused and completed meanwhile
	@sh deploy/install.sh
	@$(BENCH) --only --capacity 3000 --rounds 3 --overload 1m $(BENCH_FLAGS)

.PHONY: bench-webhooks
bench-webhooks: ## 98 webhook consumers, with and without one that is dead and one that takes 14 s beside them
	go test ./activities/notify -run '^$$' -bench BenchmarkConsumers -benchtime 1x

.PHONY: bench-media
bench-media: ## pictures, films and sound made fit: files a second and core, memory over 1,000 messages
	@sh deploy/install.sh
	@go test ./activities/prepare -run '^TestMeasure$$' -count=1 -timeout 20m -report "$(CURDIR)/docs/reports/media"

.PHONY: pages-report
pages-report: ## the web pages in a browser: bytes and first paint of each
	@sh deploy/install.sh test
	@go test ./internal/pages -run '^TestMeasure$$' -count=1 -timeout $(TEST_TIMEOUT) -report "$(CURDIR)/docs/reports/pages"

.PHONY: chaos
chaos: ## prove the durability contract: break everything while messages flow, and judge each; CHAOS_FLAGS=-h lists the choices
	@sh deploy/install.sh test
	@go run ./internal/chaos --markdown docs/durability.md --json docs/reports/durability.json $(CHAOS_FLAGS)

.PHONY: fuzz
fuzz: ## fuzz every decoder for FUZZTIME (20s) each
	@grep -rl --include='*_test.go' '^func Fuzz' . | while read -r file; do \
		sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$$file" | while read -r name; do \
			printf '\n== %s in %s\n' "$$name" "$${file%/*}"; \
			go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$${file%/*}" </dev/null || exit 1; \
		done || exit 1; \
	done

.PHONY: verify
verify: lint workflowcheck breaking ## what can be said without running tests: lint, workflowcheck, breaking changes of the API, tidy modules
	$(call step,go mod tidy)
	@go mod tidy -diff
	@cd deploy/temporal && go mod tidy -diff
	@cd internal/openapilint && go mod tidy -diff

.PHONY: lint
lint: ## gofmt, go vet, staticcheck, and the rules of OpenAPI documents
	$(call step,gofmt)
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "gofmt would change:"; echo "$$unformatted"; exit 1; }
	$(call step,go vet)
	@go vet ./...
	@cd deploy/temporal && go vet ./...
	$(call step,staticcheck)
	@$(STATICCHECK) ./...
	$(call step,openapilint)
	@cd internal/openapilint && go vet . && go run . ../../edges/rest/openapi.json ../../edges/rest/openapi_admin.json

.PHONY: workflowcheck
workflowcheck: ## find what would make a workflow's replay differ
	$(call step,workflowcheck)
	@$(WORKFLOWCHECK) ./workflows/...

.PHONY: breaking
breaking: ## compare the customers' OpenAPI document with that of the last release, and fail if its clients would notice
	$(call step,oasdiff: what would break customers)
	@$(OASDIFF) breaking $(RELEASED)/openapi.json edges/rest/openapi.json --fail-on WARN --severity-levels $(RELEASED)/additions.txt

.PHONY: released
released: ## make today's document the one that later changes are compared with
	@cp edges/rest/openapi.json $(RELEASED)/openapi.json

.PHONY: replay
replay: ## replay the stored histories against today's workflows
	@go test -count=1 -run Replay -v ./workflows/...

.PHONY: clean
clean: ## remove .run with all state of `make run`
	@$(TOOL) clean $(RUN)
