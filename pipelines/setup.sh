#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Installs missing packages, builds the plugin, prints the environment to find it.
# shellcheck source=common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

usage() {
    cat <<USAGE
Usage: pipelines/$me [--zenoh] [--router] [--also PACKAGE...]

Installs the Debian or Ubuntu packages that are missing (as root, or with sudo),
checks the Rust compiler, builds the plugin, and prints the line that lets
GStreamer find it. Skips what is done already. Every script here calls it.

  --zenoh            also build what origin.sh and edge.sh need: the plugin that
                     connects GStreamer to Zenoh, in a directory of its own
  --router           also install what router.sh needs: Zenoh's router
  --also PACKAGE...  also install these packages
  --help             print this text

Environment:
  B64JPEG_PLUGIN_DIR  a directory with a $plugin_file that is built already:
                      it is used unchanged, nothing is installed or built
  B64JPEG_ZENOH_DIR   where Zenoh is built (default: target/zenoh)
  CARGO_TARGET_DIR    where cargo builds (default: target)

Example, for a shell of your own:
  eval "\$(pipelines/$me)"
  gst-inspect-1.0 b64jpegpay
USAGE
}

# Packages to build and run the plugin, and the tools of these scripts.
packages=(
    gcc libc6-dev pkg-config libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev
    gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-base-apps gstreamer1.0-plugins-good
    gstreamer1.0-plugins-bad gstreamer1.0-libav gstreamer1.0-x
    v4l-utils
)

zenoh=
router=
while (($#)); do
    case $1 in
        --zenoh) shift && zenoh=yes ;;
        --router) shift && router=yes ;;
        --also) shift && packages+=("$@") && break ;;
        --help) usage && exit ;;
        *) usage_error "there is no option $1" ;;
    esac
done

# Only the environment is printed to standard output, so that a shell can evaluate it.
exec 3>&1 1>&2

manifest=$root/Cargo.toml
built=$(dirname "$plugin_dir")/release/$plugin_file

# at_least WANTED VERSION: succeeds if VERSION is WANTED or newer.
at_least() {
    printf '%s\n' "$1" "$2" | sort --check=quiet --version-sort
}

install_packages() {
    local missing=() as_root=() package
    if ! command -v dpkg-query apt-get >/dev/null; then
        say 'This is neither Debian nor Ubuntu: GStreamer, its plugins and its development files are assumed to be installed.'
        return
    fi
    for package in "${packages[@]}"; do
        # dpkg also knows packages that are not installed: their status is "not-installed".
        grep -qx installed <<<"$(dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null)" || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    if ((EUID)); then
        command -v sudo >/dev/null ||
            die "packages are missing and there is no sudo; run as root: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    say "Installing ${missing[*]}."
    "${as_root[@]}" apt-get -qq update || complain 'the package lists could not be updated; trying with the old ones'
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 install --yes --no-install-recommends "${missing[@]}" ||
        die "apt-get failed; fix that, or run as root: apt-get install ${missing[*]}"
}

check_gstreamer() {
    local wanted version
    wanted=$(sed -n '/^gst = /s/.*"v\([0-9]*\)_\([0-9]*\)".*/\1.\2/p' "$manifest")
    version=$(pkg-config --modversion gstreamer-1.0) || die 'the development files of GStreamer are not found'
    at_least "$wanted" "$version" ||
        die "GStreamer $version is too old: $wanted or newer is needed, as in Debian 12 and Ubuntu 24.04"
}

