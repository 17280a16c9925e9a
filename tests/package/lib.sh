# What the scenarios share. They run as root in a Debian of their own, with the packages of
# this version in /packages/new and those of an older one in /packages/old.
# shellcheck shell=bash
set -Eeuo pipefail

NEW=/packages/new
OLD=/packages/old
trap 'echo "FAILED: line $LINENO of $0: $BASH_COMMAND" >&2' ERR

fail() {
    echo "FAILED: $*" >&2
    tail -n 20 /var/log/midge/midge.log 2>/dev/null >&2 || true
    exit 1
}

# Waits up to a minute until a command succeeds.
wait_until() {
    local tries=600
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "waited in vain: $*"
        sleep 0.1
    done
}

# expect WHAT EXPECTED FOUND
expect() { [ "$2" = "$3" ] || fail "$1: expected '$2', found '$3'"; }

# install FOLDER NAME…: as apt does, without questions.
install_from() {
    local folder=$1 name files=()
    shift
    for name in "$@"; do files+=("$folder/${name}"_*.deb); done
    dpkg --force-confdef --force-confold -i "${files[@]}" >/tmp/dpkg.log 2>&1 ||
        { cat /tmp/dpkg.log >&2; fail "dpkg -i ${files[*]}"; }
}

# count_during COMMAND…: runs a command while clients count what they publish and read; none of it
# may be lost, doubled or out of order, and no connection be closed.
count_during() {
    local counting
    rm -f /tmp/count.*
    perl /tests/count.pl /tmp/count.ready /tmp/count.stop >/tmp/count.log 2>&1 &
    counting=$!
    wait_until test -e /tmp/count.ready
    "$@"
    touch /tmp/count.stop
    wait $counting || { cat /tmp/count.log >&2; fail "messages were lost during: $*"; }
    cat /tmp/count.log
}

# The processes of brokers. An old one may still be there for a moment after an upgrade.
pid() { grep -lx midge /proc/[0-9]*/comm 2>/dev/null | cut -d/ -f3; }

# Ports on which something listens at another address than loopback.
open_ports() {
    awk '$4 == "0A" && $2 !~ /^0100007F:/ && $2 !~ /^00000000000000000000000001000000:/ { print $2 }' \
        /proc/net/tcp /proc/net/tcp6
}

serves() { check_nats --mode connect >/dev/null; }
