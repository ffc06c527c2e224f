#!/usr/bin/env bash
# Tells the short story in containers (tests/it/docker.rs) on engines other than the one that runs here. Each engine gets mounts, network and
# processes of its own, so that it finds its usual places empty, the installed engine is not touched, and nothing is left. Needs root.
#
#   scripts/test-engines.sh              both
#   scripts/test-engines.sh 20.10        Docker 20.10, as Debian 12 has it: it takes unpacked layers only
#   scripts/test-engines.sh containerd   the engine that is installed, with its images in containerd
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work="$here/target/engines"
story=docker::engines::the_short_story_on_the_engine_that_is_here

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

# Unpacks Debian 12's own engine below target/; nothing is installed.
unpack_old() {
    local root="$work/20.10"
    [ -x "$root/usr/sbin/dockerd" ] && return
    mkdir -p "$work/packages"
    (
        cd "$work/packages"
        # As root all the same: apt's own user cannot enter every checkout.
        apt-get download -qq -o APT::Sandbox::User=root 'docker.io=20.10*' 'containerd=1.6.*' 'runc=1.1.5*' || {
            printf 'error: this machine'"'"'s package sources have no Docker 20.10 (Debian 12 has it)\n' >&2
            exit 1
        }
    )
    local package
    for package in "$work/packages"/*.deb; do dpkg -x "$package" "$root"; done
    rm -r "$work/packages"
}

# Inside the namespaces: starts the engine, tells the story.
inside() {
    local kind=$1 data="$work/data-$1" log="$work/dockerd-$1.log" path=$PATH
    # Sockets, locks and the state of another engine or containerd lie there.
    mount -t tmpfs -o mode=755 tmpfs /run
    ip link set lo up
    local options=(--data-root "$data")
    case $kind in
        20.10) path="$work/20.10/usr/sbin:$work/20.10/usr/bin:$PATH" ;;
        containerd)
            printf '{"features": {"containerd-snapshotter": true}}\n' >"$work/containerd.json"
            options+=(--config-file "$work/containerd.json")
            ;;
    esac
    rm -rf "$data"
    PATH=$path dockerd "${options[@]}" >"$log" 2>&1 </dev/null &
    local _
    for _ in $(seq 60); do
        docker --host unix:///var/run/docker.sock info >/dev/null 2>&1 && break
        sleep 1
    done
    local ended=0
    ZERO711_SOAK=1 ZERO711_TEST_ENGINE=$kind cargo test --offline --workspace --locked --test it -- --exact --nocapture "$story" || ended=$?
    [ "$ended" = 0 ] || tail -n 30 "$log" >&2
    exit "$ended"
}

if [ "${1:-}" = --inside ]; then
    inside "$2"
fi

[ "$(id -u)" = 0 ] || {
    printf 'error: only root can start an engine\n' >&2
    exit 1
}
cd "$here"
if ! command -v cargo >/dev/null; then . "$HOME/.cargo/env"; fi
cargo test --workspace --locked --test it --no-run
for kind in ${1:-20.10 containerd}; do
    case $kind in
        20.10) unpack_old ;;
        containerd) command -v dockerd >/dev/null || {
            printf 'error: no engine is installed\n  remedy: run `scripts/setup.sh test`\n' >&2
            exit 1
        } ;;
        *)
            printf 'error: there is no engine `%s`\n' "$kind" >&2
            exit 2
            ;;
    esac
    say "engine $kind"
    mkdir -p "$work"
    # With its first process everything in the namespaces ends.
    unshare --mount --net --pid --fork --kill-child --mount-proc bash "${BASH_SOURCE[0]}" --inside "$kind"
    rm -rf "$work/data-$kind"
done
