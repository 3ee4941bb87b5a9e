/*
 * The older way in: a container, a group in it, a device out of it.
 *
 * The calls and what they refuse: linux/vfio.h, drivers/vfio/container.c and group.c; their order:
 * hw/vfio/common.c and ccw.c of QEMU 7.2, container.c of newer ones.
 */
#include "preload.h"

#define PAGE_SIZES (~(PAGE - 1))

static int map_dma(struct space *space, const struct vfio_iommu_type1_dma_map *asked)
{
    struct map map = {asked->iova, asked->iova + asked->size - 1, -1, asked->vaddr};

    if (!asked->size || map.last < map.iova || (asked->iova | asked->size | asked->vaddr) % PAGE)
        return refuse(EINVAL);
    return add_map(space, map);
}

static int unmap_dma(struct space *space, struct vfio_iommu_type1_dma_unmap *asked)
{
    uint64_t last = asked->iova + asked->size - 1, gone;

    if (!asked->size || last < asked->iova)
        return refuse(EINVAL);
    if (remove_maps(space, asked->iova, last, &gone))
        return refuse(EINVAL);
    asked->size = gone;
    return 0;
}

static int container_ioctl(const struct handle *handle, unsigned long request, void *argument)
{
    switch (request) {
    case VFIO_GET_API_VERSION:
        return VFIO_API_VERSION;
    case VFIO_CHECK_EXTENSION:
        return (uintptr_t)argument == VFIO_TYPE1v2_IOMMU;
    case VFIO_SET_IOMMU:
        return (uintptr_t)argument == VFIO_TYPE1v2_IOMMU ? 0 : refuse(ENODEV);
    case VFIO_IOMMU_GET_INFO: {
        struct vfio_iommu_type1_info *info = argument;

        info->flags = VFIO_IOMMU_INFO_PGSIZES;
        info->iova_pgsizes = PAGE_SIZES;
        return 0;
    }
    case VFIO_IOMMU_MAP_DMA:
        return map_dma(handle->object, argument);
    case VFIO_IOMMU_UNMAP_DMA:
        return unmap_dma(handle->object, argument);
    default:
        return refuse(ENOTTY);
    }
}

static void close_container(const struct handle *handle)
{
    drop_space(handle->object);
}

static const struct kind container = {container_ioctl, close_container};

int open_container(void)
{
    struct space *space = new_space();
    int fd = space ? add_handle(new_descriptor(), &container, space) : -1;

    if (space && fd < 0)
        drop_space(space);
    return fd;
}

static struct device *user_of(const struct group *group)
{
    for (size_t i = 0; i < device_count; i++)
        if (devices[i].group == group && devices[i].fd >= 0)
            return &devices[i];
    return NULL;
}

/* SPACE is that of a container, or NULL: out of it. */
static int set_container(struct group *group, struct space *space)
{
    if (user_of(group))
        return refuse(EBUSY);
    if (space)
        space->users++;
    if (group->space)
        drop_space(group->space);
    group->space = space;
    return 0;
}

static int ioctl_of_device(const struct handle *handle, unsigned long request, void *argument)
{
    return device_ioctl(handle->object, request, argument);
}

static void close_device(const struct handle *handle)
{
    release_device(handle->object);
}

const struct kind grouped_device = {ioctl_of_device, close_device};

static int open_grouped_device(struct device *device)
{
    int fd;

    if (!device->group->space)
        return refuse(EINVAL);
    if (device->fd >= 0)
        return refuse(EBUSY);
    fd = open_device_file(device);
    if (fd < 0)
        return -1;
    if (use_device(device, fd)) {
        int reason = errno;

        real.close(fd);
        return refuse(reason);
    }
    if (attach_device(device, device->group->space)) {
        release_device(device);
        real.close(fd);
        return refuse(EFAULT);
    }
    return add_handle(fd, &grouped_device, device);
}

static int get_device(const struct group *group, const char *name)
{
    for (size_t i = 0; i < device_count; i++)
        if (devices[i].group == group && !strcmp(devices[i].id, name))
            return open_grouped_device(&devices[i]);
    return refuse(ENODEV);
}

static int group_ioctl(const struct handle *handle, unsigned long request, void *argument)
{
    struct group *group = handle->object;

    switch (request) {
    case VFIO_GROUP_GET_STATUS: {
        struct vfio_group_status *status = argument;

        status->flags = VFIO_GROUP_FLAGS_VIABLE;
        if (group->space)
            status->flags |= VFIO_GROUP_FLAGS_CONTAINER_SET;
        return 0;
    }
    case VFIO_GROUP_SET_CONTAINER: {
        const struct handle *given = handle_of(*(int *)argument);

        if (!given || given->kind != &container)
            return refuse(EINVAL);
        return set_container(group, given->object);
    }
    case VFIO_GROUP_UNSET_CONTAINER:
        return set_container(group, NULL);
    case VFIO_GROUP_GET_DEVICE_FD:
        return get_device(group, argument);
    default:
        return refuse(ENOTTY);
    }
}

static void close_group(const struct handle *handle)
{
    struct group *group = handle->object;

    group->open = false;
    if (group->space)
        drop_space(group->space);
    group->space = NULL;
}

static const struct kind group_kind = {group_ioctl, close_group};

/* EBUSY also while one of its devices is in use by iommufd (vfio_group_fops_open). */
int open_group(int number)
{
    for (size_t i = 0; i < device_count; i++) {
        struct group *group = devices[i].group;
        int fd;

        if (group->number != number)
            continue;
        if (group->open || user_of(group))
            return refuse(EBUSY);
        fd = add_handle(new_descriptor(), &group_kind, group);
        group->open = fd >= 0;
        return fd;
    }
    return NOT_OURS;
}
