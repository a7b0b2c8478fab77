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
# To run every test. The last libraries are chrony's and PostgreSQL's.
packages_test=(python3-pytest python3-prometheus-client pyflakes3 shellcheck
    clang libclang-rt-14-dev clang-format-14 clang-tidy-14 cppcheck codespell mandoc man-db
    gcc-i686-linux-gnu gcc-s390x-linux-gnu qemu-user debootstrap
    abigail-tools binutils
    slirp4netns socat netcat-openbsd vdens libvdeplug-slirp libslirp-helper
    iproute2 qemu-utils
    dpkg-dev debhelper lintian dnsmasq-base tzdata
    libcap2 libgnutls30 libnettle8 libseccomp2 libgssapi-krb5-2 libicu72
    libldap-2.5-0 liblz4-1 libpam0g libpq5 libstdc++6 libsystemd0 libxml2
    libzstd1)
# To build QEMU (7.2 wants pixman and libfdt), and to ask it.
packages_qemu=(zlib1g-dev libseccomp-dev libpixman-1-dev libfdt-dev
    python3-venv xz-utils perl ccache libxml2-utils)

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

# The same for the time server, which would set the clock, and the database,
# which would make a cluster.
prepare_chrony() {
    [ -x /usr/sbin/chronyd ] || unpack_once chrony "$(host_suite)" chrony
}

prepare_postgresql() {
    compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null ||
        unpack_once postgresql "$(host_suite)" postgresql-15
}

# The distribution's libslirp, whatever is installed here.
prepare_distribution() {
    unpack_once libslirp-distribution "$(host_suite)" libslirp0
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

# export_library FROM TO: a private copy of installed development files, whose
# slirp.pc says where they are.
export_library() {
    local pc new=$2.new
    rm -rf "$new"
    cp -a "$1" "$new"
    pc=$(find "$new" -name slirp.pc)
    sed -i "s|^prefix=|&$2|" "$pc"
    rm -rf "$2"
    mv -T "$new" "$2"
}

# build_qemu SLIRP_PC KIND RELEASE: the directory of the result.
build_qemu() {
    "$root/patches/qemu-build" --slirp "$@"
}

# prepare_libraries BUILD: the library of that build directory and, for
# comparisons, the distribution's. Sets library_pc and stock_pc to the
# directories of the two slirp.pc.
prepare_libraries() {
    local staged=$cache/library.staged
    rm -rf "$staged"
    meson install -C "$1" --no-rebuild --destdir "$staged" \
        >"$cache/install.log" || return 1
    export_library "$staged" "$cache/library"
    rm -rf "$staged"
    unpack_once libslirp-stock "$(host_suite)" libslirp-dev libslirp0
    [ -d "$cache/library-stock" ] ||
        export_library "$cache/libslirp-stock" "$cache/library-stock"
    library_pc=$(dirname "$(find "$cache/library" -name slirp.pc)")
    stock_pc=$(dirname "$(find "$cache/library-stock" -name slirp.pc)")
}

# prepare_qemu BUILD: QEMU with our patches, against both libraries.
prepare_qemu() {
    local pc release
    prepare_libraries "$1" || return 1
    unpack_once libvirt "$(host_suite)" libvirt0 # its schemas
    say "building QEMU 10.0 with our patches, compiling them in 7.2 and 10.2"
    for pc in "$library_pc" "$stock_pc"; do
        build_qemu "$pc" binary 10.0 >/dev/null || return 1
        for release in 7.2 10.2; do # the cases tell if one is missing
            build_qemu "$pc" compile "$release" >/dev/null || :
        done
    done
}

mkdir -p "$cache"
