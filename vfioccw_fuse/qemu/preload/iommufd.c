/*
 * The newer way in: an iommufd with IOAS objects, and a character device that is bound to it.
 *
 * The calls and what they refuse: Documentation/userspace-api/iommufd.rst of Linux,
 * drivers/iommu/iommufd/main.c, ioas.c and io_pagetable.c, drivers/vfio/device_cdev.c; their order:
 * backends/iommufd.c and hw/vfio/iommufd.c of QEMU 10.  The structs are declared here, for systems
 * whose headers are older than these calls.  Left out are the calls for page tables in hardware,
 * which a mediated device has not, and those that make an iommufd a container.
 */
#include "preload.h"

#include <sys/ioctl.h>

/* linux/iommufd.h: each struct begins with its size. */
#define DESTROY _IO(';', 0x80)
#define IOAS_ALLOC _IO(';', 0x81)
#define IOAS_RANGES _IO(';', 0x84)
#define IOAS_MAP _IO(';', 0x85)
#define IOAS_UNMAP _IO(';', 0x86)
#define IOAS_MAP_FILE _IO(';', 0x8f)
#define MAP_FIXED_IOVA 1u
#define MAP_WRITEABLE 2u
#define MAP_READABLE 4u

struct destroy {
    uint32_t size, id;
};

struct ioas_alloc {
    uint32_t size, flags, ioas_id;
};

struct ioas_ranges {
    uint32_t size, ioas_id, count, reserved;
    uint64_t ranges, alignment;
};

struct ioas_map {
    uint32_t size, flags, ioas_id, reserved;
    uint64_t vaddr, length, iova;
};

struct ioas_map_file {
    uint32_t size, flags, ioas_id;
    int32_t fd;
    uint64_t start, length, iova;
};

struct ioas_unmap {
    uint32_t size, ioas_id;
    uint64_t iova, length;
};

/* linux/vfio.h, from 6.6 on. */
#define BIND_IOMMUFD _IO(VFIO_TYPE, VFIO_BASE + 18)
#define ATTACH_IOAS _IO(VFIO_TYPE, VFIO_BASE + 19)
#define DETACH_IOAS _IO(VFIO_TYPE, VFIO_BASE + 20)

struct bind_iommufd {
    uint32_t argsz, flags;
    int32_t iommufd;
    uint32_t device_id;
};

struct attach_ioas {
    uint32_t argsz, flags, ioas_id;
};

struct detach_ioas {
    uint32_t argsz, flags;
};

/* What an id stands for: an address space, or a device that is bound; neither: it is free. */
struct object {
    struct space *space;
    const struct device *device;
};

struct iommufd {
    unsigned int users;      /* its descriptor, and every device that is bound to it */
    struct object *objects;  /* the id of the first is 1 */
    size_t object_count;
};

/* -------------------------------------------------------------------------------------- objects */

/* The lowest free id, which is now OBJECT's; 0 with errno: no memory. */
static uint32_t add_object(struct iommufd *iommufd, struct object object)
{
    struct object *objects = iommufd->objects;
    size_t place = 0;

    while (place < iommufd->object_count && (objects[place].space || objects[place].device))
        place++;
    if (place == iommufd->object_count) {
        objects = realloc(objects, (place + 1) * sizeof(*objects));
        if (!objects)
            return 0;
        iommufd->objects = objects;
        iommufd->object_count++;
    }
    objects[place] = object;
    return (uint32_t)place + 1;
}

/* NULL: there is none of that id. */
static struct object *object_of(const struct iommufd *iommufd, uint32_t id)
{
    struct object *object;

    if (!id || id > iommufd->object_count)
        return NULL;
    object = &iommufd->objects[id - 1];
    return object->space || object->device ? object : NULL;
}

/* NULL with errno: there is no IOAS of that id. */
static struct space *space_of(const struct iommufd *iommufd, uint32_t id)
{
    const struct object *object = object_of(iommufd, id);

    if (!object || !object->space)
        errno = ENOENT;
    return object ? object->space : NULL;
}

static void drop_iommufd(struct iommufd *iommufd)
{
    if (--iommufd->users)
        return;
    for (size_t i = 0; i < iommufd->object_count; i++)
        if (iommufd->objects[i].space)
            drop_space(iommufd->objects[i].space);
    free(iommufd->objects);
    free(iommufd);
}

/* ----------------------------------------------------------------------------- calls of iommufd */

