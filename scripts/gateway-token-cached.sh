#!/bin/sh
# Prints an access token like get-gateway-token.sh, which must be in the same
# folder, but requests a new one only when needed: when the cached one is older
# than 50 minutes, or expires within GATEWAY_MIN_VALIDITY_SECONDS (default 60).
# It has the same variables and exit status, and
#
#   GATEWAY_TOKEN_CACHE  the file to keep the token in (default: one for each
#                        client, endpoint and scope in $XDG_CACHE_HOME/claimgate,
#                        else ~/.cache/claimgate)
#
# The file is private (0600) and replaced atomically. A device, a FIFO, a
# socket, a folder or a symlink in its place is refused (exit status 1). Of many
# processes at once, one requests a token and the others wait for it. A token
# that can't be cached, as in a read-only home, is still printed. While a refresh
# fails, a token older than 50 minutes stays in use until it is about to expire.
#
# Plain POSIX sh with find's -mmin and mktemp, as macOS, the BSDs, busybox and
# GNU have them.

set -u
LC_ALL=C
export LC_ALL
umask 077

say() { # TEXT
    printf '%s: %s\n' "${0##*/}" "$1" >&2
}

# The folder of this file, after following symlinks to it.
self=$0
while [ -L "$self" ]; do
    target=$(readlink "$self")
    case $target in
        /*) self=$target ;;
        *) self=$(dirname -- "$self")/$target ;;
    esac
done
get=$(dirname -- "$self")/get-gateway-token.sh
if [ ! -f "$get" ]; then
    say 'get-gateway-token.sh must lie beside it'
    exit 1
fi

# The file's first line names the client of the token, in hexadecimal.
whose() {
    for value in "$GATEWAY_TOKEN_ENDPOINT" "$GATEWAY_CLIENT_ID" "${GATEWAY_SCOPE-}" \
        "${GATEWAY_AUDIENCE-}" "${GATEWAY_RESOURCE-}"; do
        printf '%s' "$value" | od -An -v -tx1 | tr -d ' \n'
        printf -- -
    done
}

default_file() {
    if [ -n "${XDG_CACHE_HOME-}" ]; then
        folder=$XDG_CACHE_HOME
    elif [ -n "${HOME-}" ]; then
        folder=$HOME/.cache
    else
        return
    fi
    printf '%s' "$folder/claimgate/gateway-token-$(printf '%s' "$owner" | cksum | tr ' ' -)"
}

# Sets `token` and `ends` from the file, if it belongs to this client and only
# this user can read it.
recall() {
    token='' ends=''
    [ -n "$(find "$file" -prune -type f -user "$(id -u)" -perm 0600 2>/dev/null)" ] || return 1
    { read -r whose && read -r ends && read -r token; } <"$file" || return 1
    [ "$whose" = "$owner" ] && [ -n "$token" ]
}

# Whether the cached token is valid long enough. For one without a known expiry
# only its age counts.
lasts() {
    case $ends in
        '' | *[!0-9]*) return "$1" ;;
        *) [ "$ends" -gt $(($(date +%s) + min_validity)) ] ;;
    esac
}

# A file from the future means that a clock was wrong, not that it is young.
is_young() {
    [ -n "$(find "$file" -prune -mmin -50 ! -mmin -0 2>/dev/null)" ]
}

# Age first: a file that is replaced meanwhile can only be younger.
use_cached() {
    is_young && recall && lasts 0
}

# Whether the path is a regular file or does not exist. Replacing a device, as
# root could, would break the machine; the owner of a symlink does not expect it
# to be replaced.
is_free() {
    if [ -L "$file" ]; then
        return 1
    fi
    [ -f "$file" ] || [ ! -e "$file" ]
}

# Checks once more, as late as possible; in the remaining moment only users who
# may write into this folder can interfere.
keep() {
    is_free &&
        new=$(mktemp "$file.XXXXXX" 2>/dev/null) &&
        printf '%s\n%s\n%s\n' "$owner" "$ends" "$token" >"$new" &&
        is_free &&
        mv -f "$new" "$file" &&
        new=''
}

leave() { # STATUS
    trap - EXIT
    [ -z "$new" ] || rm -f "$new"
    [ -z "$lock" ] || rmdir "$lock" 2>/dev/null
    exit "$1"
}

done_with() { # TOKEN
    printf '%s\n' "$1" || leave 1
    leave 0
}

# Waits until this process holds the lock or another one has a token, at most as
# long as a response can take: then each requests its own.
# The lock is a folder: mkdir does not follow a link, and a link in its place is
# not taken for a lock.
take_turn() {
    turn=$file.lock
    waited_since=$(date +%s)
    tries=0
    while ! mkdir "$turn" 2>/dev/null; do
        use_cached && done_with "$token"
        if [ -d "$turn" ] && [ ! -L "$turn" ]; then
            # Its owner was killed. Renaming succeeds for one process only.
            if [ -n "$(find "$turn" -prune -mmin "+$((timeout / 60 + 2))" 2>/dev/null)" ]; then
                mv "$turn" "$turn.$$" 2>/dev/null && rmdir "$turn.$$"
            fi
            [ $(($(date +%s) - waited_since)) -le $((timeout + 2)) ] || return 0
            sleep 0.1 2>/dev/null || sleep 1
        else
            tries=$((tries + 1))
            [ $tries -lt 5 ] || return 0
        fi
    done
    lock=$turn
}

if [ $# -gt 0 ]; then
    say 'takes no argument; variables tell it what to do (docs/clients.md)'
    exit 1
fi
sh "$get" --check || exit
timeout=${GATEWAY_TIMEOUT_SECONDS:-20}
min_validity=${GATEWAY_MIN_VALIDITY_SECONDS:-60}
case $min_validity in
    *[!0-9]* | 0?* | ??????*)
        say 'GATEWAY_MIN_VALIDITY_SECONDS must be whole seconds from 0 to 99999'
        exit 1
        ;;
esac
owner=$(whose)
file=${GATEWAY_TOKEN_CACHE:-$(default_file)}
case $file in
    '') say 'not cached: set GATEWAY_TOKEN_CACHE, XDG_CACHE_HOME or HOME' && exec sh "$get" ;;
    /*) ;;
    *) file=./$file ;;
esac
if ! is_free; then
    say "$file is not a regular file, and a token is kept in one only; have GATEWAY_TOKEN_CACHE name one, or a file that is not there yet"
    exit 1
fi

if use_cached; then
    printf '%s\n' "$token"
    exit
fi

new='' lock=''
trap 'leave $?' EXIT
trap 'leave 129' HUP
trap 'leave 130' INT
trap 'leave 143' TERM
mkdir -p -- "$(dirname -- "$file")" 2>/dev/null
take_turn
use_cached && done_with "$token"

answer=$(sh "$get" --expiry)
status=$?
if [ $status -ne 0 ]; then
    if recall && lasts 1; then
        say 'no new token: the last one, which has not ended yet, is used'
        done_with "$token"
    fi
    leave $status
fi
newline='
'
token=${answer%%"$newline"*} ends=''
case $answer in *"$newline"*) ends=${answer#*"$newline"} ;; esac
keep || say "not cached: $file can't be written"
done_with "$token"
