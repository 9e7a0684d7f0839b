# Commands for developers and CI. Every target also works on a fresh machine: it installs what it needs.

# Parts of scripts/setup.sh that the test suite needs.
TEST_PARTS := build tools postgres versions pgbouncer prometheus chromium python pool-status grafana node page deploy

.DEFAULT_GOAL := help
.PHONY: help setup build demo demo-day pictures test test-quick test-python test-all soak-truth cost-sampling bench-scale metrics-md config-docs pages manifests site dist check-release lint format-check clippy docs shellcheck deny check

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install everything needed for building, testing and the demo
	scripts/setup.sh

build: ## Build the release program
	scripts/setup.sh build
	cargo build --release --locked

demo: ## Play a day of incidents: throwaway servers, applications, and the exporter watching them
	scripts/setup.sh build postgres pgbouncer prometheus || echo "The demo goes on without what is missing."
	cargo build --release --locked
	$${CARGO_TARGET_DIR:-target}/release/db_pool_exporter demo $(DEMO)

demo-day: ## Check the alerts of the whole day against its script, with a real Prometheus
	scripts/setup.sh build postgres pgbouncer prometheus python
	DEMO_DAY=$${DEMO_DAY:-5m} cargo test --locked --test it demo::each_alert -- --nocapture

pictures: ## Make the pictures of README.md and docs/ from the demo's day, in docs/pictures
	scripts/setup.sh build postgres pgbouncer prometheus chromium python page
	cargo build --release --locked
	"$$(scripts/setup.sh --print python)" scripts/pictures.py $${CARGO_TARGET_DIR:-target}/release/db_pool_exporter \
	  "$$(scripts/setup.sh --print chromium)" "$$(scripts/setup.sh --print page)"

test: ## Run the whole suite
	scripts/setup.sh $(TEST_PARTS)
	cargo test --locked --workspace
	$(MAKE) test-python

test-python: ## Run the tests of integrations/python, once for each version of SQLAlchemy
	scripts/setup.sh postgres pool-status
	set -e; for python in $$(scripts/setup.sh --print pool-status); do \
	  echo "$$python"; (cd integrations/python && "$$python" -m pytest); \
	done

test-quick: ## Run the tests that need no server: the library, the web side, the command line
	scripts/setup.sh build tools
	cargo test --locked --workspace --lib
	cargo test --locked --test dsn_corpus --test layering
	cargo test --locked --test web -- --skip prometheus::
	cargo test --locked --test it -- usage::

test-all: ## Run the whole suite once for each supported major version of PostgreSQL
	scripts/setup.sh $(TEST_PARTS)
	set -e; for major in $$(scripts/setup.sh --print versions); do \
	  echo "PostgreSQL $$major"; TEST_POSTGRES=$$major cargo test --locked --workspace; \
	done

soak-truth: ## Ten minutes of random load beside the pools' own status, and 20 short saturations
	scripts/setup.sh build postgres python node
	TRUTH_SECONDS=$${TRUTH_SECONDS:-600} TRUTH_SATURATIONS=$${TRUTH_SATURATIONS:-20} \
	  cargo test --locked --test it truth::soak -- --nocapture

cost-sampling: ## Measure what sampling costs at 300 and 1,000 sessions
	scripts/setup.sh build postgres
	cargo test --locked --release --test it truth::cost -- --ignored --nocapture

bench-scale: ## Measure a thousand targets: lateness, memory, processor time, scrapes, connections
	scripts/setup.sh build postgres
	cargo build --release --locked
	benches/scale/bench.py --program "$${CARGO_TARGET_DIR:-target}/release/db_pool_exporter" \
	  --programs "$$(ls -d /usr/lib/postgresql/*/bin /usr/pgsql-*/bin 2>/dev/null | sort -V | tail -1)"

metrics-md: ## Generate METRICS.md from the tables in the code
	UPDATE_METRICS_MD=1 cargo test --locked --lib metrics_md

pages: ## Generate the manual page and the completions from the command line
	UPDATE_PAGES=1 cargo test --locked --test deploy pages

manifests: ## Generate the rules of the plain manifests from alerts/
	scripts/setup.sh build deploy
	UPDATE_MANIFESTS=1 cargo test --locked --test deploy the_rules_are

site: ## Build the documentation as a book, in target/site
	scripts/setup.sh site
	"$$(scripts/setup.sh --print tools)/mdbook" build

dist: ## Build a release in dist/: archive, packages, bill of materials, chart, checksums
	scripts/setup.sh build packaging
	scripts/dist.sh dist

check-release: ## Build a release twice and compare, run it in an empty root, install and remove its packages
	scripts/setup.sh build tools packaging
	scripts/check-release.sh dist

lint: format-check clippy docs shellcheck ## Check formatting, lints, documentation and scripts

format-check:
	@scripts/setup.sh build lint
	cargo fmt --all --check

clippy:
	@scripts/setup.sh build lint
	cargo clippy --locked --workspace --all-targets -- -D warnings

docs:
	@scripts/setup.sh build
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

shellcheck:
	@scripts/setup.sh lint
	shellcheck scripts/*.sh .ci/run deploy/compose/init.sh deploy/packages/debian/*
	shellcheck --shell=sh deploy/packages/*.sh

deny: ## Check licences, bans and sources of all crates, and advisories if their database can be fetched
	scripts/setup.sh build deny
	scripts/deny.sh

check: ## Run what CI runs
	.ci/run