static int destroy(struct iommufd *iommufd, void *argument)
{
    const struct destroy *asked = argument;
    struct object *object = object_of(iommufd, asked->id);

    if (!object)
        return refuse(ENOENT);
    if (object->device || object->space->users > 1)
        return refuse(EBUSY);
    drop_space(object->space);
    object->space = NULL;
    return 0;
}

static int alloc_ioas(struct iommufd *iommufd, void *argument)
{
    struct ioas_alloc *asked = argument;
    struct space *space;

    if (asked->flags)
        return refuse(EOPNOTSUPP);
    space = new_space();
    if (!space)
        return -1;
    asked->ioas_id = add_object(iommufd, (struct object){space, NULL});
    if (asked->ioas_id)
        return 0;
    drop_space(space);
    return -1;
}

/* One range: all addresses, by pages. */
static int give_ranges(struct iommufd *iommufd, void *argument)
{
    static const uint64_t all[2] = {0, UINT64_MAX};
    struct ioas_ranges *asked = argument;
    uint32_t room = asked->count;

    if (asked->reserved)
        return refuse(EOPNOTSUPP);
    if (!space_of(iommufd, asked->ioas_id))
        return -1;
    asked->count = 1;
    asked->alignment = PAGE;
    if (!room)
        return refuse(EMSGSIZE);
    memcpy((void *)(uintptr_t)asked->ranges, all, sizeof(all));
    return 0;
}

/* Whether a map may be made with these FLAGS at these pages; PLACE is where its memory begins. */
static int check_map(uint32_t flags, uint64_t place, uint64_t length, uint64_t iova)
{
    if (flags & ~(MAP_FIXED_IOVA | MAP_WRITEABLE | MAP_READABLE))
        return refuse(EOPNOTSUPP);
    if (iova == UINT64_MAX || length == UINT64_MAX)
        return refuse(EOVERFLOW);
    /* Linux would choose an address itself; nobody asks us to. */
    if (!(flags & MAP_FIXED_IOVA))
        return refuse(EOPNOTSUPP);
    if (!(flags & (MAP_WRITEABLE | MAP_READABLE)) || !length || (iova | length | place) % PAGE)
        return refuse(EINVAL);
    return iova + length - 1 < iova ? refuse(EOVERFLOW) : 0;
}

static int map_memory(struct iommufd *iommufd, void *argument)
{
    const struct ioas_map *asked = argument;
    struct map map = {asked->iova, asked->iova + asked->length - 1, -1, asked->vaddr};
    struct space *space;

    if (asked->reserved)
        return refuse(EOPNOTSUPP);
    if (check_map(asked->flags, asked->vaddr, asked->length, asked->iova))
        return -1;
    space = space_of(iommufd, asked->ioas_id);
    return space ? add_map(space, map) : -1;
}

static int map_file(struct iommufd *iommufd, void *argument)
{
    const struct ioas_map_file *asked = argument;
    struct map map = {asked->iova, asked->iova + asked->length - 1, asked->fd, asked->start};
    struct space *space;

    if (check_map(asked->flags, asked->start, asked->length, asked->iova))
        return -1;
    space = space_of(iommufd, asked->ioas_id);
    if (!space)
        return -1;
    if (fcntl(asked->fd, F_GETFD) < 0)
        return refuse(EBADF);
    prefer_usable(&map);
    return add_map(space, map);
}

static int unmap(struct iommufd *iommufd, void *argument)
{
    struct ioas_unmap *asked = argument;
    struct space *space = space_of(iommufd, asked->ioas_id);
    bool all = !asked->iova && asked->length == UINT64_MAX;
    uint64_t last = all ? UINT64_MAX : asked->iova + asked->length - 1, gone;

    if (!space)
        return -1;
    if (!all && (asked->iova == UINT64_MAX || asked->length == UINT64_MAX))
        return refuse(EOVERFLOW);
    if (!asked->length)
        return refuse(EINVAL);
    if (last < asked->iova)
        return refuse(EOVERFLOW);
    /* Nothing there, or a map that would be cut; of everything nothing is enough. */
    if (remove_maps(space, asked->iova, last, &gone) || (!gone && !all))
        return refuse(ENOENT);
    asked->length = gone;
    return 0;
}

static const struct {
    unsigned long request;
    size_t size;
    int (*execute)(struct iommufd *iommufd, void *argument);
} calls[] = {
    {DESTROY, sizeof(struct destroy), destroy},
    {IOAS_ALLOC, sizeof(struct ioas_alloc), alloc_ioas},
    {IOAS_RANGES, sizeof(struct ioas_ranges), give_ranges},
    {IOAS_MAP, sizeof(struct ioas_map), map_memory},
    {IOAS_MAP_FILE, sizeof(struct ioas_map_file), map_file},
    {IOAS_UNMAP, sizeof(struct ioas_unmap), unmap},
};

