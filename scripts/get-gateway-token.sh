#!/bin/sh
# Gets an access token by the client-credentials grant (RFC 6749, section 4.4)
# and prints it on stdout.
#
#   GATEWAY_CLIENT_ID        the client (required)
#   GATEWAY_CLIENT_SECRET    its secret (required)
#   GATEWAY_TOKEN_ENDPOINT   the token endpoint (required)
#   GATEWAY_SCOPE            scopes to ask for, separated by spaces
#   GATEWAY_AUDIENCE         `audience` of the request (Auth0 and others)
#   GATEWAY_RESOURCE         `resource` of the request (RFC 8707)
#   GATEWAY_CLIENT_AUTH      client_secret_basic (default) or client_secret_post
#   GATEWAY_CA_FILE          PEM file with trust roots, for a private CA
#   GATEWAY_ALLOW_HTTP       true: send the secret over http to other machines too
#   GATEWAY_TIMEOUT_SECONDS  for the whole request (default 20)
#
# Exit status: 0 a token, 1 a variable is missing or unusable, 2 the request
# failed (curl's error, or another status than 200), 3 the response is not JSON
# or has no access_token.
#
# With --expiry a second line says when the token expires, in seconds since the
# epoch: its own `exp` or the response's `expires_in`, whichever is earlier, and
# nothing if there is neither. With --check the variables are checked and no
# request is sent.
#
# Plain POSIX sh, so that it works the same in bash 3.2, dash and busybox, and no
# tool besides curl, awk, od and tr. The secret goes from the environment to curl
# through pipes: it is never on a command line, where other users could see it,
# nor in a file.

set -u
LC_ALL=C
export LC_ALL

fail() { # STATUS TEXT
    printf '%s: %s\n' "${0##*/}" "$2" >&2
    exit "$1"
}

usage() {
    fail 1 'takes no argument but --expiry or --check; variables tell it what to do (docs/clients.md)'
}

require() { # NAME VALUE
    [ -n "$2" ] || fail 1 "$1 is not set"
}

is_loopback() { # URL WITHOUT SCHEME
    host=${1%%[/?#]*}
    case $host in
        localhost | localhost:* | '[::1]' | '[::1]:'*) return 0 ;;
        127.*) case ${host%:*} in *[!0-9.]*) return 1 ;; *) return 0 ;; esac ;;
        *) return 1 ;;
    esac
}

# Form encoding (RFC 6749, appendix B) of any bytes.
form() { # VALUE
    printf '%s' "$1" | od -An -v -tx1 | awk '
        BEGIN {
            for (i = 32; i < 127; i++) {
                c = sprintf("%c", i)
                if (c ~ /[A-Za-z0-9._-]/) plain[sprintf("%02x", i)] = c
            }
            plain["20"] = "+"
        }
        {
            for (i = 1; i <= NF; i++) {
                if ($i in plain) printf "%s", plain[$i]
                else printf "%%%s", toupper($i)
            }
        }'
}

# The config that curl reads on stdin. Encoded values need no quoting;
# the others were checked before.
curl_config() {
    data="grant_type=client_credentials"
    [ -z "$scope" ] || data="$data&scope=$(form "$scope")"
    [ -z "$audience" ] || data="$data&audience=$(form "$audience")"
    [ -z "$resource" ] || data="$data&resource=$(form "$resource")"
    id=$(form "$client_id")
    secret=$(form "$client_secret")
    if [ "$client_auth" = client_secret_basic ]; then
        # RFC 6749, section 2.3.1: encoded first, then joined.
        printf 'basic\nuser = "%s:%s"\n' "$id" "$secret"
    else
        data="$data&client_id=$id&client_secret=$secret"
    fi
    printf 'url = "%s"\ndata = "%s"\n' "$endpoint" "$data"
    [ -z "$ca_file" ] || printf 'cacert = "%s"\n' "$ca_file"
    # A proxy has another loopback.
    is_loopback "$authority" && printf 'noproxy = "*"\n'
    printf 'header = "Accept: application/json"\n'
    # If the length is not known in advance, older curls have no maximum size;
    # the rate keeps an endless answer from filling the memory.
    printf 'connect-timeout = %s\nmax-time = %s\nmax-filesize = 65536\n' "$timeout" "$timeout"
    printf 'limit-rate = 256K\n'
    printf 'proto = "=http,https"\ngloboff\nsilent\nshow-error\nwrite-out = "\\n%%{http_code}\\n"\n'
}

