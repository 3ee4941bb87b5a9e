/*
 * A device in use: its infos, interrupts and reset, whichever way QEMU came to it.
 *
 * What is answered is in the mount's own files: device_info, region_info, irq_info, state.
 */
#include "preload.h"

static bool read_info(const struct device *device, const char *name, struct info *info)
{
    ssize_t length = slurp(device, name, info->bytes, sizeof(info->bytes));

    info->size = length < 0 ? 0 : (size_t)length;
    return length > 0;
}

/* The entry of INDEX in a file of structs that follow each other, each argsz long. */
static const void *entry(const struct info *info, size_t at_index, uint32_t index)
{
    size_t place = 0;

    while (place + at_index + sizeof(uint32_t) <= info->size) {
        uint32_t size, here;

        memcpy(&size, info->bytes + place, sizeof(size));
        memcpy(&here, info->bytes + place + at_index, sizeof(here));
        if (here == index && place + size <= info->size)
            return info->bytes + place;
        if (!size)
            break;
        place += size;
    }
    return NULL;
}

/* Where the regions begin whose requests we may have to answer. */
static void find_regions(struct device *device)
{
    const struct vfio_region_info *region;

    device->io_region = device->cmd_region = -1;
    for (uint32_t index = 0; (region = entry(&device->region_info,
                                             offsetof(struct vfio_region_info, index), index));
         index++) {
        struct vfio_region_info_cap_type type = {0};

        if (region->flags & VFIO_REGION_INFO_FLAG_CAPS)
            memcpy(&type, (const char *)region + region->cap_offset, sizeof(type));
        if (index == VFIO_CCW_CONFIG_REGION_INDEX)
            device->io_region = (off_t)region->offset;
        else if (type.type == VFIO_REGION_TYPE_CCW &&
                 type.subtype == VFIO_REGION_SUBTYPE_CCW_ASYNC_CMD)
            device->cmd_region = (off_t)region->offset;
    }
}

/* -------------------------------------------------------------------------------- begin and end */

static int cannot_be_opened(const struct device *device)
{
    int reason = errno;

    complain(device, "cannot be opened: %s", strerror(reason));
    return refuse(reason);
}

/* The descriptor whose pread and pwrite are region accesses. */
int open_device_file(const struct device *device)
{
    char path[PATH_MAX];
    int fd;

    snprintf(path, sizeof(path), "%s/device", device->directory);
    fd = real.open64(path, O_RDWR | O_CLOEXEC);
    return fd < 0 ? cannot_be_opened(device) : fd;
}

/* Whether it is free for us; else -1 with errno. */
static int check_free(const struct device *device)
{
    static const char *const attached[] = {"io_irq.attached", "crw_irq.attached",
                                           "req_irq.attached"};
    char state[STATE_MAX + 1], value[8];

    if (read_state(device, state))
        return cannot_be_opened(device);
    for (size_t i = 0; i < sizeof(attached) / sizeof(attached[0]); i++) {
        if (state_value(state, attached[i], value, sizeof(value)) && !strcmp(value, "1")) {
            complain(device, "in use by another client");
            return refuse(EBUSY);
        }
    }
    return 0;
}

/* From now on FD, which stays the caller's, is the device; -1 with errno: it is not. */
int use_device(struct device *device, int fd)
{
    if (check_free(device))
        return -1;
    if (!read_info(device, "device_info", &device->device_info) ||
        !read_info(device, "region_info", &device->region_info) ||
        !read_info(device, "irq_info", &device->irq_info) || connect_device(device))
        return cannot_be_opened(device);
    find_regions(device);
    device->fd = fd;
    return 0;
}

/* The end of the connection ends its maps and eventfds. */
void release_device(struct device *device)
{
    struct space *space = device->space;

    device->fd = -1;
    device->space = NULL;
    disconnect_device(device);
    if (space)
        drop_space(space);
}

/* ---------------------------------------------------------------------------------------- calls */

/* Copies an info struct of SIZE bytes to where a caller has room for argsz bytes. */
static int give_info(const void *info, uint32_t size, void *argument, uint32_t least)
{
    uint32_t room = *(uint32_t *)argument;

    if (room < least)
        return refuse(EINVAL);
    memcpy(argument, info, room < size ? room : size);
    /* argsz: what the caller said, or what it takes. */
    *(uint32_t *)argument = room < size ? size : room;
    return 0;
}

