#!/usr/bin/env bash
# Every test: all of them on SQLite, those that go through the doors again on Postgres. Services are started and ended here.
set -euo pipefail
cd "$(dirname "$0")/.."

postgres_dir=$(mktemp -d "${TMPDIR:-/tmp}/tandem-postgres.XXXXXX")
stop() { ./tests/postgres.sh stop "$postgres_dir" 2>/dev/null || true; }
trap stop EXIT

if ! command -v npm >/dev/null; then
    echo "Node is missing, and the tests with stock GraphQL clients need it: install Node 20 or newer (Debian: apt-get install nodejs npm)" >&2
    exit 1
fi
command -v curl >/dev/null || { echo "curl is missing, and the README's journey needs it: install curl" >&2; exit 1; }
(cd tests/conformance && npm ci --no-fund --no-audit --loglevel=error)
(cd tests/clients && npm ci --no-fund --no-audit --loglevel=error && npm run --silent build)

echo "== SQLite"
cargo nextest run --workspace "$@"

url=$(./tests/postgres.sh start "$postgres_dir" 2>"$postgres_dir.log") || { cat "$postgres_dir.log" >&2; exit 1; }
rm -f "$postgres_dir.log"
echo "== Postgres"
TEST_POSTGRES_URL=$url cargo nextest run --package tandem --test it "$@"
