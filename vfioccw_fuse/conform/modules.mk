# Linux's vfio_ccw and what it stands on, as modules for a kernel that was built without: the files of
# drivers/vfio, drivers/vfio/mdev and drivers/s390/cio of Linux 6.1 in one folder with this Makefile.
obj-m := vfio.o vfio_iommu_type1.o mdev.o vfio_ccw.o
vfio-y := vfio_main.o iova_bitmap.o container.o
mdev-y := mdev_core.o mdev_sysfs.o mdev_driver.o
vfio_ccw-y := vfio_ccw_drv.o vfio_ccw_cp.o vfio_ccw_ops.o vfio_ccw_fsm.o vfio_ccw_async.o \
	vfio_ccw_trace.o vfio_ccw_chp.o
# The headers declare what the kernel's configuration would have on.
ccflags-y := -I$(src) -DCONFIG_VFIO_MODULE=1 -DCONFIG_VFIO_IOMMU_TYPE1_MODULE=1 \
	-DCONFIG_VFIO_MDEV_MODULE=1 -DCONFIG_VFIO_CCW_MODULE=1
