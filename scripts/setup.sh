#!/usr/bin/env bash
# Installs what is missing to build 0711 (`build`) and to test it (`test`). Says what it does; does nothing twice.
set -euo pipefail

what=${1:-build}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

# Installs the Debian packages that are missing. Needs root, or sudo.
packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    local as_root=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || {
            printf 'error: these packages are missing and this is not root: %s\n  remedy: as root, run `apt-get install %s`\n' "${missing[*]}" "${missing[*]}" >&2
            exit 1
        }
        as_root=(sudo)
    fi
    "${as_root[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

command -v apt-get >/dev/null || {
    printf 'error: this script knows Debian and its relatives only\n  remedy: install cmake, clang, libclang, mold, protobuf-compiler and pip, then run `cargo build --locked`\n' >&2
    exit 1
}

# Headers, a linker, and a code generator; pip brings the models on a development machine.
packages build-essential cmake clang libclang-dev mold protobuf-compiler libprotobuf-dev ca-certificates curl
python3 -m pip --version >/dev/null 2>&1 || packages python3-pip

if ! command -v cargo >/dev/null && [ -f "$HOME/.cargo/env" ]; then
    . "$HOME/.cargo/env"
fi
command -v cargo >/dev/null || {
    printf 'error: Rust is missing\n  remedy: install rustup (https://rustup.rs), then run this again\n' >&2
    exit 1
}

[ "$what" = test ] || exit 0

# The outside judges: a browser and the official OpenAI client. PEFT on torch weighs 5 GB and is in scripts/soak.sh.
packages chromium iproute2 nftables openssl
venv="$here/target/test-venv"
wanted="$here/scripts/test-requirements.txt"
if ! cmp -s "$wanted" "$venv/installed.txt"; then
    say "installing the Python packages the tests judge with (openai, playwright)"
    python3 -m venv --help >/dev/null 2>&1 && python3 -c 'import ensurepip' 2>/dev/null || packages python3-venv
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted"
    cp "$wanted" "$venv/installed.txt"
fi

# The engine the container stories run on. Without one they are skipped, and say so.
answers() { [ -S /var/run/docker.sock ] && docker --host unix:///var/run/docker.sock version >/dev/null 2>&1; }

install_engine() {
    . /etc/os-release
    if [ "${VERSION_CODENAME:-}" = bookworm ]; then
        # Its own packages bring Compose 1. Those of the next release run on it; nothing else may come from there.
        local uri from=/etc/apt/sources.list.d/debian.sources
        if [ -f "$from" ]; then
            uri=$(awk '$1 == "URIs:" { print $2; exit }' "$from")
        else
            uri=$(awk '$1 == "deb" && $2 ~ /^http/ { print $2; exit }' /etc/apt/sources.list)
        fi
        [ -n "$uri" ] || return 1
        cat >/etc/apt/sources.list.d/0711-docker.sources <<EOF
Types: deb
URIs: $uri
Suites: trixie
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
EOF
        cat >/etc/apt/preferences.d/0711-docker <<EOF
Package: *
Pin: release n=trixie
Pin-Priority: 50

Package: docker.io docker-cli docker-compose containerd
Pin: release n=trixie
Pin-Priority: 900
EOF
    fi
    packages docker.io docker-cli docker-compose iptables
}

start_engine() {
    say "starting the Docker engine"
    if [ -d /run/systemd/system ]; then
        systemctl start docker
    else
        setsid nohup dockerd >/var/log/dockerd.log 2>&1 </dev/null &
    fi
    local _
    for _ in $(seq 60); do
        answers && return
        sleep 1
    done
    return 1
}

if answers; then
    :
elif [ "$(id -u)" != 0 ]; then
    say "no Docker engine answers here, and only root can start one: the container stories will be skipped"
elif ! { command -v dockerd >/dev/null || install_engine; } || ! start_engine; then
    say "no Docker engine could be set up (see /var/log/dockerd.log): the container stories will be skipped"
fi
