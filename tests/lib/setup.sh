# SPDX-License-Identifier: BSD-3-Clause
# What ./run, ./test and the guest's builder share: packages, downloads, builds.
# shellcheck shell=bash disable=SC2034 # the lists are for who sources this

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=$root/.cache

# ---- packages of the distribution ----

# To build the library and the command.
packages_build=(gcc libc6-dev meson ninja-build pkg-config libglib2.0-dev
    libjson-glib-dev patch git)
# To boot a guest on the distribution's QEMU. The libraries are nginx's.
packages_guest=(qemu-system-x86 seabios ipxe-qemu python3 cpio
    libssl3 libpcre2-8-0 zlib1g libcrypt1)
# To run every test.
packages_test=(python3-pytest shellcheck)

# Fetched as .deb files and unpacked below .cache, never installed. The newer
# QEMU needs no library that the distribution's does not.
kernel_metapackage=linux-image-cloud-amd64
newer_qemu_suite=bookworm-backports

say() {
    printf '%s\n' "== $*" >&2
}

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Sets missing to those of the named packages that are not installed.
find_missing() {
    local package status
    missing=()
    for package; do
        status=$(dpkg-query -W -f '${db:Status-Status} ' "$package" \
            2>/dev/null) || status=
        [[ $status == *installed\ * && $status != *not-installed* ]] ||
            missing+=("$package")
    done
}

# install_packages PACKAGE...: nothing happens if all are there.
install_packages() {
    local -a as_root=() missing
    command -v dpkg-query >/dev/null ||
        die "this needs Debian 12 (no dpkg-query here); packages: $*"
    find_missing "$@"
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null ||
            die "as root, install first: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    as_root+=(env DEBIAN_FRONTEND=noninteractive)
    say "installing ${missing[*]}"
    if ! "${as_root[@]}" apt-get install -q -y --no-install-recommends \
        "${missing[@]}" </dev/null >"$cache/apt.log" 2>&1; then
        # Old package lists are the usual reason.
        "${as_root[@]}" apt-get update -q </dev/null >>"$cache/apt.log" 2>&1
        "${as_root[@]}" apt-get install -q -y --no-install-recommends \
            "${missing[@]}" </dev/null >>"$cache/apt.log" 2>&1 ||
            die "apt-get cannot install ${missing[*]}: see $cache/apt.log"
    fi
}

# ---- packages unpacked privately ----

host_suite() {
    # shellcheck source=/dev/null
    (. /etc/os-release && echo "${VERSION_CODENAME:?}")
}

# fetch_debs SUITE DIR PACKAGE...
fetch_debs() {
    "$root/patches/debian-fetch" binary "$@" >"$cache/fetch.log" 2>&1 ||
        die "cannot download ${*:3} of $1: see $cache/fetch.log"
}

# unpack_once NAME SUITE PACKAGE...: .cache/NAME holds the unpacked packages.
unpack_once() {
    local name=$1 suite=$2 new=$cache/$1.new deb
    [ ! -d "$cache/$name" ] || return 0
    say "fetching ${*:3} ($suite) into .cache/$name"
    rm -rf "$new"
    mkdir -p "$new/debs"
    fetch_debs "$suite" "$new/debs" "${@:3}"
    for deb in "$new"/debs/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$new" --no-same-owner ||
            die "cannot unpack $deb"
    done
    rm -rf "$new/debs"
    mv -T "$new" "$cache/$name"
}

prepare_newer_qemu() {
    unpack_once qemu-newer "$newer_qemu_suite" \
        qemu-system-x86 qemu-system-common qemu-system-data
}

# The machine's nginx if it has one. Installing the package would start a
# service on port 80, so that a missing one is unpacked privately instead.
prepare_nginx() {
    [ -x /usr/sbin/nginx ] || unpack_once nginx "$(host_suite)" nginx
}

prepare_guest() {
    "$root/tests/e2e/guest/build" >/dev/null
}

# ---- builds ----

# build_tree DIR [MESON OPTION]...: configures once, then compiles.
build_tree() {
    local dir=$1 log=$cache/${1##*/}.log
    if ! "$root/patches/patchset" fetch >"$log" 2>&1; then
        cat "$log" >&2
        printf '%s: %s\n' "${0##*/}" "cannot fetch libslirp's sources" >&2
        return 1
    fi
    if [ ! -f "$dir/build.ninja" ]; then
        say "configuring ${dir##*/}"
        meson setup "$dir" "$root" "${@:2}" >>"$log" 2>&1 || {
            tail -n 20 "$log" >&2
            printf '%s: %s\n' "${0##*/}" "meson setup failed: see $log" >&2
            return 1
        }
    fi
    meson compile -C "$dir" >>"$log" 2>&1 || {
        tail -n 40 "$log" >&2
        printf '%s: %s\n' "${0##*/}" "the build failed: see $log" >&2
        return 1
    }
}

mkdir -p "$cache"
