#!/bin/busybox sh
# create-mdev SUBCHANNEL UUID: make a device of a subchannel that vfio_ccw has, print its group's number.
subchannel=/sys/bus/css/devices/$1
echo "$2" >"$subchannel/mdev_supported_types/vfio_ccw-io/create" || exit 1
group=$(readlink "$subchannel/$2/iommu_group") && echo "${group##*/}"
