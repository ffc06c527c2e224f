#!/usr/bin/env bash
# Compares how images reach a Docker engine: `0711 bundle load` against `docker load` of gzip'ed archives, the same images, cold engine.
#
#   scripts/bench-load.sh [DIR]            needs root, dockerd, and 12 GB in DIR (default: a folder in target/)
#   scripts/bench-load.sh DIR prepare      only makes the images, which takes longer than the measurement and may share the machine
#
# Four images that share two layers, 2 GB together, half of their bytes incompressible. An engine of its own, with a folder and socket
# of its own; the one that runs is not touched, so 0711 is run in a mount namespace where that socket stands at the usual place.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=${1:-$here/target/bench-load}
program=$here/target/x86_64-unknown-linux-gnu/debug/0711
[ ! -x "$here/target/x86_64-unknown-linux-gnu/dist/0711" ] || program=$here/target/x86_64-unknown-linux-gnu/dist/0711

main() {
    mkdir -p "$work"
    work=$(cd "$work" && pwd)
    trap engine_down EXIT
    [ -d "$work/bundle-2" ] || make_images
    [ "${2:-}" != prepare ] || return 0
    echo "program: $program"
    engine_up
    printf 'engine: %s\n' "$(on version --format '{{.Server.Version}}')"

    fresh
    took gzip docker_load
    local of_gzip=$seconds final=$used
    fresh
    took ours ours bundle-1
    local of_ours=$seconds peak=$peak_bytes final_ours=$used
    took "nothing to do" ours bundle-1
    took "one layer changed" ours bundle-2
    fresh
    interrupted
    took "resumed after 70 %" ours bundle-1
    local resumed=$seconds
    fresh
    took "loopback registry" by_registry
    printf '\nfirst load: %s of docker load; resumed: %s of a full load; peak disk %s of final (%s MB; docker load: %s MB)\n' \
        "$(ratio "$of_ours" "$of_gzip")" "$(ratio "$resumed" "$of_ours")" "$(ratio "$peak" "$final_ours")" \
        "$((final_ours / 1000000))" "$((final / 1000000))"
}

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }

on() { docker --host "unix://$work/docker.sock" "$@"; }

engine_up() {
    setsid dockerd --host "unix://$work/docker.sock" --data-root "$work/engine" --exec-root "$work/exec" --pidfile "$work/dockerd.pid" \
        --bridge none --iptables=false --ip-masq=false >"$work/dockerd.log" 2>&1 </dev/null &
    for _ in $(seq 60); do
        on version >/dev/null 2>&1 && return
        sleep 1
    done
    tail -3 "$work/dockerd.log" >&2
    exit 1
}

engine_down() {
    [ -f "$work/dockerd.pid" ] || return 0
    kill "$(cat "$work/dockerd.pid")" 2>/dev/null || true
    while [ -f "$work/dockerd.pid" ]; do sleep 0.2; done
}

# An engine that has never seen an image, and a cold page cache.
fresh() {
    engine_down
    rm -rf "$work/engine" "$work/exec"
    sync
    echo 3 >/proc/sys/vm/drop_caches 2>/dev/null || true
    engine_up
}

bytes() { du -s --block-size=1 "$work/engine" 2>/dev/null | cut -f1; }

# Runs a command; leaves its seconds, the engine's bytes after it and their peak meanwhile.
took() {
    local what=$1 from to
    shift
    : >"$work/peak"
    (while :; do bytes; sleep 0.3; done >"$work/peak" 2>/dev/null) &
    local watcher=$!
    from=$(date +%s.%N)
    "$@" >"$work/out" 2>&1 || { cat "$work/out" >&2; kill $watcher; exit 1; }
    to=$(date +%s.%N)
    kill $watcher
    wait $watcher 2>/dev/null || true
    seconds=$(awk -v a="$from" -v b="$to" 'BEGIN { printf "%.1f", b - a }')
    used=$(bytes)
    peak_bytes=$(sort -n "$work/peak" | tail -1)
    printf '%-20s %6s s   peak %5s MB   final %5s MB\n' "$what" "$seconds" "$((peak_bytes / 1000000))" "$((used / 1000000))"
}

