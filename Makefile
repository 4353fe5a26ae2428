# All tasks of a contributor. `make` alone lists them.

SHELL := /bin/bash
PYTHON ?= python3
CARGO ?= cargo
CARGO_DENY_VERSION := 0.20.2
CARGO_FUZZ_VERSION := 0.13.1
MDBOOK_VERSION := 0.5.4
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/claimgate

export CARGO
export PYTHONDONTWRITEBYTECODE := 1

.DEFAULT_GOAL := help
.PHONY: help build module module-portable module-arm64 test lint unit e2e e2e-module chart chart-generate rootfs rootfs-test demo bench bench-page pictures undisturbed costs deny schema lint-supply-chain test-kube circles layers places

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

build: ## build the release binary
	$(CARGO) build --locked --release --bin claimgate

module: ## build the filter that Envoy loads, target/release/libclaimgate_envoy.so
	$(CARGO) build --locked --release --package claimgate-envoy

module-portable: ## the same against an old C library, for a release: target/portable/libclaimgate_envoy.so
	@PYTHON=$(PYTHON) scripts/portable_module.sh target/portable

module-arm64: ## the same for arm64, tried in Envoy for arm64 under qemu: target/arm64/libclaimgate_envoy.so
	@PYTHON=$(PYTHON) scripts/arm64_module.sh target/arm64

test: ## every check, after installing what it needs; ARGS='lint unit' picks some
	@PYTHON=$(PYTHON) scripts/test.sh $(ARGS)

lint: circles layers places ## check the format, the lints, and what depends on what
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- --deny warnings

circles: ## check that no files depend on each other except a module and its own child
	@$(PYTHON) scripts/circles.py $(ARGS)

layers: ## check which libraries a crate must not depend on
	@$(PYTHON) scripts/layers.py

places: ## check that every file names the place in places.env; REGISTRY=… REPOSITORY=… SOURCE=… changes it everywhere
	@$(PYTHON) scripts/places.py $(foreach name,REGISTRY REPOSITORY SOURCE,$(if $(filter command line,$(origin $(name))),$(name)=$($(name))))

unit: ## unit and integration tests, without Envoy
	$(CARGO) test --locked --no-fail-fast $(if $(CLAIMGATE_CORPORA),-- --include-ignored)

e2e: ## end-to-end tests on a real Envoy; ARGS='-k rotation' picks some
	@venv=$$($(PYTHON) e2e/tools.py) && cd e2e && "$$venv/bin/python" -m pytest $(PARALLEL) $(ARGS)

# The tests wait more than they compute. A file's tests stay together, since they
# share their programs; ARGS='-n 0' runs one after the other.
PARALLEL := -n 3 --dist loadfile

e2e-module: ## the end-to-end tests of decisions again, with Claimgate inside Envoy; ARGS='-k denials' picks some
	@CLAIMGATE_DOOR=module $(MAKE) --no-print-directory e2e ARGS='$(or $(ARGS),$(DECISIONS))'

DECISIONS := $(addprefix test_,$(addsuffix .py,headers metadata denials token_removal envoy_paths cgi_headers keys mcp oidc_provider path_servers sdks status_page traces policy_files websockets limits shared_limits oncall))

chart: ## the Helm chart: lint, render, validate, and run what it renders; ARGS='-k tls'
	@venv=$$($(PYTHON) e2e/tools.py charts/tests/requirements.txt) && cd charts/tests && "$$venv/bin/python" -m pytest $(ARGS)

chart-generate: ## regenerate the chart's README.md and values.schema.json
	@venv=$$($(PYTHON) e2e/tools.py charts/tests/requirements.txt) && "$$venv/bin/python" charts/schema/generate.py

test-kube: ## the chart and the pages on a real kube-apiserver, istiod and Envoy Gateway; ARGS='-k istio', TRAFFIC=long, UPGRADES=all
	@venv=$$($(PYTHON) e2e/tools.py kube/requirements.txt) && cd kube && "$$venv/bin/python" -m pytest $(ARGS)

rootfs: ## the image's root file system without Docker, in target/rootfs; BINARY=… uses another program than the release build
	@$(if $(BINARY),,$(CARGO) build --locked --release --bin claimgate)
	rm -rf target/rootfs
	scripts/rootfs.sh $(or $(BINARY),target/release/claimgate) target/rootfs

