#!/usr/bin/env bash
# A throw-away Postgres for tests: `postgres.sh start DIR` prints its address, `postgres.sh stop DIR` ends it.
set -euo pipefail
dir=$2

bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1 || true)
[ -n "$bin" ] || bin=$(dirname "$(command -v pg_ctl 2>/dev/null || true)" 2>/dev/null || true)
if [ -z "$bin" ] || [ ! -x "$bin/initdb" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql >&2
        bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
    else
        echo "Postgres is missing: install it (Debian: apt-get install postgresql; macOS: brew install postgresql)" >&2
        exit 1
    fi
fi

# Postgres refuses to run as root.
as_owner() {
    if [ "$(id -u)" = 0 ]; then su postgres -s /bin/bash -c "$*"; else bash -c "$*"; fi
}

case $1 in
start)
    rm -rf "$dir"
    mkdir -p "$dir"
    if [ "$(id -u)" = 0 ]; then chown postgres "$dir"; fi
    chmod 700 "$dir"
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])' 2>/dev/null || echo 54329)
    as_owner "'$bin/initdb' -N -D '$dir/data' -U tandem --auth=trust" >&2
    as_owner "'$bin/pg_ctl' start -w -D '$dir/data' -l '$dir/log' -o '-c fsync=off -c max_connections=500 -c listen_addresses=127.0.0.1 -p $port -k $dir'" >&2
    echo "postgres://tandem@127.0.0.1:$port/postgres"
    ;;
stop)
    if [ -d "$dir/data" ]; then
        as_owner "'$bin/pg_ctl' stop -w -m immediate -D '$dir/data'" >&2
        rm -rf "$dir"
    fi
    ;;
esac