/* A struct of a newer caller is longer; what we do not know of it must be zero. */
static int check_size(const void *argument, size_t ours)
{
    const char *bytes = argument;
    uint32_t size;

    if (!argument)
        return refuse(EFAULT);
    memcpy(&size, argument, sizeof(size));
    if (size < ours)
        return refuse(EINVAL);
    for (size_t i = ours; i < size; i++)
        if (bytes[i])
            return refuse(E2BIG);
    return 0;
}

static int iommufd_ioctl(const struct handle *handle, unsigned long request, void *argument)
{
    for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
        if (calls[i].request == request)
            return check_size(argument, calls[i].size)
                       ? -1
                       : calls[i].execute(handle->object, argument);
    return refuse(ENOTTY);
}

static void close_iommufd(const struct handle *handle)
{
    drop_iommufd(handle->object);
}

static const struct kind iommufd_kind = {iommufd_ioctl, close_iommufd};

int open_iommufd(void)
{
    struct iommufd *iommufd = calloc(1, sizeof(*iommufd));
    int fd;

    if (!iommufd)
        return -1;
    iommufd->users = 1;
    fd = add_handle(new_descriptor(), &iommufd_kind, iommufd);
    if (fd < 0)
        drop_iommufd(iommufd);
    return fd;
}

/* ------------------------------------------------------------------ calls of a character device */

/* The iommufd whose descriptor is FD; NULL with errno. */
static struct iommufd *iommufd_with(int fd)
{
    const struct handle *handle = handle_of(fd);

    if (handle && handle->kind == &iommufd_kind)
        return handle->object;
    /* Also of a descriptor that is another's, as Linux says it. */
    errno = fcntl(fd, F_GETFD) < 0 ? EBADF : EBADFD;
    return NULL;
}

/* From now on the descriptor is the device; it was opened for nothing else. */
static int bind_device(const struct handle *handle, struct bind_iommufd *asked)
{
    struct device *device = handle->object;
    struct iommufd *iommufd;

    if (asked->argsz < sizeof(*asked) || asked->flags || asked->iommufd < 0)
        return refuse(EINVAL);
    if (device->group->open)
        return refuse(EBUSY);
    /* One descriptor is bound once, and of a device only one. */
    if (device->fd >= 0)
        return refuse(EINVAL);
    iommufd = iommufd_with(asked->iommufd);
    if (!iommufd)
        return -1;
    device->iommufd_id = add_object(iommufd, (struct object){NULL, device});
    if (!device->iommufd_id)
        return -1;
    if (use_device(device, handle->fd)) {
        object_of(iommufd, device->iommufd_id)->device = NULL;
        return -1;
    }
    iommufd->users++;
    device->iommufd = iommufd;
    asked->device_id = device->iommufd_id;
    return 0;
}

/* Another IOAS takes the place of the one before. */
static int attach_ioas(struct device *device, const struct attach_ioas *asked)
{
    struct space *space;

    if (asked->argsz < sizeof(*asked) || asked->flags)
        return refuse(EINVAL);
    space = space_of(device->iommufd, asked->ioas_id);
    return space ? attach_device(device, space) : -1;
}

static int detach_ioas(struct device *device, const struct detach_ioas *asked)
{
    if (asked->argsz < sizeof(*asked) || asked->flags)
        return refuse(EINVAL);
    detach_device(device);
    return 0;
}

static int cdev_ioctl(const struct handle *handle, unsigned long request, void *argument)
{
    struct device *device = handle->object;

    if (request == BIND_IOMMUFD)
        return bind_device(handle, argument);
    if (device->fd != handle->fd)
        return refuse(EINVAL);
    if (request == ATTACH_IOAS)
        return attach_ioas(device, argument);
    if (request == DETACH_IOAS)
        return detach_ioas(device, argument);
    return device_ioctl(device, request, argument);
}

static void close_cdev(const struct handle *handle)
{
    struct device *device = handle->object;
    struct iommufd *iommufd = device->iommufd;

    if (device->fd != handle->fd)
        return;
    release_device(device);
    object_of(iommufd, device->iommufd_id)->device = NULL;
    device->iommufd = NULL;
    drop_iommufd(iommufd);
}

const struct kind cdev = {cdev_ioctl, close_cdev};

/* As often as one likes: it is nothing until it is bound. */
int open_cdev(struct device *device)
{
    return add_handle(open_device_file(device), &cdev, device);
}
