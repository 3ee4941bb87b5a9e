#!/bin/busybox sh
# bind BUSID UUID: give a subchannel to vfio_ccw, make a device of it, print its group's number.
bus=/sys/bus/css
[ -e "$bus/drivers/vfio_ccw" ] || { echo "bind: the kernel has no vfio_ccw" >&2; exit 1; }
echo vfio_ccw >"$bus/devices/$1/driver_override" || exit 1
echo "$1" >"$bus/drivers/io_subchannel/unbind" || exit 1
echo "$1" >"$bus/drivers/vfio_ccw/bind" || exit 1
echo "$2" >"$bus/devices/$1/mdev_supported_types/vfio_ccw-io/create" || exit 1
group=$(readlink "$bus/devices/$1/$2/iommu_group") && echo "${group##*/}"
