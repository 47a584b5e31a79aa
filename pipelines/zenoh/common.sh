# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # variables that others set, or use
#
# What origin.sh, edge.sh and router.sh share. Sourced, after ../common.sh; never run.

export GST_PLUGIN_PATH=$zenoh_dir/gstreamer-1.0:$GST_PLUGIN_PATH
# An edge that leaves in the middle of a picture would end a whole origin: what Zenoh writes
# over TLS raises the signal, and gst-launch-1.0 does not ignore it.
trap '' PIPE
# A zenohsrc that nothing comes to ends by nothing politer.
death=TERM
needed=(--zenoh)
default_zenoh_port=7447
default_key=cam/main/jpeg
# Of each camera's key: where its origin says once a second that it is there. Expressions
# such as cam/*/jpeg do not match it: to them a chunk that begins with @ is another world.
hello=@hello
# Larger samples are refused before they are put together.
largest_sample=$((64 << 20))
largest_hello=$((64 << 10))
# Zenoh's threads, of which it has one for each kind of work. Closing a connection to an edge
# that is cut off blocks one of both kinds for seconds, while the others shall go on; and each
# picture that waits for a slow edge blocks one that is made for it, of 50 at most.
export ZENOH_RUNTIME=${ZENOH_RUNTIME:-'(net: (worker_threads: 16, max_blocking_threads: 1000), tx: (worker_threads: 4))'}

# ---- options ----------------------------------------------------------------

host=127.0.0.1
port=$default_zenoh_port
routers=()
tls=()  # certificate, key, and who has to have signed that of the other side
certified= # what others have to say, then
config= # a configuration of the user's own
network_options="  --tls CERT KEY CA  encrypt, and know each other: with this certificate and its key, to
                those whose certificate CA has signed; all in PEM format
  --config F    use this configuration of Zenoh instead of what these options make:
                where to connect, what to encrypt, who may do what. An origin then
                does not tell edges that it is there, who find it by its exact key"
router_option="  --router EP   the endpoint of a router, in place of a direct connection; may be given
                again: when one is gone, the next one is taken"

# taken from "$@", as in ../common.sh
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
            certified=' --tls CERT KEY CA'
            taken=4
            ;;
        *) return 1 ;;
    esac
}

# pem_file FILE WHAT: of those for TLS.
pem_file() {
    readable_file "$1"
    [[ -n $dry_run ]] || grep -q -- "^-----BEGIN .*$2-----" "$1" || die "'$1' has no ${2,,} in PEM format in it"
    tls+=("$(realpath -ms -- "$1")")
}

listen_here="  --host H      the address to listen on: 127.0.0.1 (default), only this machine;
                0.0.0.0 or ::, every address it has
  --port P      the port (default $default_zenoh_port)"

listening_option() {
    taken=2
    case $1 in
        --host) value_of "$@" && host=$value ;;
        --port) value_of "$@" && number --port "$value" 1 65535 && port=$value ;;
        *) return 1 ;;
    esac
}

# is_key KEY: whether Zenoh takes it, and nobody else takes it for something more; a key
# expression, too, if $2 is 'expression'. Sets `like` to what is one.
is_key() {
    local name='[[:alnum:]_.:+-]+' wild=
    like="names of letters, digits, dots and the like with / between them, such as $default_key"
    [[ ${2-} != expression ]] || { wild='|\*\*?' && like+=', or * for any name'; }
    [[ $1 =~ ^($name$wild)(/($name$wild))*$ ]]
}

check_key() {
    is_key "$@" || usage_error "'$1' is not a key: write $like"
}

# endpoint ADDRESS: as Zenoh writes it; the protocol and the port may be left out.
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

