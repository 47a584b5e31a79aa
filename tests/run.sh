#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    cat <<'EOF'
Usage: tests/run.sh [--quick]

Checks everything: format, lints, documentation, tests, benches, fuzz targets,
installation, licences. First installs what is missing (Debian or Ubuntu, as
root or with sudo). Stops at the first failure and prints what that step said.

  --quick   no fuzzing, no installation, no licences; Zenoh only if it is built already
  --help    this text

Environment:
  FUZZ_SECONDS   how long each fuzz target runs, in seconds (6)
EOF
}

# What only the tests need; pipelines/setup.sh knows the rest.
packages=(
    chromium     # watches as most people do
    curl ffmpeg  # watch as programs do that know HTTP only; ffmpeg films for the benches
    g++          # compiles libFuzzer
    iproute2     # networks in which nobody answers
    meson        # brings ninja
    procps       # kill
    python3-gi gir1.2-gst-plugins-base-1.0 # for the example in Python
    python3-opencv # an OpenCV that takes GStreamer pipelines
    python3-venv   # for the peers in Python
    shellcheck
    xdotool # presses keys
    xvfb    # a display for the windows
)
# Node from elsewhere brings its own npm, and cannot be installed beside Debian's.
command -v npm >/dev/null || packages+=(nodejs npm)

# cargo-fuzz's coverage feedback. Its sanitizers need a nightly compiler, this does not.
coverage=(
    --cfg=fuzzing
    -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
    -Cllvm-args=-simplifycfg-branch-fold-threshold=0
)

logs=target/test-logs
tools=$PWD/target/tools
running=

# step NAME COMMAND...: runs it without input and with its output in a file.
step() {
    local start=$SECONDS
    running=$1
    log=$logs/${1// /-}.log
    printf '%-20s' "$1"
    ("${@:2}") >"$log" 2>&1 </dev/null
    printf '%4d s' $((SECONDS - start))
    # A step that could not do its work says so in a line of its own.
    sed -n 's/^skipped: /  &/p' "$log" | tr -d '\n'
    printf '\n'
    running=
}

# Whatever happens, the last line counts the test cases.
finish() {
    local status=$? passed failed ignored
    if [[ $running ]]; then
        printf 'FAILED\n\n'
        cat "$log"
        printf '\ntests/run.sh: "%s" failed; its output is above and in %s\n' "$running" "$log"
    fi
    # A test binary without a result has crashed.
    read -r passed failed ignored < <(awk '
        /^ +Running |^ +Doc-tests / { ++failed }
        /^test result:/ { --failed; passed += $4; failed += $6; ignored += $8 }
        END { print +passed, +failed, +ignored }' "$logs/tests.log")
    ((ignored == 0)) || echo "$ignored ignored"
    # A failure elsewhere is one, too.
    ((status == 0 || failed > 0)) || failed=1
    echo "$passed passed, $failed failed"
}

components() {
    if ! { cargo fmt --version && cargo clippy --version; } && ! rustup component add rustfmt clippy; then
        echo 'rustfmt and clippy are missing, and rustup cannot install them'
        return 1
    fi
}

format() {
    cargo fmt --all --check -- --color never
    cargo fmt --check --manifest-path fuzz/Cargo.toml -- --color never
}

# With and without what is optional.
lints() {
    cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
    cargo clippy --locked --workspace --all-targets --no-default-features -- -D warnings
}

# What has no GStreamer in it cannot link it.
layers() {
    local tree
    tree=$(cargo tree --locked --package b64jpeg-wire --package b64jpeg-net --all-features --edges normal,build \
        --prefix none --format '{p}')
    grep -q '^b64jpeg-net ' <<<"$tree"
    if grep -E '^(gst|glib|gobject|gio)' <<<"$tree"; then
        echo 'b64jpeg-wire and b64jpeg-net must not depend on these'
        return 1
    fi
}

documentation() {
    RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items
    docs/scale.py --check
}

tests() {
    export G_DEBUG=fatal-warnings GST_REGISTRY=$PWD/target/registry.bin
    cargo test --workspace --no-fail-fast "$@"
}

fuzz_build() {
    RUSTFLAGS="${coverage[*]} -Dwarnings" cargo build --locked --release --all-features --manifest-path fuzz/Cargo.toml \
        --target-dir fuzz/target --target "$(rustc --print host-tuple)"
}

fuzz() {
    export GST_REGISTRY=$PWD/fuzz/target/registry.bin
    mkdir -p "fuzz/corpus/$1" "fuzz/artifacts/$1"
    "fuzz/target/$(rustc --print host-tuple)/release/$1" "fuzz/corpus/$1" tests/vectors \
        -dict=fuzz/dictionary.txt -artifact_prefix="fuzz/artifacts/$1/" -max_total_time="${FUZZ_SECONDS:-6}" \
        -timeout=10 -rss_limit_mb=512 -print_final_stats=1
    [[ $(<"$log") == *'inline 8-bit counters'* ]] # or it was blind
}

# Cargo's results are shared with the other steps, so that nothing is built again.
installation() {
    local build=$PWD/target/meson
    export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target} GST_REGISTRY=$build/registry.bin
    rm -rf "$build"
    meson setup "$build"
    DESTDIR=$build/root meson install -C "$build"
    meson devenv -C "$build" gst-inspect-1.0 b64jpeg
    GST_PLUGIN_PATH=$build/root$(pkg-config --variable=pluginsdir gstreamer-1.0) gst-inspect-1.0 b64jpeg
}

licences() {
    # Optimising it would take longer than it ever runs.
    command -v cargo-deny || env -u CARGO_TARGET_DIR \
        cargo install cargo-deny@0.20.2 --locked --debug --root "$tools"
    cargo deny check licenses bans sources
}

advisories() {
    if cargo deny fetch db; then
        cargo deny check advisories
    else
        echo 'skipped: the RustSec advisory database cannot be fetched from here'
    fi
}

quick=false
case ${1-} in
    '') ;;
    --quick) quick=true ;;
    --help)
        usage
        exit
        ;;
    *)
        echo "tests/run.sh: there is no option '$1' ('tests/run.sh --help' explains)" >&2
        exit 2
        ;;
esac

rm -rf "$logs"
mkdir -p "$logs"
: >"$logs/tests.log"
PATH=$PATH:$HOME/.cargo/bin:$tools/bin
# Another build of the plugin is not what is tested.
unset GST_PLUGIN_PATH
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

$quick || step zenoh pipelines/setup.sh --zenoh --router
step setup pipelines/setup.sh --also "${packages[@]}"
step components components
step format format
step scripts shellcheck -x .ci/run tests/*.sh pipelines/*.sh pipelines/zenoh/*.sh
step lints lints
step layers layers
step documentation documentation
step tests tests
step benches tests --benches -- --test
if ! $quick; then
    step 'fuzz targets' fuzz_build
    for target in fuzz/fuzz_targets/*.rs; do
        step "fuzz $(basename "$target" .rs)" fuzz "$(basename "$target" .rs)"
    done
    step installation installation
    step licences licences
    step advisories advisories
fi
grep -hE '^ +(Running|Doc-tests) |^test result:' "$logs/tests.log"
