#!/usr/bin/env bash
# Make a virtual environment: packaging/venv.sh FOLDER
#
# Takes $PYTHON, else the newest suitable python3 it finds. Debian splits the venv module off into a
# package of its own, which is installed when that is possible without asking for a password.
set -euo pipefail

folder=$1
least="3.11"

suits() {
    command -v "$1" >/dev/null &&
        "$1" -c "import sys; sys.exit(sys.version_info < tuple(map(int, '$least'.split('.'))))"
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if suits "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

apt_install() {
    local root=()
    command -v apt-get >/dev/null || return 1
    if [[ $(id -u) != 0 ]]; then
        sudo -n true 2>/dev/null || return 1
        root=(sudo -n)
    fi
    echo "installing $*"
    "${root[@]}" apt-get update -qq &&
        "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}

if ! python=$(find_python); then
    apt_install python3 python3-venv || true
    python=$(find_python) || {
        echo "Python $least or newer is needed; install it, or name it: make PYTHON=/path/to/python3" >&2
        exit 1
    }
fi

if ! "$python" -c "import ensurepip, venv" 2>/dev/null; then
    version=$("$python" -c "import sys; print('%d.%d' % sys.version_info[:2])")
    apt_install "python$version-venv" || apt_install python3-venv || {
        echo "$python lacks the venv module; on Debian and Ubuntu: apt-get install python3-venv" >&2
        exit 1
    }
fi

"$python" -m venv "$folder" || {
    rm -rf "$folder" # half an environment would pass for a whole one next time
    exit 1
}