# quoted WORD...: as the items of a list in JSON.
quoted() {
    local word list=
    for word; do
        word=${word//\\/\\\\}
        list+=", \"${word//\"/\\\"}\""
    done
    printf '%s' "${list#, }"
}

# configuration MODE LISTEN CONNECT [FIELD...]: of Zenoh, from lists of endpoints; FIELDs
# are added as they are. A MODE of `knock` is a peer that tries once: `knock` is below.
#
# Nobody finds anybody here: who is to be reached is named. Otherwise peers would tell each
# other of strangers, who then publish to all of them.
#
# Of the pictures (** is not hello) each edge has one that waits for it, whole, and newer ones
# are dropped meanwhile: block_first. With drop, whoever publishes would wait, up to 50 ms for
# every slow edge, and then cut the picture off in its middle: a line that takes half of them
# would never carry one. Whoever says nothing for 2 s (lease), or takes less than a picture's
# first 64 KB in 2.5 s (wait_before_close), is disconnected, and comes back. This order matters:
# what is closed by the latter is closed with all that is under way, for which Zenoh waits 10 s
# before it connects again.
configuration() {
    local field mode=$1 tries='timeout_ms: -1, exit_on_failure: false' largest=$largest_sample
    if [[ $mode == knock ]]; then
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
    # What is told to use TLS sends nothing without.
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

# write_configuration NAME ...: sets `written` to a file with it.
write_configuration() {
    if [[ -n $config ]]; then
        written=$config
    elif [[ -n $dry_run ]]; then
        # To be pasted with the line that comes then.
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

# A directory for what lasts no longer than we do.
a_scratch() {
    [[ -n $scratch ]] || scratch=$(mktemp -d)
}

# Who may do what; everything else is denied once there is one.
rules=()
subjects=()
policies=()

# allow WHOM FLOW MESSAGES KEY...: WHOM is what Zenoh is to look at, or nothing for everybody;
# MESSAGES are separated by spaces.
allow() {
    local n=${#rules[@]} messages
    read -r -a messages <<<"$3"
    rules+=("{ id: \"$n\", permission: \"allow\", flows: [\"$2\"], messages: [$(quoted "${messages[@]}")], key_exprs: [$(quoted "${@:4}")] }")
    subjects+=("{ id: \"$n\"${1:+, $1} }")
    policies+=("{ rules: [\"$n\"], subjects: [\"$n\"] }")
}

# Everybody may ask for pictures and is given them.
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

# ---- knocking ---------------------------------------------------------------
# Zenoh tries again and again, and in silence. So somebody knocks beside it, once: who is not
# let in is told why, and who is let in stays to hear the cameras that say hello there.

gates=()   # the endpoints
states=()  # what they are: open, or why not; nothing while nobody knows
knocked=() # when somebody has last knocked, in milliseconds
greeted=() # when one of us has last heard hello there

# knock_at KEY ENDPOINT...: KEY is where hello is said.
knock_at() {
    local n
    said_at=$1
    gates=("${@:2}")
    # A configuration of the user's own knows where to go, and is in no hurry.
    [[ -z $config ]] || gates=("$2")
    for n in "${!gates[@]}"; do
        knock "$n"
    done
}

# knock GATE: by its number.
knock() {
    local written
    write_configuration "knock$1" knock '' "$(quoted "${gates[$1]}")"
    states[$1]=
    greeted[$1]=
    look_at_clock
    knocked[$1]=$now
    start "knock$1" gst-launch-1.0 -f zenohsrc "config=$written" "$(property key-expr "$said_at")" \
        apply-buffer-meta=false ! fdsink </dev/null
}

# Knocks again where nobody has opened, and where nothing is heard any more.
keep_knocking() {
    local n
    look_at_clock
    [[ -z $ending$failure$over ]] || return 0
    for n in "${!gates[@]}"; do
        if [[ ! -v pids[knock$n] ]]; then
            ((now - knocked[n] < 3000)) || knock "$n"
        elif [[ -n ${greeted[n]} ]] && ((now - greeted[n] > 3000)); then
            # It waits for the next hello, and ends for nothing less.
            states[n]=
            greeted[n]=
            kill -KILL "${pids[knock$n]}" 2>/dev/null || :
        fi
    done
}

# Zenoh's clients try the first router until it is there, and take all of them in turn only
# after that. So one that is there comes first.
first=0
met= # whether the client has met one

# another_first: takes another router as the first one if that is better.
another_first() {
    local n
    [[ -z $met && ${states[first]-} != @(|open) ]] || return 1
    for n in "${!states[@]}"; do
        [[ ${states[n]} != open ]] || { first=$n && return; }
    done
    return 1
}

# in_turn ENDPOINT...: as items of a list.
in_turn() {
    quoted "${@:first+1}" "${@:1:first}"
}

# heard_knock GATE LINE
heard_knock() {
    case $2 in
        'Setting pipeline to PLAYING'*) states[$1]=open ;;
        # Who is in hears others, who may say what they like.
        *'session initialization failed: '*) [[ ${states[$1]} == open ]] || states[$1]=$(why_not "${2#*failed: }") ;;
        'hello '*)
            [[ $2 =~ ^hello\ ([[:print:]]{1,200})\ ([A-Za-z0-9._-]{1,80})$ ]] || return 0
            local key=${BASH_REMATCH[1]} from=${BASH_REMATCH[2]}
            is_key "$key" || return 0
            look_at_clock
            ! heard_hello "$key" "$from" || greeted[$1]=$now
            ;;
    esac
}

# why_not REASON: what the reason that Zenoh gives says about the other side.
why_not() {
    local reason
    reason=$(plain "$1")
    case $1 in
        *'close message (reason 2)'*) echo 'speaks another version of Zenoh' ;;
        *'close message (reason 3)'*) echo 'has no room for more' ;;
        *'alert: CertificateRequired'*) echo 'wants a certificate' ;;
        *'alert: CertificateExpired'*) echo "turns us away because ${tls[0]} has expired" ;;
        *'alert: '*) echo "turns us away because of ${tls[0]} (${reason##*alert: })" ;;
        *'certificate: UnknownIssuer'* | *'certificate: BadSignature'*) echo "has a certificate that ${tls[2]} has not signed" ;;
        *'certificate expired'*) echo 'has a certificate that has expired' ;;
        *'not valid for name'*) echo "has a certificate for others: ${reason##*valid for name }" ;;
        *'peer certificate: '*) echo "has a certificate that is not valid (${reason##*peer certificate: })" ;;
        *'early eof'* | *'corrupt message'*) echo "answers, but not as Zenoh does $(in_the_way)" ;;
        *'deadline has elapsed'*) echo "does not answer, or not as Zenoh does $(in_the_way)" ;;
        *'lookup address'*) echo 'is not there: nobody knows its name' ;;
        *' (os error '*) echo "is not there ($reason)" ;;
        *) echo "cannot be asked: $reason" ;;
    esac
}