docker_load() {
    local image
    for image in 1 2 3 4; do on load --input "$work/image-$image.tar.gz"; done
}

ours() {
    unshare --mount sh -c 'mkdir -p /run/0711-bench && mount -t tmpfs none /run/0711-bench && ln -s "$1/docker.sock" /run/0711-bench/docker.sock &&
        touch /var/run/docker.sock && mount --bind "$1/docker.sock" /var/run/docker.sock && shift && exec "$@"' \
        sh "$work" "$program" bundle load "$work/$1" --trust-root "$work/trust/metadata/1.root.json" --root "$work/root"
}

# Stops a load when the engine holds 70 % of what it will hold.
interrupted() {
    ours bundle-1 >/dev/null 2>&1 &
    local loading=$!
    while [ "$(bytes)" -lt $((final * 7 / 10)) ] && kill -0 $loading 2>/dev/null; do sleep 0.1; done
    pkill -INT -f "bundle load $work/bundle-1" || true
    wait $loading 2>/dev/null || true
}

# The other transport, measured to know: a registry on 127.0.0.1 that serves the bundle's blobs as they are.
by_registry() {
    python3 "$here/scripts/bench-load-registry.py" "$work/bundle-1" 5799 &
    local registry=$!
    sleep 1
    local name
    for name in one two three four; do on pull "127.0.0.1:5799/bench/$name:1" || { kill $registry; return 1; }; done
    kill $registry
}

make_images() {
    local image
    echo "making 2 GB of images"
    engine_up
    rm -rf "$work/src" && mkdir -p "$work/src"
    # Half random, half text that compresses four to one.
    part() {
        python3 - "$work/src/$1" "$2" <<'EOF'
import base64, os, sys
half = int(sys.argv[2]) * 500_000
with open(sys.argv[1], "wb") as file:
    for start in range(0, half, 1 << 20):
        file.write(os.urandom(min(1 << 20, half - start)))
    for start in range(0, half, 304):
        file.write((base64.b64encode(os.urandom(57)) * 4)[: half - start])
EOF
    }
    part base 400
    part runtime 300
    for image in one two three four; do
        part "$image-lib" 200
        part "$image-app" 125
    done
    part changed 125
    build() {
        printf 'FROM scratch\nCOPY base /\nCOPY runtime /\nCOPY %s-lib /\nCOPY %s /\nCMD ["/x"]\n' "$1" "$2" >"$work/src/Dockerfile"
        DOCKER_BUILDKIT=0 on build --quiet --tag "bench/$1:1" "$work/src" >/dev/null
    }
    for image in one two three four; do build "$image" "$image-app"; done
    image=0
    for name in one two three four; do
        image=$((image + 1))
        on save "bench/$name:1" --output "$work/image-$image.tar"
        gzip --keep --fast --force "$work/image-$image.tar"
    done
    build one changed
    on save bench/one:1 --output "$work/image-1b.tar"
    engine_down
    rm -rf "$work/trust" "$work"/*.key "$work"/bundle-*
    "$program" release keygen --out "$work/root.key"
    "$program" release keygen --out "$work/release.key"
    "$program" release init --trust "$work/trust" --threshold 1 --root-key "$work/root.key" --release-key "$work/release.key"
    # One after the other and not in a list: what fails in a list does not end the script.
    bundle bundle-1 image-1.tar
    bundle bundle-2 image-1b.tar
    rm -rf "$work"/image-*.tar "$work/src"
}

bundle() {
    cat >"$work/$1.yaml" <<EOF
format: 1
channel: bench
minimum_agent: 0.1.0
models: []
images:
  - { name: bench/one, from: !docker-archive $2 }
  - { name: bench/two, from: !docker-archive image-2.tar }
  - { name: bench/three, from: !docker-archive image-3.tar }
  - { name: bench/four, from: !docker-archive image-4.tar }
EOF
    "$program" bundle build --spec "$work/$1.yaml" --out "$work/$1"
    "$program" release sign "$work/$1" --trust "$work/trust" --key "$work/release.key"
}

main "$@"
