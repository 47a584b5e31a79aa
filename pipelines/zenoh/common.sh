# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # other scripts set or use some variables
#
# Shared code of origin.sh, edge.sh and router.sh. Sourced after ../common.sh, never run.

export GST_PLUGIN_PATH=$zenoh_dir/gstreamer-1.0:$GST_PLUGIN_PATH
# Zenoh's writes over TLS raise SIGPIPE, which gst-launch-1.0 does not ignore: without this an
# edge that disconnects in the middle of a frame would end the origin.
trap '' PIPE
# A zenohsrc that receives nothing does not end on SIGINT.
death_signal=TERM
needed=(--zenoh)
default_zenoh_port=7447
default_key=cam/main/jpeg
# Appended to a camera's key: the key where its origin publishes a hello once a second.
# Expressions such as cam/*/jpeg do not match it, because * matches no chunk that begins with @.
hello=@hello
# Zenoh rejects larger samples before it reassembles them.
largest_sample=$((64 << 20))
largest_hello=$((64 << 10))
# More of Zenoh's threads: by default one for each kind of work, and at most 50 that may block.
# Closing a connection to an edge that is cut off blocks one of each kind for seconds, during which
# the other edges have to be served. Each frame that waits for a slow edge blocks one of the others.
export ZENOH_RUNTIME=${ZENOH_RUNTIME:-'(net: (worker_threads: 16, max_blocking_threads: 1000), tx: (worker_threads: 4))'}

# ---- options ----------------------------------------------------------------

host=127.0.0.1
port=$default_zenoh_port
routers=()
tls=()  # certificate, key, and the certificate of the authority for the peers
tls_arguments= # what to add to the printed command lines for the peers
config= # the user's own Zenoh configuration
network_options="  --tls CERT KEY CA  encrypt and authenticate both sides: use this certificate and key, and
                accept only peers with a certificate signed by CA; all in PEM format
  --config F    use this Zenoh configuration instead of these options: endpoints,
                encryption and access control. An origin then does not announce itself
                to edges, which find it only by its exact key"
router_option="  --router EP   the endpoint of a router, instead of a direct connection; may be
                repeated: if one fails, the next one is used"

# network_option WORD...: an option parser, as in ../common.sh.
network_option() {
    taken=2
    case $1 in
        --router) value_of "$@" && routers+=("$value") ;;
        --config) value_of "$@" && readable_file "$value" && config=$(realpath -ms -- "$value") ;;
        --tls)
            (($# > 3)) || usage_error '--tls needs a certificate, its key, and the certificate of its authority'
            pem_file "$2" CERTIFICATE
            pem_file "$3" 'PRIVATE KEY'
            pem_file "$4" CERTIFICATE
            tls_arguments=' --tls CERT KEY CA'
            taken=4
            ;;
        *) return 1 ;;
    esac
}

# pem_file FILE WHAT: adds a file to `tls`; dies if it has no WHAT.
pem_file() {
    readable_file "$1"
    [[ -n $dry_run ]] || grep -q -- "^-----BEGIN .*$2-----" "$1" || die "'$1' has no ${2,,} in PEM format in it"
    tls+=("$(realpath -ms -- "$1")")
}

listen_here="  --host H      the address to listen on: 127.0.0.1 (default), only this machine;
                0.0.0.0 or ::, all addresses
  --port P      the port (default $default_zenoh_port)"

listening_option() {
    taken=2
    case $1 in
        --host) value_of "$@" && host=$value ;;
        --port) value_of "$@" && number --port "$value" 1 65535 && port=$value ;;
        *) return 1 ;;
    esac
}

# is_key KEY [expression]: succeeds if KEY is a key without characters that are special to Zenoh
# or a shell; with 'expression', a key expression is accepted, too. Sets `like` to a description.
is_key() {
    local name='[[:alnum:]_.:+-]+' wild=
    like="names of letters, digits, dots and the like with / between them, such as $default_key"
    [[ ${2-} != expression ]] || { wild='|\*\*?' && like+=', or * for any name'; }
    [[ $1 =~ ^($name$wild)(/($name$wild))*$ ]]
}

check_key() {
    is_key "$@" || usage_error "'$1' is not a key: write $like"
}

