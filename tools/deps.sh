#!/bin/sh
# Installs the Debian packages for a purpose, when any of them is missing.
#
#     tools/deps.sh build|test|demo|bench|fuzz|peers
set -eu

build="gcc libc6-dev make meson ninja-build pkg-config ca-certificates
    libuv1-dev libcurl4-openssl-dev libssl-dev libyaml-dev libpg-query-dev libprotobuf-c-dev
    libpq-dev libcmocka-dev"
bed="postgresql-15 libpam0g-dev python3 python3-jwt python3-cryptography openssl curl"
test="python3-pytest python3-psycopg2 python3-prometheus-client python3-boto3 python3-yaml
    libnss-wrapper"
case "${1:-}" in
build) wanted="$build" ;;
demo) wanted="$build $bed" ;;
test) wanted="$build $bed $test" ;;
peers) wanted="$build $bed $test python3-venv nginx-light" ;;
bench) wanted="$build $bed python3-boto3 wrk nginx-light" ;;
fuzz) wanted="$build clang libclang-rt-14-dev llvm" ;;
*)
    echo "usage: tools/deps.sh build|test|demo|bench|fuzz|peers" >&2
    exit 2
    ;;
esac

missing=""
for package in $wanted; do
    state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

sudo=""
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "Error: root is needed to install:$missing" >&2
        echo "Run this as root, or install sudo, or install these packages yourself." >&2
        exit 1
    fi
    sudo=sudo
fi

log=$(mktemp)
conf=/etc/postgresql-common/createcluster.conf
kept=""
# Whatever happens, the machine's own setting comes back.
finish() {
    [ -z "$kept" ] || $sudo cp "$kept" "$conf"
    rm -f "$log" ${kept:+"$kept"}
}
trap finish EXIT
trap 'exit 130' INT TERM

apt_get() {
    if ! $sudo env DEBIAN_FRONTEND=noninteractive apt-get "$@" >"$log" 2>&1; then
        cat "$log" >&2
        echo "Error: apt-get $* failed" >&2
        exit 1
    fi
}

echo "installing Debian packages:$missing"
apt_get update
case " $missing " in
*" postgresql-15 "*)
    # Debian would make a server of its own on port 5432 and start it; none is wanted here.
    apt_get install -y --no-install-recommends postgresql-common
    if [ -f "$conf" ]; then
        kept=$(mktemp)
        cp "$conf" "$kept"
        echo "create_main_cluster = false" | $sudo tee -a "$conf" >/dev/null
    fi
    ;;
esac
# shellcheck disable=SC2086
apt_get install -y --no-install-recommends $missing
