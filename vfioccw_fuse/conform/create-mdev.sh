#!/bin/busybox sh
# create-mdev UUID: make a device of the subchannel that vfio_ccw has; print the number of its group and,
# where the kernel has it, the name of its own node in /dev/vfio/devices.
cd /sys/bus/css/drivers/vfio_ccw/0.0.* || exit 1
echo "$1" >mdev_supported_types/vfio_ccw-io/create || exit 1
group=$(readlink "$1/iommu_group") && echo "${group##*/}" $(ls "$1/vfio-dev" 2>/dev/null)