# endpoint ADDRESS: prints it in Zenoh's format; the protocol and the port may be omitted.
endpoint() {
    if [[ $1 == */* ]]; then
        printf '%s' "$1"
    else
        local host port
        default_port=$default_zenoh_port parse_address "$1"
        printf '%s/%s' "$(protocol)" "$(address "$host" "$port")"
    fi
}

protocol() {
    ((${#tls[@]})) && printf tls || printf tcp
}

# ---- configuration ----------------------------------------------------------

# quoted WORD...: prints the items of a JSON list.
quoted() {
    local word list=
    for word; do
        word=${word//\\/\\\\}
        list+=", \"${word//\"/\\\"}\""
    done
    printf '%s' "${list#, }"
}

# configuration MODE LISTEN CONNECT [FIELD...]: prints a Zenoh configuration. LISTEN and CONNECT
# are lists of endpoints; FIELDs are added unchanged. MODE `probe` is a peer that tries to connect
# only once: see `probe` below.
#
# Discovery is off: peers connect only to the endpoints given. Otherwise they would pass on the
# addresses of strangers, who could then publish to all of them.
#
# block_first: for each edge one whole frame waits (** does not match hello), and newer frames
# are dropped meanwhile. With `drop` the publisher would wait up to 50 ms for each slow edge and
# then cut the frame off in the middle: a line with half the needed rate would never carry a frame.
# A peer that sends nothing for 2 s (lease), or that takes less than the first 64 KB of a frame
# in 2.5 s (wait_before_close), is disconnected, and reconnects. The lease has to be the shorter:
# wait_before_close closes the connection with data still under way, and Zenoh then waits 10 s
# before it connects again.
configuration() {
    local field mode=$1 tries='timeout_ms: -1, exit_on_failure: false' largest=$largest_sample
    if [[ $mode == probe ]]; then
        mode=peer
        tries='timeout_ms: 0, exit_on_failure: true'
        largest=$largest_hello
    fi
    printf '%s\n' '{' \
        "  mode: \"$mode\"," \
        "  listen: { endpoints: [$2] }," \
        "  connect: {
    endpoints: [$3], $tries,
    retry: { period_init_ms: 200, period_max_ms: 500, period_increase_factor: 1.5 },
  }," \
        '  scouting: { multicast: { enabled: false }, gossip: { enabled: false } },' \
        '  qos: { publication: [{
    key_exprs: ["**"], config: { congestion_control: "block_first", reliability: "reliable" },
  }] },' \
        '  transport: {
    unicast: { open_timeout: 1500, accept_timeout: 3000 },
    link: {
      tx: { lease: 2000, queue: { congestion_control: {
        drop: { wait_before_drop: 200 }, block: { wait_before_close: 2500000 },
      } } },'
    # With --tls, unencrypted connections are not allowed.
    ((${#tls[@]} == 0)) || printf '%s\n' "      protocols: [\"tls\", \"quic\", \"unixsock-stream\"],
      tls: {
        enable_mtls: true, close_link_on_expiration: true,
        root_ca_certificate: $(quoted "${tls[2]}"),
        listen_certificate: $(quoted "${tls[0]}"), listen_private_key: $(quoted "${tls[1]}"),
        connect_certificate: $(quoted "${tls[0]}"), connect_private_key: $(quoted "${tls[1]}"),
      },"
    printf '%s\n' "      rx: { max_message_size: $largest }," \
        '    },' \
        '  },'
    for field in "${@:4}"; do
        printf '%s\n' "  $field,"
    done
    printf '}\n'
}

# write_configuration NAME ...: writes a `configuration` and sets `written` to its file.
write_configuration() {
    if [[ -n $config ]]; then
        written=$config
    elif [[ -n $dry_run ]]; then
        # Printed so that it can be pasted with the command line that follows.
        written=$1.json5
        say "export ZENOH_RUNTIME=${ZENOH_RUNTIME@Q}"
        printf '%s\n' "cat >$written <<'END'"
        configuration "${@:2}"
        echo END
    else
        a_scratch
        written=$scratch/$1.json5
        configuration "${@:2}" >"$written" || die "'$written' cannot be written: is the disk full?"
    fi
}

# Creates `scratch`, which is removed when the script ends.
a_scratch() {
    [[ -n $scratch ]] || scratch=$(mktemp -d)
}

# Access rules. Once there is one, everything that no rule allows is denied.
rules=()
subjects=()
policies=()

# allow SUBJECT FLOW MESSAGES KEY...: SUBJECT is a field of Zenoh's `subjects`, or empty for all
# peers; MESSAGES are separated by spaces.
allow() {
    local n=${#rules[@]} messages
    read -r -a messages <<<"$3"
    rules+=("{ id: \"$n\", permission: \"allow\", flows: [\"$2\"], messages: [$(quoted "${messages[@]}")], key_exprs: [$(quoted "${@:4}")] }")
    subjects+=("{ id: \"$n\"${1:+, $1} }")
    policies+=("{ rules: [\"$n\"], subjects: [\"$n\"] }")
}

# Every peer may subscribe to frames and receive them.
allow_watching() {
    allow '' ingress declare_subscriber '**' "**/$hello"
    allow '' egress 'put declare_subscriber' '**' "**/$hello"
}

access_control() {
    printf '%s' 'access_control: {
    enabled: true, default_permission: "deny",
    rules: [' "$(printf '\n      %s,' "${rules[@]}")" '
    ],
    subjects: [' "$(printf '\n      %s,' "${subjects[@]}")" '
    ],
    policies: [' "$(printf '\n      %s,' "${policies[@]}")" '
    ],
  }'
}

# ---- probing ----------------------------------------------------------------
# Zenoh retries connections silently. So a second process, the probe, connects once to each
# endpoint: if that fails, it gives the reason; if not, it stays and receives the hellos there.

endpoints=()  # the endpoints to probe
states=()     # their states: open, or the reason why not; empty while unknown
probed_at=()  # when the last probe of each was started, in milliseconds
hello_at=()   # when the last hello of interest arrived from each, in milliseconds

# start_probes KEY ENDPOINT...: KEY is the key of the hellos to receive.
start_probes() {
    local n
    hello_key=$1
    endpoints=("${@:2}")
    # The user's own configuration contains the endpoints: one probe is enough.
    [[ -z $config ]] || endpoints=("$2")
    for n in "${!endpoints[@]}"; do
        probe "$n"
    done
}

# probe NUMBER: starts the probe of an endpoint.
probe() {
    local written
    write_configuration "probe$1" probe '' "$(quoted "${endpoints[$1]}")"
    states[$1]=
    hello_at[$1]=
    read_clock
    probed_at[$1]=$now
    start "probe$1" gst-launch-1.0 -f zenohsrc "config=$written" "$(property key-expr "$hello_key")" \
        apply-buffer-meta=false ! fdsink </dev/null
}

# Restarts the probes that have failed, and those that receive no more hellos.
restart_probes() {
    local n
    read_clock
    [[ -z $ending$failure$over ]] || return 0
    for n in "${!endpoints[@]}"; do
        if [[ ! -v pids[probe$n] ]]; then
            ((now - probed_at[n] < 3000)) || probe "$n"
        elif [[ -n ${hello_at[n]} ]] && ((now - hello_at[n] > 3000)); then
            # It does not end on other signals until the next hello.
            states[n]=
            hello_at[n]=
            kill -KILL "${pids[probe$n]}" 2>/dev/null || :
        fi
    done
}

# A Zenoh client tries only the first router until it has connected once; later it tries all of
# them in turn. So a router that is available has to be the first.
first_router=0
connected= # whether the client has connected

# prefer_open_router: makes an open router the first one; fails if there is nothing to change.
prefer_open_router() {
    local n
    [[ -z $connected && ${states[first_router]-} != @(|open) ]] || return 1
    for n in "${!states[@]}"; do
        [[ ${states[n]} != open ]] || { first_router=$n && return; }
    done
    return 1
}

# in_turn ENDPOINT...: prints the items of a JSON list, beginning with the first router.
in_turn() {
    quoted "${@:first_router+1}" "${@:1:first_router}"
}

# handle_probe NUMBER LINE: a line of the probe of an endpoint.
handle_probe() {
    case $2 in
        'Setting pipeline to PLAYING'*) states[$1]=open ;;
        # Once connected, it may print text from other peers: do not take that for an error.
        *'session initialization failed: '*) [[ ${states[$1]} == open ]] || states[$1]=$(describe_failure "${2#*failed: }") ;;
        'hello '*)
            [[ $2 =~ ^hello\ ([[:print:]]{1,200})\ ([A-Za-z0-9._-]{1,80})$ ]] || return 0
            local key=${BASH_REMATCH[1]} from=${BASH_REMATCH[2]}
            is_key "$key" || return 0
            read_clock
            ! handle_hello "$key" "$from" || hello_at[$1]=$now
            ;;
    esac
}

