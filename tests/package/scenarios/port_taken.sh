# Another broker has the port: the package is installed all the same, and starts once the port
# is free.
# shellcheck shell=bash source=tests/package/lib.sh
. /tests/lib.sh

dpkg -x $NEW/midge_*.deb /opt/other
/opt/other/usr/sbin/midge -a 127.0.0.1 -m -1 2>/tmp/other.log &
other=$!
wait_until grep -q 'Server is ready' /tmp/other.log
# The init script need not wait for long.
echo PATIENCE=2 >/etc/default/midge
install_from $NEW midge midge-top check-nats
rm /etc/default/midge
expect "state of the package" "ii " "$(dpkg-query -W -f '${db:Status-Abbrev}' midge)"
! service midge status || fail "two brokers on one port"
kill $other
wait $other
service midge start
wait_until serves