check_rust() {
    local wanted version advice='https://rustup.rs installs it'
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$manifest")
    PATH=$PATH:$HOME/.cargo/bin
    command -v cargo rustc >/dev/null || die "there is no Rust compiler; $advice ($wanted or newer is needed)"
    ! command -v rustup >/dev/null || advice="'rustup update stable' gets it"
    version=$(rustc --version) || die "the Rust compiler does not start; $advice"
    version=${version#rustc }
    version=${version%%[ -]*}
    at_least "$wanted" "$version" || die "Rust $version is too old: $wanted or newer is needed; $advice"
}

build() {
    local newer
    if [[ -e $built ]]; then
        newer=$(find "$root/src" "$root/crates" "$root/build.rs" "$manifest" "$root/Cargo.lock" -newer "$built" -print -quit)
        [[ -n $newer ]] || return 0
    fi
    check_gstreamer
    check_rust
    say 'Building the plugin.'
    cargo build --quiet --release --locked --lib --manifest-path "$manifest" || die 'the plugin could not be built'
    # Cargo does not write the file if its contents are unchanged.
    touch "$built"
}

# The dependencies to build, and their versions.
zenoh_manifest=$here/zenoh/Cargo.toml
zenoh_lock=$here/zenoh/Cargo.lock

# locked CRATE: prints its version in the lock file.
locked() {
    grep -A1 -Fx "name = \"$1\"" "$zenoh_lock" | sed -n 's/^version = "\(.*\)"/\1/p'
}

# Succeeds if the build is from this lock file. Compares contents, because git sets the time of
# a file at its checkout.
zenoh_is_built() {
    cmp -s "$zenoh_lock" "$zenoh_dir/Cargo.lock"
}

# Removes the build directory afterwards: it is large.
build_zenoh() {
    local scratch=$zenoh_dir/build quiet=() lock
    ! zenoh_is_built || return 0
    # Another script may be building it at the same time.
    mkdir -p "$zenoh_dir"
    exec {lock}>"$zenoh_dir/lock"
    flock "$lock"
    ! zenoh_is_built || return 0
    check_gstreamer
    check_rust
    say "Building the Zenoh plugin (gst-plugin-zenoh $(locked gst-plugin-zenoh), Zenoh $(locked zenoh)), once: some
five minutes on two cores, and 700 MB of disk, of which 20 MB stay in $zenoh_dir."
    [[ -t 2 ]] || quiet=(--quiet)
    cargo build "${quiet[@]}" --release --locked --package gst-plugin-zenoh --manifest-path "$zenoh_manifest" \
        --target-dir "$scratch" || die 'the Zenoh plugin could not be built'
    install -D --target-directory "$zenoh_dir/gstreamer-1.0" "$scratch/release/libgstzenoh.so"
    rm -rf "$scratch"
    cp "$zenoh_lock" "$zenoh_dir"
}

install_router() {
    local version quiet=()
    version=$(locked zenoh)
    [[ $("$zenoh_dir/bin/zenohd" --version 2>/dev/null) != *" v$version"* ]] || return 0
    check_rust
    say "Building Zenoh's router (zenohd $version), once: some five minutes on two cores, and 700 MB
of disk, of which 30 MB stay in $zenoh_dir."
    [[ -t 2 ]] || quiet=(--quiet)
    env -u CARGO_TARGET_DIR cargo install "${quiet[@]}" --locked --root "$zenoh_dir" "zenohd@$version" ||
        die "Zenoh's router could not be built"
}

if [[ -n ${B64JPEG_PLUGIN_DIR:-} ]]; then
    [[ -e $plugin_dir/$plugin_file ]] || die "B64JPEG_PLUGIN_DIR has no $plugin_file in it: $plugin_dir"
else
    install_packages
    build
    mkdir -p "$plugin_dir"
    [[ $plugin_dir/$plugin_file -ef $built ]] || ln -sf "../release/$plugin_file" "$plugin_dir/"
fi
if [[ -n $zenoh ]]; then
    build_zenoh
    GST_PLUGIN_PATH=$zenoh_dir/gstreamer-1.0:$GST_PLUGIN_PATH
fi
[[ -z $router ]] || install_router
printf 'export GST_PLUGIN_PATH=%s\n' "$(shell_line "$GST_PLUGIN_PATH")" >&3
