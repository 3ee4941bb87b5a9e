#!/bin/busybox sh
# bind DRIVER BUSID: give a device's subchannel to a driver of bus css, print the subchannel.
css=/sys/bus/css
device=/sys/bus/ccw/devices/$2
no() { # WHAT REMEDY
    echo "bind: no $1; $2" >&2
    exit 1
}
[ -d "$css/drivers/$1" ] || no "driver $1 in this kernel" \
    "build one with vfioccw guest kernel and give it by --kernel, or load the driver by --module"
[ -e "$device" ] || no "device $2 here" "there is: $(echo $(ls /sys/bus/ccw/devices))"
subchannel=$(basename "$(dirname "$(readlink -f "$device")")")
echo "$1" >"$css/devices/$subchannel/driver_override" || exit 1
echo "$subchannel" >"$css/drivers/io_subchannel/unbind" || exit 1
echo "$subchannel" >"$css/drivers/$1/bind" || exit 1
echo "$subchannel"
