#!/usr/bin/env bash
# Starts the program in root file systems it was not built for: an empty one (as `FROM scratch`), and those of Debian 11, 12 and 13, made
# by debootstrap from the machine's own package source. Needs root. A release the source does not carry any more is said, and left out.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
binary=${1:-$here/target/x86_64-unknown-linux-gnu/debug/0711}
work="$here/target/roots"

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

[ "$(id -u)" = 0 ] || {
    printf 'error: only root can make a root file system\n' >&2
    exit 1
}
command -v debootstrap >/dev/null || apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
from=/etc/apt/sources.list.d/debian.sources
if [ -f "$from" ]; then
    uri=$(awk '$1 == "URIs:" { print $2; exit }' "$from")
else
    uri=$(awk '$1 == "deb" && $2 ~ /^http/ { print $2; exit }' /etc/apt/sources.list)
fi

# Runs a command in a root, with nothing but /proc mounted and no network, so that nobody holds its ports; all of it ends with the command.
inside() {
    local root=$1
    shift
    mkdir -p "$root/proc"
    unshare --mount --pid --net --fork --kill-child bash -c 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"' "$root" "$@"
}

try() {
    local root=$1 name=$2 said
    rm -rf "$root/0711" "$root/data" "$root/brain"
    mkdir -p "$root/data" "$root/tmp"
    printf 'Bemessungsstrom: 32 A\n' >"$root/data/note.txt"
    strip -o "$root/0711" "$binary"
    inside "$root" /0711 --version
    # 4 says that a check failed, on a machine that will not do: the program has run all the same.
    said=$(inside "$root" /0711 preflight --root /brain --json) || [ $? = 4 ]
    grep -q '"id":"cpu.v3"' <<<"$said"
    said=$(inside "$root" /0711 plan --root /brain --customer Test --license DEMO --folder /data --json)
    grep -q '"digest":"sha256:' <<<"$said"
    say "$name: --version, preflight and plan run"
}

mkdir -p "$work/scratch"
try "$work/scratch" "an empty root"
tried=0
for release in bullseye bookworm trixie; do
    root="$work/$release"
    if [ ! -e "$root/etc/os-release" ]; then
        rm -rf "$root"
        # Debian's scripts know every release by name; an older debootstrap takes the newest one it knows for newer ones.
        script=/usr/share/debootstrap/scripts/$release
        [ -e "$script" ] || script=/usr/share/debootstrap/scripts/sid
        if ! debootstrap --variant=minbase "$release" "$root" "$uri" "$script" >"$work/$release.log" 2>&1; then
            say "$release: not tried, the package source does not give it ($(tail -n 1 "$work/$release.log"))"
            rm -rf "$root"
            continue
        fi
    fi
    try "$root" "$(. "$root/etc/os-release" && printf %s "$PRETTY_NAME")"
    tried=$((tried + 1))
done
[ "$tried" -gt 0 ]
