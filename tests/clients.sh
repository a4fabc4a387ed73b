#!/usr/bin/env bash
# Get clients of other languages, for the tests of docs/failover.md and docs/kafka.md.
#
# They go to .cache/clients, where their language is there and the registry can be reached; without
# them their tests are skipped. That of Go takes half a minute of processor time to compile, once.
set -euo pipefail

folder=$PWD/.cache/clients

get_node() {
    local found=$folder/node/node_modules
    command -v npm >/dev/null && [[ ! -d $found/ioredis || ! -d $found/kafkajs ]] || return 0
    mkdir -p "$folder/node"
    npm install --silent --no-audit --no-fund --prefix "$folder/node" ioredis@5 kafkajs@2 \
        >/dev/null || true
}

get_go() {
    command -v go >/dev/null && [[ ! -e $folder/go/go.sum ]] || return 0
    mkdir -p "$folder/go"
    cd "$folder/go"
    export GOPATH=$PWD/path GOFLAGS=-modcacherw
    rm -f go.mod
    go mod init example 2>/dev/null
    # What was not built is not there.
    { timeout 120 go get github.com/redis/go-redis/v9@v9 2>/dev/null &&
        go build github.com/redis/go-redis/v9; } || rm -f go.sum
}

get_node
(get_go)
