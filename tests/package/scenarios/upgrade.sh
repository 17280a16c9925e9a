# From an older version: the new broker takes over without a gap, edited settings stay, and the new
# default lies beside them.
# shellcheck shell=bash source=tests/package/lib.sh
. /tests/lib.sh

# Untouched settings are replaced.
install_from $OLD midge midge-top check-nats
wait_until serves
old=$(cat /run/midge/midge.pid)
grep -q 'old version' /etc/midge/midge.conf
count_during install_from $NEW midge midge-top check-nats
grep "has taken over from process $old" /tmp/dpkg.log
wait_until serves
[ "$(cat /run/midge/midge.pid)" != "$old" ] || fail "the old broker still runs"
wait_until test ! -e "/proc/$old"
! grep -q restarted /tmp/dpkg.log || fail "the broker was restarted"
! grep -q 'old version' /etc/midge/midge.conf || fail "an untouched default was kept"
expect "files of conflicts" "" "$(find /etc -name '*.dpkg-*')"
dpkg --purge midge midge-top check-nats >/dev/null 2>&1

# Edited ones are kept, with their modes.
install_from $OLD midge midge-top check-nats
echo 'port: 4333' >>/etc/midge/midge.conf
chmod 600 /etc/midge/midge.conf
chown midge: /etc/midge/midge.conf
service midge restart
install_from $NEW midge midge-top check-nats
wait_until check_nats -p 4333 -H 127.0.0.1 --mode connect
grep -q 'old version' /etc/midge/midge.conf
expect "mode of the settings" "600 midge" "$(stat -c '%a %U' /etc/midge/midge.conf)"
cmp /etc/midge/midge.conf.dpkg-dist <(dpkg --fsys-tarfile $NEW/midge_*.deb | tar -xO ./etc/midge/midge.conf)

# A broker that cannot hand over is restarted, and dpkg's output says so: this one takes systemd for
# its manager, which would end the new process.
mkdir /opt/wrapped
printf '#!/bin/sh\nexport SYSTEMD_EXEC_PID=$$\nexec /usr/sbin/midge "$@"\n' >/opt/wrapped/midge
chmod 755 /opt/wrapped/midge
echo DAEMON=/opt/wrapped/midge >/etc/default/midge
service midge restart
old=$(cat /run/midge/midge.pid)
install_from $NEW midge midge-top check-nats
grep 'NotifyAccess=main' /tmp/dpkg.log
grep 'no upgrade without a gap: the broker is restarted' /tmp/dpkg.log
wait_until check_nats -p 4333 -H 127.0.0.1 --mode connect
[ "$(cat /run/midge/midge.pid)" != "$old" ] || fail "the old broker still runs"
rm -r /etc/default/midge /opt/wrapped

# A broker that was stopped and disabled stays so.
service midge stop
update-rc.d midge disable
install_from $OLD midge
install_from $NEW midge
expect "links that start it" "" "$(find /etc/rc[2345].d -name 'S*midge')"