rootfs-test: ## check the image's content and size, and that a release program works in it
	@$(if $(BINARY),,$(CARGO) build --locked --release --bin claimgate)
	@CLAIMGATE_PROFILE=release CLAIMGATE_BIN="$(abspath $(or $(BINARY),target/release/claimgate))" $(MAKE) --no-print-directory e2e ARGS="test_image.py -rP $(ARGS)"

demo: ## see it decide behind a real Envoy; KEEP=1 leaves it running, EDGE=1 uses examples/envoy/, MODULE=1 runs it inside Envoy
	@PYTHON=$(PYTHON) scripts/setup.sh demo
	@$(PYTHON) demo/demo.py $(if $(filter-out 0,$(KEEP)),--keep) $(if $(filter-out 0,$(EDGE)),--edge) $(if $(filter-out 0,$(MODULE)),--module)

bench: ## measure the cost of a check against the baselines, into bench/results.json and docs/benchmarks.md; ARGS='--quick grpc'
	@$(PYTHON) bench/bench.py $(ARGS)

bench-page: ## make docs/benchmarks.md and its charts from what the last run kept, without a run
	@$(PYTHON) bench/page.py

pictures: ## make the book's pictures of the running program: status page, explain, dashboard
	@$(PYTHON) e2e/pictures/make.py

undisturbed: ## measure how long honest callers wait during a flood of one bad token; PROFILE=costs builds faster
	$(CARGO) bench --locked --profile $(or $(PROFILE),release) --bench undisturbed -- measure

costs: ## measure requests without a valid token, in multiples of a plain denial's CPU time; fails if one is over its limit
	$(CARGO) bench --locked --profile costs --bench costs -- $(ARGS)

deny: $(CACHE)/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny ## check licences, bans and sources of dependencies; advisories where their database is available
	scripts/deny.sh $<

$(CACHE)/cargo-deny-%/bin/cargo-deny:
	$(CARGO) install --locked --version $* --root $(CACHE)/cargo-deny-$* --target-dir $(CACHE)/cargo-deny-build cargo-deny
	rm -rf $(CACHE)/cargo-deny-build

lint-supply-chain: ## check workflows, Dockerfile, chart, scripts and history with the security tools; ARGS=zizmor picks one
	@$(PYTHON) scripts/supply_chain/lint.py $(ARGS)

.PHONY: fuzz
SECONDS_EACH := $(if $(filter command line,$(origin SECONDS)),$(SECONDS),30)
fuzz: $(CACHE)/cargo-fuzz-$(CARGO_FUZZ_VERSION)/bin/cargo-fuzz ## run every fuzz target for half a minute; SECONDS=900 for longer, ARGS=paths picks some
	@$(PYTHON) scripts/fuzz.py $< --seconds $(SECONDS_EACH) $(ARGS)

$(CACHE)/cargo-fuzz-%/bin/cargo-fuzz:
	$(CARGO) install --locked --version $* --root $(CACHE)/cargo-fuzz-$* --target-dir $(CACHE)/cargo-fuzz-build cargo-fuzz
	rm -rf $(CACHE)/cargo-fuzz-build

.PHONY: docs docs-reference
docs: $(CACHE)/mdbook-$(MDBOOK_VERSION)/bin/mdbook ## build the book into target/book; a warning or a dead link is an error
	@$(PYTHON) scripts/book.py build $<

docs-reference: ## regenerate the pages of the book that are made from the program
	CLAIMGATE_WRITE_DOCS=1 $(CARGO) test --locked --test it docs::reference

$(CACHE)/mdbook-%/bin/mdbook:
	$(CARGO) install --locked --version $* --root $(CACHE)/mdbook-$* --target-dir $(CACHE)/mdbook-build --no-default-features --features search mdbook
	rm -rf $(CACHE)/mdbook-build

schema: ## regenerate the JSON Schema of the config file
	$(CARGO) run --locked --quiet -- schema > schema/claimgate.schema.json.new
	mv schema/claimgate.schema.json.new schema/claimgate.schema.json
