#!/usr/bin/env bash
# Makes the root file system of the image: a Claimgate program and only the files
# that it needs to run.
#
#   scripts/rootfs.sh PROGRAM FOLDER
#
# PROGRAM is a release binary for this machine; it is stripped on the way.
# FOLDER must not exist. The libraries are copied from this machine, so make it
# on the oldest Debian whose C library is new enough.
set -euo pipefail

if [[ $# -ne 2 || ! -x $1 || -e $2 ]]; then
    echo "usage: scripts/rootfs.sh PROGRAM FOLDER; the folder must not exist" >&2
    exit 2
fi
program=$1 root=$2
roots=${CLAIMGATE_CA_CERTIFICATES:-/etc/ssl/certs/ca-certificates.crt}
[[ -s $roots ]] || { echo "rootfs.sh: no root certificates in $roots; install ca-certificates" >&2; exit 1; }

umask 022
mkdir -p "$root"/{etc/claimgate,etc/ssl/certs,usr/bin}
strip --strip-all -o "$root/usr/bin/claimgate" "$program"
chmod 755 "$root/usr/bin/claimgate"

# The machine's list may include roots of its own: use only Debian's.
if [[ -z ${CLAIMGATE_CA_CERTIFICATES:-} && -d /usr/share/ca-certificates/mozilla ]]; then
    cat /usr/share/ca-certificates/mozilla/*.crt > "$root/etc/ssl/certs/ca-certificates.crt"
else
    cp "$roots" "$root/etc/ssl/certs/ca-certificates.crt"
fi

# The loader and the libraries, where the program looks for them. A static
# program has none.
if libraries=$(ldd "$program" 2>/dev/null); then
    while read -r library; do
        [[ -e $library ]] || continue
        mkdir -p "$root$(dirname "$library")"
        cp --dereference "$library" "$root$library"
    done < <(awk '{ for (i = 1; i <= NF; i++) if ($i ~ /^\//) { print $i; break } }' <<< "$libraries")
fi

# A name for the user id that it runs as, and the usual name resolution.
echo 'claimgate:x:65532:65532:claimgate:/nonexistent:/sbin/nologin' > "$root/etc/passwd"
echo 'claimgate:x:65532:' > "$root/etc/group"
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"