# Reads a whole JSON text, strictly, and prints a member of its outermost
# object; nested ones are ignored. KIND is `string` or `number`. Exits with 1 if
# the text is not a JSON object, with 2 if the member is missing, of another
# kind, given twice, or contains anything but printable ASCII.
member() { # NAME KIND
    awk -v wanted="$1" -v wanted_kind="$2" '
        function bad() { failed = 1; exit 1 }
        function skip() { sub(/^[ \t\r\n]+/, "", rest) }
        function take(character) {
            skip()
            if (substr(rest, 1, 1) != character) bad()
            rest = substr(rest, 2)
        }
        function string(   out, c, code) {
            take("\"")
            out = ""
            while (1) {
                if (match(rest, /^[^"\\\001-\037]+/)) {
                    out = out substr(rest, 1, RLENGTH)
                    rest = substr(rest, RLENGTH + 1)
                }
                c = substr(rest, 1, 1)
                rest = substr(rest, 2)
                if (c == "\"") return out
                if (c != "\\") bad()
                c = substr(rest, 1, 1)
                rest = substr(rest, 2)
                if (c == "u") {
                    if (rest !~ /^[0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f]/) bad()
                    code = tolower(substr(rest, 1, 4))
                    rest = substr(rest, 5)
                    # Other characters are in no token: one that is refused
                    # below stands in for them.
                    out = out (code in ascii ? ascii[code] : "\177")
                } else if (c == "\"" || c == "\\" || c == "/") {
                    out = out c
                } else if (c ~ /^[bfnrt]$/) {
                    out = out "\177"
                } else bad()
            }
        }
        function value(depth,   c) {
            if (depth > 64) bad()
            skip()
            kind = substr(rest, 1, 1)
            if (kind == "{") object(depth)
            else if (kind == "[") array(depth)
            else if (kind == "\"") {
                c = string()
                kind = "string"
                return c
            } else if (match(rest, /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/)) {
                c = substr(rest, 1, RLENGTH)
                rest = substr(rest, RLENGTH + 1)
                kind = "number"
                return c
            } else if (match(rest, /^(true|false|null)/)) {
                rest = substr(rest, RLENGTH + 1)
            } else bad()
            kind = "other"
            return ""
        }
        function array(depth) {
            take("[")
            skip()
            if (substr(rest, 1, 1) == "]") { take("]"); return }
            while (1) {
                value(depth + 1)
                skip()
                if (substr(rest, 1, 1) == "]") { take("]"); return }
                take(",")
            }
        }
        function object(depth,   name, text) {
            take("{")
            skip()
            if (substr(rest, 1, 1) == "}") { take("}"); return }
            while (1) {
                skip()
                name = string()
                take(":")
                text = value(depth + 1)
                if (depth == 0 && name == wanted) {
                    found++
                    found_kind = kind
                    answer = text
                }
                skip()
                if (substr(rest, 1, 1) == "}") { take("}"); return }
                take(",")
            }
        }
        BEGIN {
            for (i = 32; i < 127; i++) ascii[sprintf("%04x", i)] = sprintf("%c", i)
        }
        { text = text $0 "\n" }
        END {
            if (failed) exit 1
            rest = text
            skip()
            if (substr(rest, 1, 1) != "{") bad()
            value(0)
            skip()
            if (rest != "") bad()
            if (found != 1 || found_kind != wanted_kind) exit 2
            if (answer == "" || answer ~ /[^ -~]/) exit 2
            print answer
        }'
}

# The endpoint's error message, as far as it can be shown: never with the secret,
# which a careless endpoint might repeat.
complaint() { # BODY
    text=$(printf '%s' "$1" | member error string) || return 0
    description=$(printf '%s' "$1" | member error_description string) &&
        text="$text ($description)"
    case $text in
        *"$client_secret"* | *"$(form "$client_secret")"*) return 0 ;;
    esac
    printf ': %.400s' "$text"
}

# The claims of a JWT; nothing for any other token.
claims() { # TOKEN
    printf '%s\n' "$1" | awk -F '[.]' '
        NF == 3 {
            alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
            for (i = 1; i <= length($2); i++) {
                sextet = index(alphabet, substr($2, i, 1)) - 1
                if (sextet < 0) exit
                # `room` is the divisor of the current bits that leaves
                # a byte; not every awk knows powers.
                bits = bits * 64 + sextet
                room = room == 0 ? 64 : room == 64 ? 16 : room == 16 ? 4 : 1
                if (room == 64) continue
                byte = int(bits / room)
                bits -= byte * room
                if (byte) printf "%c", byte
                if (room == 1) room = 0
            }
        }'
}

# When the token expires; see --expiry above.
expiry() { # TOKEN BODY
    claimed=$(claims "$1" | member exp number) || claimed=
    lifetime=$(printf '%s' "$2" | member expires_in number) || lifetime=
    awk -v claimed="$claimed" -v lifetime="$lifetime" -v now="$(date +%s)" '
        BEGIN {
            if (lifetime != "" && lifetime + 0 >= 0) ends = now + lifetime
            if (claimed != "" && (ends == "" || claimed + 0 < ends)) ends = claimed + 0
            if (ends == "") exit
            # Shells count no further than 64 bits.
            if (ends > 99999999999) ends = 99999999999
            if (ends < 0) ends = 0
            printf "%.0f", ends
        }'
}

newline='
'
mode=token
case $#${1+:$1} in
    0) ;;
    1:--expiry) mode=expiry ;;
    1:--check) mode=check ;;
    *) usage ;;
