#!/bin/busybox sh
# nested BUSID...: boot a second guest in this one, on devices that vfio_ccw has here. It is as this
# one: with a shell on the console; or it runs the script on stdin, whose exit status is given.
css=/sys/bus/css
. /guest
no() { # WHAT REMEDY
    echo "nested: no $1; $2" >&2
    exit 1
}
eval "set -- \"\$#\" \"\$@\" $(cat /nested/machine)"
count=$1
shift
while [ "$count" -gt 0 ]; do
    busid=$1
    shift
    count=$((count - 1))
    subchannel=$(cd $css/devices && grep -lxF "$busid" */dev_busid 2>/dev/null)
    subchannel=${subchannel%/*}
    [ "$subchannel" ] || no "device $busid" "there is: $(echo $(cat $css/devices/*/dev_busid))"
    type=$css/devices/$subchannel/mdev_supported_types/vfio_ccw-io
    [ -d "$type" ] || no "vfio_ccw at $busid" "bind vfio_ccw $busid, or --bind vfio_ccw"
    uuid=00000000-0000-4000-8000-00000000${busid##*.}
    [ -e "$css/devices/$subchannel/$uuid" ] || echo $uuid >"$type/create" || exit 1
    set -- "$@" -device "vfio-ccw,sysfsdev=/sys/bus/mdev/devices/$uuid,devno=fe.${busid#*.}"
done
[ "$mode" = script ] || exec "$@"

# A second archive behind the first has the script.
mkdir -p /tmp/nested && cat >/tmp/nested/script
(cd /tmp/nested && echo script | cpio -o -H newc 2>/dev/null) >>/nested/initramfs
"$@" </dev/null | awk '
    BEGIN { status = 1 }
    /@@nested begins@@/ { next }
    match($0, /@@nested (ended|failed) /) {
        printf "%s", substr($0, 1, RSTART - 1)
        said = substr($0, RSTART + RLENGTH)
        sub(/@@.*/, "", said)
        if (said ~ /^[0-9]+$/) status = said
        else print "nested: " said
        next
    }
    { print }
    END { exit status }'
