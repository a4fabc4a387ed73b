#!/usr/bin/env bash
# Get the servers that tests compare with: tests/setup.sh FOLDER
#
# Installs what is missing when that is possible without asking for a password, else says which tests
# will be skipped. It never starts or stops a service: Debian's package redis-server starts one, so
# only redis-tools is installed, whose redis-check-rdb is the same program under another name. The
# links FOLDER/redis-server and FOLDER/redis-sentinel give those names back. Of the other package only
# its redis.conf is taken.
# fuse3 mounts the file system on which tests cut the power, faketime makes the clock jump.  Kafka's
# jars go to .cache/kafka; kcat reads from it.
# Tests start PostgreSQL in folders of their own: its package is told, before it is there, to create no
# cluster, so that nothing of it runs afterwards.
set -euo pipefail

folder=$1
quick=(-o Acquire::Retries=1 -o Acquire::http::Timeout=15)

have() {
    [[ -x "$folder/$1" ]] || command -v "$1" >/dev/null
}

link_server() {
    local twin
    if ! have redis-server && twin=$(command -v redis-check-rdb); then
        ln -sf "$twin" "$folder/redis-server"
        # A build that does not tell its roles apart by name is no server.
        "$folder/redis-server" --version 2>/dev/null | grep -q "^Redis server" ||
            rm "$folder/redis-server"
    fi
    if ! have redis-sentinel && have redis-server; then
        # That name makes the same program a Sentinel.
        twin=$(PATH="$folder:$PATH" command -v redis-server)
        ln -sf "$(readlink -f "$twin")" "$folder/redis-sentinel"
    fi
}

root=()
[[ $(id -u) == 0 ]] || root=(sudo -n)
updated=

may_install() {
    command -v apt-get >/dev/null && "${root[@]}" true 2>/dev/null
}

apt_install() {
    may_install || return 1
    echo "installing $*"
    if [[ -z $updated ]]; then
        "${root[@]}" apt-get "${quick[@]}" update -qq || return 1
        updated=yes
    fi
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 \
        apt-get "${quick[@]}" install -qq -y --no-install-recommends "$@" >/dev/null
}

have_postgres() {
    have initdb || compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null
}

install_postgres() {
    local settings=/etc/postgresql-common/createcluster.conf
    may_install || return 1
    if ! dpkg-query -W -f '${Status}' postgresql-common 2>/dev/null | grep -q " installed" &&
        [[ ! -e $settings ]]; then
        "${root[@]}" mkdir -p "${settings%/*}"
        echo "create_main_cluster = false" | "${root[@]}" tee "$settings" >/dev/null
    fi
    apt_install postgresql
}

fetch_configuration() {
    local place
    [[ ! -r /etc/redis/redis.conf && ! -e "$folder/redis.conf" ]] || return 0
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 0
    place=$(mktemp -d)
    (
        cd "$place"
        apt-get "${quick[@]}" download -qq redis-server &&
            dpkg-deb --fsys-tarfile redis-server_*.deb | tar -xO ./etc/redis/redis.conf >redis.conf
    ) >/dev/null 2>&1 && mv "$place/redis.conf" "$folder/redis.conf" || true
    rm -rf "$place"
}

link_server
if ! have redis-server || ! have redis-cli; then
    apt_install redis-tools || true
    link_server
fi

fetch_configuration

if [[ -e /dev/fuse ]] && ! have fusermount3; then
    apt_install fuse3 || true
fi

have faketime || apt_install faketime || true

if ! command -v kcat >/dev/null; then
    apt_install kcat || true
fi
if ! command -v java >/dev/null; then
    apt_install openjdk-17-jre-headless || true
fi
if command -v java >/dev/null && [[ ! -e .cache/kafka/complete ]]; then
    echo "getting Kafka's jars"
    "$folder/python" tests/kafka/fetch.py .cache/kafka || true
fi

have_postgres || install_postgres || true

have redis-server ||
    echo "missing: redis-server; tests with a real Redis or Sentinel will be skipped" >&2
[[ -e /dev/fuse ]] && have fusermount3 ||
    echo "missing: /dev/fuse or fusermount3 (package fuse3); power cuts will be skipped" >&2
have faketime ||
    echo "missing: faketime; tests whose clock jumps will be skipped" >&2
have redis-cli ||
    echo "missing: redis-cli (package redis-tools); tests that run it will be skipped" >&2
command -v kcat >/dev/null ||
    echo "missing: kcat; the test that reads with it will be skipped" >&2
command -v java >/dev/null && [[ -e .cache/kafka/complete ]] ||
    echo "missing: java or Kafka's jars from Maven Central; tests with Kafka will be skipped" >&2
have_postgres ||
    echo "missing: initdb (package postgresql); tests of the backing store will be skipped" >&2
