#!/bin/busybox sh
# The first process of the guest. What it shall do is in /scenario, else it gives a shell.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/ TERM=linux LD_LIBRARY_PATH=/usr/lib
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
ln -sf /proc/mounts /etc/mtab
while read -r module; do
    insmod "/modules/$module.ko"
done </modules/order

case $(cat /guest-mode) in
scenario)
    sh /scenario
    echo "@@ended $?@@"
    ;;
driven)
    stty -echo
    echo "@@ready@@"
    # As a script: a shell whose input is a terminal would prompt.
    sh /dev/console
    ;;
*)
    cat <<END

Linux $(uname -r) on $(uname -m); devices: $(echo $(ls /sys/bus/ccw/devices))
online 0.0.1234 sets one online and says its name, offline 0.0.1234 gives it back; exit ends.
END
    setsid cttyhack sh
    ;;
esac
poweroff -f