static int give_region_info(struct device *device, struct vfio_region_info *asked)
{
    const struct vfio_region_info *found =
        entry(&device->region_info, offsetof(struct vfio_region_info, index), asked->index);
    uint32_t room = asked->argsz;
    bool fits;

    if (!found || room < sizeof(*asked))
        return refuse(EINVAL);
    /* No room for the capabilities: the caller learns how much there must be, and asks again. */
    fits = room >= found->argsz;
    memcpy(asked, found, fits ? found->argsz : sizeof(*asked));
    if (fits)
        asked->argsz = room;
    else
        asked->cap_offset = 0;
    return 0;
}

static int give_irq_info(struct device *device, struct vfio_irq_info *asked)
{
    const struct vfio_irq_info *found =
        entry(&device->irq_info, offsetof(struct vfio_irq_info, index), asked->index);

    return found ? give_info(found, found->argsz, asked, sizeof(*asked)) : refuse(EINVAL);
}

/* Writes DATA into the file NAME of the mount. */
static int put(const struct device *device, const char *name, const void *data, size_t size)
{
    char path[PATH_MAX];
    ssize_t done;
    int fd;

    snprintf(path, sizeof(path), "%s/%s", device->directory, name);
    fd = real.open64(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    done = write(fd, data, size);
    real.close(fd);
    return done == (ssize_t)size ? 0 : -1;
}

static int trigger(const struct device *device, uint32_t index)
{
    static const char *const names[] = {"io_irq", "crw_irq", "req_irq"};
    static const uint64_t one = 1;

    return put(device, names[index], &one, sizeof(one));
}

static int attach(struct device *device, uint32_t index, int fd)
{
    if (fd < -1)
        return refuse(EINVAL);
    if (index == VFIO_CCW_IO_IRQ_INDEX) {
        pthread_mutex_lock(&device->lock);
        if (device->io_event >= 0)
            real.close(device->io_event);
        device->io_event = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
        pthread_mutex_unlock(&device->lock);
    }
    return fd < 0 && is_gone(device) ? 0 : ask(device, fd, "\"irq\": %u}", index);
}

/* What is refused: vfio_set_irqs_validate_and_prepare; what is done: vfio_ccw_mdev_set_irqs. */
static int set_irqs(struct device *device, const struct vfio_irq_set *set)
{
    const uint32_t known = VFIO_IRQ_SET_DATA_TYPE_MASK | VFIO_IRQ_SET_ACTION_TYPE_MASK;
    uint32_t type = set->flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
    size_t size = type == VFIO_IRQ_SET_DATA_EVENTFD ? sizeof(int) : type == VFIO_IRQ_SET_DATA_BOOL;
    int fd;

    if (set->argsz < sizeof(*set) || set->flags & ~known || set->start || set->count > 1 ||
        !(set->flags & VFIO_IRQ_SET_ACTION_TRIGGER) ||
        !entry(&device->irq_info, offsetof(struct vfio_irq_info, index), set->index))
        return refuse(EINVAL);
    if (type == VFIO_IRQ_SET_DATA_NONE)
        return trigger(device, set->index);
    if (!size || !set->count || set->argsz - sizeof(*set) < size)
        return refuse(EINVAL);
    if (type == VFIO_IRQ_SET_DATA_BOOL)
        return set->data[0] ? trigger(device, set->index) : 0;
    memcpy(&fd, set->data, sizeof(fd));
    return attach(device, set->index, fd);
}

static int reset_device(const struct device *device)
{
    return put(device, "reset", "1", 1);
}

int device_ioctl(struct device *device, unsigned long request, void *argument)
{
    switch (request) {
    case VFIO_DEVICE_GET_INFO:
        /* Without cap_offset, which Linux's driver leaves as it is. */
        return give_info(device->device_info.bytes, offsetof(struct vfio_device_info, cap_offset),
                         argument, offsetof(struct vfio_device_info, cap_offset));
    case VFIO_DEVICE_GET_REGION_INFO:
        return give_region_info(device, argument);
    case VFIO_DEVICE_GET_IRQ_INFO:
        return give_irq_info(device, argument);
    case VFIO_DEVICE_SET_IRQS:
        return set_irqs(device, argument);
    case VFIO_DEVICE_RESET:
        return reset_device(device);
    default:
        return refuse(ENOTTY);
    }
}
