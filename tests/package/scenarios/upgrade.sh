# From an older version: the new broker runs, edited settings stay, and the new default lies
# beside them.
# shellcheck shell=bash source=tests/package/lib.sh
. /tests/lib.sh

# Untouched settings are replaced.
install_from $OLD midge midge-top check-nats
wait_until serves
old=$(pid)
grep -q 'old version' /etc/midge/midge.conf
install_from $NEW midge midge-top check-nats
wait_until serves
[ "$(pid)" != "$old" ] || fail "the old broker still runs"
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

# A broker that was stopped and disabled stays so.
service midge stop
update-rc.d midge disable
install_from $OLD midge
install_from $NEW midge
expect "links that start it" "" "$(find /etc/rc[2345].d -name 'S*midge')"
