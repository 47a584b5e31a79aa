#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Runs a router between origin.sh and edge.sh.
# shellcheck source=common.sh source-path=SCRIPTDIR
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=zenoh/common.sh
. "$here/zenoh/common.sh"

needed=(--router)
others=()
publishers=

usage() {
    cat <<USAGE
Usage: pipelines/$me [OPTION...]

Runs Zenoh's router, zenohd: origins (pipelines/origin.sh) and edges (pipelines/edge.sh)
that are told --router meet there, also where neither can reach the other. An origin sends
each picture to it once. The first time it is built: some five minutes.

$listen_here
  --connect EP  the endpoint of another router to share everything with; may be given
                again. When one of two is gone, everybody goes on with the other.
$network_options
  --publishers F  let only those publish whom this file names, and only what it says. A
                line is the common name of a certificate and keys, as in
                  door cam/door/**
                and # begins a remark. Another router that passes pictures on to this one
                needs a line, too. Who is not named can watch. Needs --tls.
  --help        this text

q in the terminal or Ctrl-C ends it.

Example, on two machines, r1 and r2:
  pipelines/$me --host 0.0.0.0
  pipelines/$me --host 0.0.0.0 --connect r1
USAGE
}

split_options "$@"
set -- "${words[@]}"
while (($#)); do
    case $1 in
        --connect) value_of "$@" && others+=("$value") && shift 2 ;;
        --publishers) value_of "$@" && readable_file "$value" && publishers=$value && shift 2 ;;
        --router) usage_error "there is no option $1: another router is told with --connect" ;;
        -?*) network_option "$@" || listening_option "$@" || common_option "$@"; shift "$taken" ;;
        *) usage_error "'$1' is too much" ;;
    esac
done

[[ -z $publishers ]] || ((${#tls[@]})) || usage_error '--publishers needs --tls: the names are those in the certificates'

for n in "${!others[@]}"; do
    others[n]=$(endpoint "${others[n]}")
done

# read_publishers FILE: allows what it says.
read_publishers() {
    local line words key n=0
    while IFS= read -r line || [[ -n $line ]]; do
        line=${line%$'\r'}
        ((++n))
        read -r -a words <<<"${line%%#*}"
        ((${#words[@]} != 1)) || die "$1, line $n: no key stands behind '${words[0]}'"
        for key in "${words[@]:1}"; do
            is_key "$key" expression || die "$1, line $n: '$key' is not a key: write $like"
            allow "cert_common_names: [$(quoted "${words[0]}")]" ingress put "$key" "$key/$hello"
        done
    done <"$1"
}

access=()
if [[ -n $publishers ]]; then
    allow_watching
    read_publishers "$publishers"
    access=("$(access_control)")
fi
write_configuration router router "$(quoted "$(endpoint "$(address "$host" "$port")")")" \
    "$(quoted "${others[@]}")" "${access[@]}"
say "$(shell_line "$zenoh_dir/bin/zenohd" --config "$written")"
[[ -z $dry_run ]] || exit 0
prepare
export NO_COLOR=1 RUST_LOG=z=info
start zenohd "$zenoh_dir/bin/zenohd" --config "$written" </dev/null

heard() {
    last_line=$2
    case $2 in
        *' INFO '*'Zenoh can be reached at'*) invite ;;
        *'Unable to open listener '*) cannot_start "${2#*listener *: }" ;;
        *' WARN '* | *' ERROR '*) warn "${2#*) }" ;;
        *'Failed to '* | *'Unable to '*) failure=${failure:-$2} ;;
    esac
}

# warn TEXT: each only once, as those who are turned away try again.
declare -A warned=()
warn() {
    local text=${1#*: }
    # It is not.
    text=${text%. Hint: increase the system open file limit.}
    [[ -z ${warned[$text]-} ]] || return 0
    warned[$text]=yes
    case $text in
        'invalid peer certificate: '* | 'peer sent no certificates') complain "somebody is turned away: $text" ;;
        *) complain "$text" ;;
    esac
}

invited=
invite() {
    local at
    [[ -z $invited ]] || return 0
    invited=yes
    at=$(invited_to)
    say "Routing at $at; meet there with: pipelines/origin.sh --router $at$certified ..., pipelines/edge.sh --router $at$certified"
    ! only_here || say 'Only this machine can reach it; --host 0.0.0.0 lets others in as well.'
}
follow
outcome 'The router has ended.'