# describe_failure REASON: prints Zenoh's reason for a failed connection as a statement about the
# endpoint.
describe_failure() {
    local reason
    reason=$(simplify "$1")
    case $1 in
        *'close message (reason 2)'*) echo 'speaks another version of Zenoh' ;;
        *'close message (reason 3)'*) echo 'accepts no more connections' ;;
        *'alert: CertificateRequired'*) echo 'requires a certificate' ;;
        *'alert: CertificateExpired'*) echo "rejects our certificate ${tls[0]}: it has expired" ;;
        *'alert: '*) echo "rejects our certificate ${tls[0]} (${reason##*alert: })" ;;
        *'certificate: UnknownIssuer'* | *'certificate: BadSignature'*) echo "has a certificate that ${tls[2]} has not signed" ;;
        *'certificate expired'*) echo 'has a certificate that has expired' ;;
        *'not valid for name'*) echo "has a certificate for other names: ${reason##*valid for name }" ;;
        *'peer certificate: '*) echo "has a certificate that is not valid (${reason##*peer certificate: })" ;;
        *'early eof'* | *'corrupt message'*) echo "answers, but does not speak Zenoh $(tls_hint)" ;;
        *'deadline has elapsed'*) echo "does not answer, or does not speak Zenoh $(tls_hint)" ;;
        *'lookup address'*) echo 'is not there: its host name is unknown' ;;
        *' (os error '*) echo "is not there ($reason)" ;;
        *) echo "cannot be reached: $reason" ;;
    esac
}

