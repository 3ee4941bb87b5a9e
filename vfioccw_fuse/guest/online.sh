#!/bin/busybox sh
# online BUSID: set a DASD online, wait for its block device, print its name (dasda).
device=/sys/bus/ccw/devices/$1
[ "$(cat "$device/online")" = 1 ] || echo 1 >"$device/online" || exit 1
for turn in $(seq 100); do
    name=$(ls "$device/block" 2>/dev/null)
    if [ "$name" ] && [ -b "/dev/$name" ]; then
        # The tools look for it by its numbers, as udev would have it.
        mkdir -p /dev/block
        ln -sf "../$name" "/dev/block/$(cat "$device/block/$name/dev")"
        echo "$name"
        exit
    fi
    sleep 0.1
done
echo "online $1: no block device" >&2
exit 1