esac

client_id=${GATEWAY_CLIENT_ID-}
client_secret=${GATEWAY_CLIENT_SECRET-}
endpoint=${GATEWAY_TOKEN_ENDPOINT-}
scope=${GATEWAY_SCOPE-}
audience=${GATEWAY_AUDIENCE-}
resource=${GATEWAY_RESOURCE-}
client_auth=${GATEWAY_CLIENT_AUTH:-client_secret_basic}
ca_file=${GATEWAY_CA_FILE-}
allow_http=${GATEWAY_ALLOW_HTTP:-false}
timeout=${GATEWAY_TIMEOUT_SECONDS:-20}

require GATEWAY_CLIENT_ID "$client_id"
require GATEWAY_CLIENT_SECRET "$client_secret"
require GATEWAY_TOKEN_ENDPOINT "$endpoint"
case $client_auth in
    client_secret_basic | client_secret_post) ;;
    *) fail 1 'GATEWAY_CLIENT_AUTH must be client_secret_basic or client_secret_post' ;;
esac
case $timeout in
    *[!0-9]* | 0* | ????*) fail 1 'GATEWAY_TIMEOUT_SECONDS must be whole seconds from 1 to 999' ;;
esac
case $ca_file in
    *[\"\\]* | *"$newline"*) fail 1 'GATEWAY_CA_FILE must not hold quotes, backslashes or line breaks' ;;
esac
authority=${endpoint#*://}
case ${authority%%[/?#]*} in
    *@*) fail 2 'GATEWAY_TOKEN_ENDPOINT must not hold a user name or password' ;;
esac
case $endpoint in
    *[!!-~]* | *[\"\\]*) fail 2 'GATEWAY_TOKEN_ENDPOINT is not a URL' ;;
    http://*)
        is_loopback "${endpoint#http://}" || [ "$allow_http" = true ] ||
            fail 2 'GATEWAY_TOKEN_ENDPOINT must be https: the secret goes there (GATEWAY_ALLOW_HTTP=true allows http)'
        ;;
    https://*) ;;
    *) fail 2 'GATEWAY_TOKEN_ENDPOINT must start with https://' ;;
esac
# A shell without a built-in printf would show the secret on a command line.
[ "$(command -v printf)" = printf ] || fail 1 'this shell has no printf; run it with sh, bash or dash'
command -v curl >/dev/null || fail 2 'curl is not installed'

[ $mode = check ] && exit 0

# A shell drops NULs, or ends at them, and what is left could pass for another
# answer; the character that takes their place is in no JSON.
response=$(
    { curl_config | curl --disable --config - && echo 0 || echo $?; } | tr '\000' '\001'
)
status=${response##*"$newline"}
response=${response%"$newline"*}
[ "$status" = 0 ] || fail 2 "the request failed (curl error $status)"
code=${response##*"$newline"}
body=${response%"$newline"*}
[ ${#body} -le 65536 ] || fail 2 'the answer is larger than 64 KiB'
[ "$code" = 200 ] || fail 2 "the token endpoint answered $code$(complaint "$body")"

token=$(printf '%s' "$body" | member access_token string)
case $? in
    0) case $token in *' '*) fail 3 'the answer has no usable access_token' ;; esac ;;
    2) fail 3 'the answer has no usable access_token' ;;
    *) fail 3 'the answer is not a JSON object' ;;
esac
{
    printf '%s\n' "$token" &&
        { [ $mode = token ] || printf '%s\n' "$(expiry "$token" "$body")"; }
} || fail 1 "can't write to stdout"