# plain REASON: without what only Zenoh's developers understand.
plain() {
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

in_the_way() {
    ((${#tls[@]})) && echo 'with --tls' || echo 'without --tls'
}

# ---- what is heard ----------------------------------------------------------

heard() {
    case $1 in
        knock*) heard_knock "${1#knock}" "$2" ;;
        hello*) ;;
        *)
            [[ $2 != *'etting pipeline to PLAYING'* ]] || met=yes
            [[ $2 != *'session initialization failed: '* ]] || cannot_start "${2#*failed: }"
            understand "$@"
            ;;
    esac
}

cannot_start() {
    failure=${failure:-Zenoh cannot start: $(plain "$1")}
}

# Only gst-launch-1.0 counts; who says hello, or knocks, ends with it.
again= # whether it is to begin again then
over=  # whether it has ended for good
ended() {
    if [[ $1 != gst-launch-1.0 ]]; then
        ended_beside "$1"
        return
    fi
    if [[ -n $again && -z $ending$failure ]]; then
        again=
        begin
    else
        over=yes
        conclude "$1"
        signal_children TERM
    fi
}

# ended_beside NAME: of those who knock or say hello, a crash is reported. Who knocks is
# started again after some seconds.
ended_beside() {
    local text crash
    ((exit_status[$1])) && [[ -z $ending$failure$over ]] || return 0
    describe_end "$1"
    case $1 in
        knock*) [[ -z $crash ]] || states[${1#knock}]="cannot be asked: gst-launch-1.0 crashed there (SIG$crash)" ;;
        hello*) complain "warning: $text. Edges that look for cameras do not find $key any more" ;;
    esac
}

# Somebody will knock again.
is_due() {
    [[ -z $ending$failure$over ]] && ((${#gates[@]}))
}

# Ends it so that it begins again. One that waits, for a router or for pictures, would not
# hear anything less.
begin_again() {
    [[ -v pids[gst-launch-1.0] ]] || return 0
    again=yes
    kill -KILL "${pids[gst-launch-1.0]}" 2>/dev/null || :
}

# Our endpoint, for others: certificates are for names.
invited_to() {
    local name
    name=$(reachable)
    ((${#tls[@]} == 0)) || only_here || name=$HOSTNAME
    endpoint "$(address "$name" "$port")"
}

# listed WORD...: as people enumerate.
listed() {
    local IFS=,
    local list=$*
    printf '%s' "${list//,/, }"
}

# heard_check LINE: sets `camera` to the number of the jpegcheck that tells its counts, and
# `frames`, `rate` and `delay`; fails at other lines.
heard_check() {
    [[ $1 =~ JpegCheck:camera([0-9]+):\ stats\ =\  ]] || return 1
    camera=${BASH_REMATCH[1]}
    field frames "$1" && frames=$value
    field fps "$1" && printf -v rate %.1f "${value:-0}"
    delay=
    ! field delay-median "$1" || printf -v delay '%.1f ms' "${value}e-6"
    ! field origin "$1" || from=$value
}