# simplify REASON: prints it without details for Zenoh's developers.
simplify() {
    local text=${1%. Check network connectivity and Zenoh configuration.*}
    while [[ $text =~ ^(.*)\ at\ /[^\ ]*\.rs:[0-9]+\.?(.*)$ ]]; do
        text=${BASH_REMATCH[1]}${BASH_REMATCH[2]}
    done
    case $text in
        *KeyMismatch*) text="${tls[1]} is not the key of ${tls[0]}" ;;
        *'Address already in use'*) text="port $port is already in use" ;;
        *' (os error '*) text=${text%% (os error *} && text=${text##*: } ;;
    esac
    printf '%s' "$text"
}

tls_hint() {
    ((${#tls[@]})) && echo 'with --tls' || echo 'without --tls'
}

# ---- child processes --------------------------------------------------------

on_line() {
    case $1 in
        probe*) handle_probe "${1#probe}" "$2" ;;
        hello*) ;;
        *)
            [[ $2 != *'etting pipeline to PLAYING'* ]] || connected=yes
            [[ $2 != *'session initialization failed: '* ]] || cannot_start "${2#*failed: }"
            parse_gst_line "$@"
            ;;
    esac
}

cannot_start() {
    failure=${failure:-Zenoh cannot start: $(simplify "$1")}
}

# The script ends with gst-launch-1.0, and then stops the probes and hello processes.
restart= # whether to restart it when it ends
over=    # whether it has ended for good
on_exit() {
    if [[ $1 != gst-launch-1.0 ]]; then
        helper_exit "$1"
        return
    fi
    if [[ -n $restart && -z $ending$failure ]]; then
        restart=
        begin
    else
        over=yes
        check_exit "$1"
        signal_children TERM
    fi
}

# helper_exit NAME: reports the failure of a probe or a hello process. A probe is restarted after
# some seconds.
helper_exit() {
    local text crash
    ((exit_status[$1])) && [[ -z $ending$failure$over ]] || return 0
    describe_end "$1"
    case $1 in
        probe*) [[ -z $crash ]] || states[${1#probe}]="cannot be probed: gst-launch-1.0 crashed (SIG$crash)" ;;
        hello*) complain "warning: $text. Edges that search for cameras do not find $key any more" ;;
    esac
}

# The probes will be restarted.
restart_pending() {
    [[ -z $ending$failure$over ]] && ((${#endpoints[@]}))
}

# Kills gst-launch-1.0 so that it is restarted. While it waits for a router or for frames, it does
# not end on other signals.
restart_pipeline() {
    [[ -v pids[gst-launch-1.0] ]] || return 0
    restart=yes
    kill -KILL "${pids[gst-launch-1.0]}" 2>/dev/null || :
}

# Prints the endpoint of this script for other machines. With TLS it has the host name, because
# certificates contain names.
public_endpoint() {
    local name
    name=$(public_host)
    ((${#tls[@]} == 0)) || local_only || name=$HOSTNAME
    endpoint "$(address "$name" "$port")"
}

# listed WORD...: prints them, separated by commas.
listed() {
    local IFS=,
    local list=$*
    printf '%s' "${list//,/, }"
}

# handle_check LINE: statistics of a jpegcheck. Sets `camera` to its number, and `frames`, `rate`,
# `delay` and, if known, `from`; fails at other lines.
handle_check() {
    [[ $1 =~ JpegCheck:camera([0-9]+):\ stats\ =\  ]] || return 1
    camera=${BASH_REMATCH[1]}
    field frames "$1" && frames=$value
    field fps "$1" && printf -v rate %.1f "${value:-0}"
    delay=
    ! field delay-median "$1" || printf -v delay '%.1f ms' "${value}e-6"
    ! field origin "$1" || from=$value
}
