# All commands of the project. `make run` and `make test` do their own set-up.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run test check schema soak bench graphiql node nextest release

help: ## What there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

run: graphiql ## Start everything on SQLite, with the simulator, a demo shop and a development partner
	cargo run --quiet -- serve --welcome

test: nextest graphiql ## Every test, on SQLite and on Postgres
	./tests/run.sh

check: ## Format, lints, documentation
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --workspace --no-deps --document-private-items --quiet
	cargo run --quiet -- schema | diff -u schema.graphql - || { echo "schema.graphql is not the schema: run make schema" >&2; exit 1; }
	@! cargo tree --quiet -e normal -i aws-lc-sys 2>/dev/null | grep . || { echo "a second TLS provider came in" >&2; exit 1; }
	@! cargo tree --quiet -e normal -i openssl-sys 2>/dev/null | grep . || { echo "OpenSSL came in" >&2; exit 1; }

schema: ## Write schema.graphql
	cargo run --quiet -- schema > schema.graphql.new && mv schema.graphql.new schema.graphql

soak: nextest graphiql ## The tests with long loads, optimised: rates and times are judged too
	TEST_SOAK=1 ./tests/run.sh --release --profile soak

bench: ## Measure, and print what docs/performance.md quotes
	cargo build --profile dist --quiet
	cargo run --profile dist --quiet -p bench

release: graphiql ## The binary that is shipped: target/dist/tandem
	cargo build --profile dist

# GraphiQL's bundle, made from npm packages. Without Node everything else works; the page then says how to get it.
graphiql: node
	@if command -v npm >/dev/null; then \
		if [ ! -f web/graphiql/dist/index.html ] || [ -n "$$(find web/graphiql -newer web/graphiql/dist/index.html -type f -not -path '*/node_modules/*' -not -path '*/dist/*' | head -n 1)" ]; then \
			cd web/graphiql && npm ci --no-fund --no-audit --loglevel=error && npm run --silent build; \
		fi; \
	else echo "GraphiQL is left out: install Node 20 or newer, then run make graphiql" >&2; fi

node:
	@if ! command -v npm >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq nodejs npm; \
	fi

nextest:
	@cargo nextest --version >/dev/null 2>&1 || cargo install --locked cargo-nextest
