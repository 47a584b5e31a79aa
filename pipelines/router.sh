#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Runs a router that connects origins and edges.
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
with the option --router connect through it, even if they cannot reach each other. An
origin sends each frame to it only once. The first run builds it, in some five minutes.

$listen_here
  --connect EP  the endpoint of another router to exchange all frames with; may be
                repeated. If one of two fails, origins and edges use the other.
$network_options
  --publishers F  allow only the publishers in this file, and only the keys in it. A line
                has the common name of a certificate, followed by keys, as in
                  door cam/door/**
                and # starts a comment. Another router that forwards frames to this one
                needs a line, too. All others can only watch. Needs --tls.
  --help        print this text

Press q in the terminal or Ctrl-C to stop.

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
        --router) usage_error "there is no option $1: name another router with --connect" ;;
        -?*) network_option "$@" || listening_option "$@" || common_option "$@"; shift "$taken" ;;
        *) usage_error "unexpected argument '$1'" ;;
    esac
done

[[ -z $publishers ]] || ((${#tls[@]})) || usage_error '--publishers needs --tls: the names are those in the certificates'

for n in "${!others[@]}"; do
    others[n]=$(endpoint "${others[n]}")
done

# read_publishers FILE: adds a rule for each line.
read_publishers() {
    local line words key n=0
    while IFS= read -r line || [[ -n $line ]]; do
        line=${line%$'\r'}
        ((++n))
        read -r -a words <<<"${line%%#*}"
        ((${#words[@]} != 1)) || die "$1, line $n: no key follows '${words[0]}'"
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

on_line() {
    last_line=$2
    case $2 in
        *' INFO '*'Zenoh can be reached at'*) invite ;;
        *'Unable to open listener '*) cannot_start "${2#*listener *: }" ;;
        *' WARN '* | *' ERROR '*) warn "${2#*) }" ;;
        *'Failed to '* | *'Unable to '*) failure=${failure:-$2} ;;
    esac
}

# warn TEXT: prints each warning once, because refused clients retry.
declare -A warned=()
warn() {
    local text=${1#*: }
    # This hint is wrong here.
    text=${text%. Hint: increase the system open file limit.}
    [[ -z ${warned[$text]-} ]] || return 0
    warned[$text]=yes
    case $text in
        'invalid peer certificate: '* | 'peer sent no certificates') complain "refused a connection: $text" ;;
        *) complain "$text" ;;
    esac
}

invited=
invite() {
    local at
    [[ -z $invited ]] || return 0
    invited=yes
    at=$(public_endpoint)
    say "Routing at $at; connect to it with: pipelines/origin.sh --router $at$tls_arguments ..., pipelines/edge.sh --router $at$tls_arguments"
    ! local_only || say 'Only this machine can connect; --host 0.0.0.0 lets others connect as well.'
}
follow
outcome 'The router has ended.'
