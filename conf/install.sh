#!/bin/sh
# Installs the files of this archive below /, or below the folder DESTDIR. An edited midge.conf is
# left alone. A broker that runs goes on with the program that it was started as, until
# "midge --signal upgrade" or a restart.
set -e
cd "$(dirname "$0")/files"
find . -type f -o -type l | while read -r file; do
    target=$DESTDIR/${file#./}
    [ "$file" = ./etc/midge/midge.conf ] && [ -e "$target" ] && continue
    mkdir -p "$(dirname "$target")"
    # Renamed, because a program that runs cannot be written.
    cp -P "$file" "$target.new"
    mv -f "$target.new" "$target"
done
echo "midge is installed; 'midge -c /etc/midge/midge.conf' starts it, for a service see README.md"
