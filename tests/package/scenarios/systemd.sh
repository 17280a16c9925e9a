# A host with systemd, which boots here in namespaces of its own: the service is enabled and
# started, hands over at an upgrade or is restarted, and is gone after a removal.
# shellcheck shell=bash source=tests/package/lib.sh
. /tests/lib.sh

boot() {
    # A control group of its own, which systemd takes for the root of all.
    local groups=/run/groups own
    mkdir $groups
    mount -t cgroup2 cgroup2 $groups
    own=$groups/midge-package-$$-$RANDOM
    mkdir "$own"
    cat >/etc/systemd/system/scenario.service <<'UNIT'
[Unit]
DefaultDependencies=no
After=basic.target
[Service]
Type=oneshot
Environment=DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=/bin/bash /tests/scenarios/systemd.sh inside
ExecStopPost=/bin/sh -c 'systemctl exit $EXIT_STATUS'
StandardOutput=file:/root/scenario.log
StandardError=inherit
UNIT
    cat >/etc/systemd/system/scenario.target <<'UNIT'
[Unit]
Requires=basic.target
Wants=scenario.service
AllowIsolate=yes
UNIT
    # shellcheck disable=SC2016
    local status=0
    timeout --signal KILL 300 bash -c '
        echo $$ >"$1/cgroup.procs"
        exec unshare --pid --cgroup --mount --fork --kill-child bash -c "
            umount /run/groups
            mount -t proc proc /proc
            mount -t cgroup2 cgroup2 /sys/fs/cgroup
            exec env -i container=test /lib/systemd/systemd --unit=scenario.target --log-level=warning --log-target=console
        "' boot "$own" >/root/boot.log 2>&1 || status=$?
    cat /root/scenario.log
    [ $status = 0 ] || { tail -n 30 /root/boot.log >&2; fail "systemd ended with $status"; }
    find "$own" -depth -type d -exec rmdir {} +
}

property() { systemctl show --value -p "$1" midge; }

inside() {
    # Of the daemons of this host none is of interest.
    install_from $NEW midge midge-top check-nats
    systemctl is-enabled midge
    systemctl is-active midge
    wait_until serves
    expect "the user" midge "$(stat -c %U "/proc/$(pid)")"
    check_nats | grep '^NATS OK'
    check_nats --mode explain | grep '^NATS OK'

    systemctl reload midge
    echo 'no_such_key: 1' >>/etc/midge/midge.conf
    ! systemctl reload midge || fail "a wrong file was reloaded"
    sed -i '$d' /etc/midge/midge.conf

    # The same version once more is an upgrade, too.
    local before
    before=$(property MainPID)
    count_during install_from $NEW midge
    grep "has taken over from process $before" /tmp/dpkg.log
    wait_until serves
    [ "$(property MainPID)" != "$before" ] || fail "the old broker still runs"
    expect "restarts of the service" 0 "$(property NRestarts)"
    wait_until test ! -e "/proc/$before"
    systemctl is-active midge

    # A unit that systemd would end with the old process: the service is restarted, and dpkg's output
    # says so.
    mkdir -p /etc/systemd/system/midge.service.d
    printf '[Service]\nType=exec\nNotifyAccess=none\nWatchdogSec=0\n' >/etc/systemd/system/midge.service.d/plain.conf
    systemctl daemon-reload
    systemctl restart midge
    before=$(property MainPID)
    install_from $NEW midge
    grep 'NotifyAccess=main' /tmp/dpkg.log
    grep 'no upgrade without a gap, see the line before: the service is restarted' /tmp/dpkg.log
    wait_until serves
    [ "$(property MainPID)" != "$before" ] || fail "the old broker still runs"
    rm -r /etc/systemd/system/midge.service.d
    systemctl daemon-reload

    systemctl disable midge
    install_from $NEW midge
    expect "a disabled service" disabled "$(systemctl is-enabled midge || true)"

    dpkg --remove midge >/dev/null 2>&1
    expect "processes of a removed broker" "" "$(pid || true)"
    expect "unit of a removed broker" not-found "$(property LoadState)"
    dpkg --purge midge >/dev/null 2>&1
    expect "links of a purged broker" "" "$(find /etc/systemd -name '*midge*')"
}

case ${1:-} in
inside) inside ;;
*) boot ;;
esac
