#!/usr/bin/env bash
# Get clients of other languages, for the tests of docs/failover.md and docs/kafka.md:
# tests/clients.sh [node] [go]
#
# They go to .cache/clients, where their language is there and the registry can be reached. That of Go
# takes half a minute of processor time to compile, so `make test` does without unless it is there.
set -euo pipefail

folder=$PWD/.cache/clients

node() {
    local found=$folder/node/node_modules
    command -v npm >/dev/null && [[ ! -d $found/ioredis || ! -d $found/kafkajs ]] || return 0
    mkdir -p "$folder/node"
    npm install --silent --no-audit --no-fund --prefix "$folder/node" ioredis@5 kafkajs@2 \
        >/dev/null || true
}

go_() {
    command -v go >/dev/null && [[ ! -e $folder/go/go.sum ]] || return 0
    mkdir -p "$folder/go"
    cd "$folder/go"
    export GOPATH=$PWD/path GOFLAGS=-modcacherw
    rm -f go.mod
    go mod init example >/dev/null 2>&1
    go get github.com/redis/go-redis/v9@v9 >/dev/null || return 0
    go build github.com/redis/go-redis/v9
}

for language; do
    case $language in
        node) node ;;
        go) (go_) ;;
        *) echo "no clients for $language" >&2 && exit 2 ;;
    esac
done
