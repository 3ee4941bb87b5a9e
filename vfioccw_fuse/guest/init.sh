#!/bin/busybox sh
# The first process of the guest. What it shall do is in /guest.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/ TERM=linux LD_LIBRARY_PATH=/usr/lib
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
ln -sf /proc/mounts /etc/mtab
. /guest

failed() { # WHAT: end and say why, but let a person look
    if [ "$mode" = shell ]; then
        echo "$1"
    else
        echo "@@${mark}failed $1@@"
        poweroff -f
    fi
}

if [ -e /modules/order ]; then
    while read -r module; do
        insmod "/modules/$module.ko"
    done </modules/order
fi
for module in /added/*.ko; do
    [ -e "$module" ] || break
    said=$(insmod "$module" 2>&1) || failed "$said"
done
for device in $bound; do
    said=$(bind "$driver" "$device" 2>&1) || failed "$said"
done

case $mode in
script)
    # Its output as it is, and the kernel's messages only where all were asked for.
    stty -opost
    [ "$verbose" ] || dmesg -n 1
    echo "@@${mark}begins@@"
    sh /script </dev/null
    echo "@@${mark}ended $?@@"
    ;;
driven)
    stty -echo
    echo "@@ready@@"
    # As a script: a shell whose input is a terminal would prompt.
    sh /dev/console
    ;;
shell)
    cat <<END

Linux $(uname -r) on $(uname -m); devices: $(echo $(ls /sys/bus/ccw/devices))
online 0.0.1234 sets one online and says its name, offline 0.0.1234 gives it back; exit ends.
END
    setsid cttyhack sh
    ;;
esac
poweroff -f
