/*
 * Lets an unmodified QEMU use subchannels of a mount as vfio-ccw devices.
 *
 * Loaded into QEMU by LD_PRELOAD (`vfioccw qemu` does that).  It answers what QEMU asks of
 * /dev/vfio, /dev/iommu and /sys for the subchannels named in VFIOCCW_DEVICES, one
 * "DIRECTORY<tab>GROUP" a line, and passes everything else on.  What it answers is in the mount's
 * own files.  The device descriptor that QEMU gets is the mount's file `device`: region accesses go
 * there as they are.  Eventfds and maps of memory go to the server over the mount's socket `irqfd`,
 * one connection a device.
 *
 * These are the functions that take the place of the C library's; nothing else is visible outside.
 */
#include "preload.h"

#include <stdarg.h>

#pragma GCC visibility push(default)

/* ------------------------------------------------------------------------------- open and close */

/* The descriptor of what is ours at PATH, or NOT_OURS. */
static int open_ours(const char *path)
{
    struct device *device;
    int group, end = 0;

    start();
    if (!device_count || !path)
        return NOT_OURS;
    if (!strcmp(path, "/dev/iommu"))
        return open_iommufd();
    if (!strcmp(path, "/dev/vfio/vfio"))
        return open_container();
    if (sscanf(path, "/dev/vfio/%d%n", &group, &end) == 1 && end && !path[end])
        return open_group(group);
    device = device_of_cdev(path);
    return device ? open_cdev(device) : open_attribute(path);
}

/* The mode is there if the flags ask for one. */
static mode_t mode_in(int flags, va_list arguments)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

int open64(const char *path, int flags, ...)
{
    int fd = open_ours(path);
    va_list arguments;
    mode_t mode;

    va_start(arguments, flags);
    mode = mode_in(flags, arguments);
    va_end(arguments);
    return fd == NOT_OURS ? real.open64(path, flags, mode) : fd;
}

int open(const char *path, int flags, ...)
{
    int fd = open_ours(path);
    va_list arguments;
    mode_t mode;

    va_start(arguments, flags);
    mode = mode_in(flags, arguments);
    va_end(arguments);
    return fd == NOT_OURS ? real.open(path, flags, mode) : fd;
}

int __open64_2(const char *path, int flags)
{
    int fd = open_ours(path);

    return fd == NOT_OURS ? real.open64_2(path, flags) : fd;
}

int __open_2(const char *path, int flags)
{
    int fd = open_ours(path);

    return fd == NOT_OURS ? real.open_2(path, flags) : fd;
}

FILE *fopen64(const char *path, const char *mode)
{
    int fd;

    start();
    fd = open_attribute(path);
    if (fd == NOT_OURS)
        return real.fopen64(path, mode);
    return fd < 0 ? NULL : fdopen(fd, "r");
}

FILE *fopen(const char *path, const char *mode)
{
    return fopen64(path, mode);
}

int close(int fd)
{
    start();
    close_handle(fd);
    return real.close(fd);
}

int ioctl(int fd, unsigned long request, ...)
{
    const struct handle *handle;
    va_list arguments;
    void *argument;

    va_start(arguments, request);
    argument = va_arg(arguments, void *);
    va_end(arguments);
    start();
    handle = handle_of(fd);
    if (handle)
        return handle->kind->ioctl(handle, request, argument);
    return real.ioctl(fd, request, argument);
}

/* -------------------------------------------------------------------------- regions of a device */

/* The device whose regions FD accesses, or NULL; *bound: a character device may be not yet. */
static struct device *device_of(int fd, bool *bound)
{
    const struct handle *handle = handle_of(fd);
    struct device *device;

    if (!handle || (handle->kind != &grouped_device && handle->kind != &cdev))
        return NULL;
    device = handle->object;
    *bound = device->fd == fd;
    return device;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    struct device *device;
    bool bound;

    start();
    device = device_of(fd, &bound);
    if (!device)
        return real.pwrite64(fd, data, size, at);
    return bound ? write_region(device, data, size, at) : refuse(EINVAL);
}

ssize_t pread64(int fd, void *data, size_t size, off64_t at)
{
    struct device *device;
    bool bound;

    start();
    device = device_of(fd, &bound);
    if (!device)
        return real.pread64(fd, data, size, at);
    return bound ? read_region(device, data, size, at) : refuse(EINVAL);
}

ssize_t __pread64_chk(int fd, void *data, size_t size, off64_t at, size_t room)
{
    if (size > room)
        abort();
    return pread64(fd, data, size, at);
}

/* ------------------------------------------------------------------------ names and directories */

/* QEMU 11 looks whether there is a /dev/iommu before it opens it. */
int access(const char *path, int mode)
{
    start();
    if (!device_count ||
        (strcmp(path, "/dev/iommu") && strcmp(path, "/dev/vfio/vfio") && !device_of_cdev(path)))
        return real.access(path, mode);
    return mode & X_OK ? refuse(EACCES) : 0;
}

ssize_t readlink(const char *path, char *to, size_t size)
{
    struct device *device;
    char link[64];
    size_t length;

    start();
    device = device_of_group_link(path);
    if (!device)
        return real.readlink(path, to, size);
    length = (size_t)snprintf(link, sizeof(link), "../../../kernel/iommu_groups/%d",
                              device->group->number);
    length = length < size ? length : size;
    memcpy(to, link, length);
    return (ssize_t)length;
}

ssize_t __readlink_chk(const char *path, char *to, size_t size, size_t room)
{
    return readlink(path, to, size < room ? size : room);
}

/* A subchannel's directory becomes the sysfs path of a mediated device of the same name. */
char *realpath(const char *path, char *resolved)
{
    char sysfs[PATH_MAX];
    char *found;

    start();
    found = real.realpath(path, resolved);
    if (!found || !sysfs_name(found, sysfs, sizeof(sysfs)))
        return found;
    if (resolved)
        return strcpy(resolved, sysfs);
    free(found);
    return strdup(sysfs);
}

char *__realpath_chk(const char *path, char *resolved, size_t room)
{
    if (room < PATH_MAX)
        abort();
    return realpath(path, resolved);
}

DIR *opendir(const char *path)
{
    DIR *directory;
    bool ours;

    start();
    directory = open_listing(path, &ours);
    return ours ? directory : real.opendir(path);
}

struct dirent64 *readdir64(DIR *directory)
{
    struct dirent64 *entry;
    bool ours;

    start();
    entry = read_listing(directory, &ours);
    return ours ? entry : real.readdir64(directory);
}

/* On 64-bit systems the same as readdir64, as fopen is fopen64. */
struct dirent *readdir(DIR *directory)
{
    return (struct dirent *)readdir64(directory);
}

int closedir(DIR *directory)
{
    start();
    close_listing(directory);
    return real.closedir(directory);
}

/* The file of the mount that QEMU has for a character device passes for one. */
static void become_cdev(int fd, mode_t *mode, dev_t *number)
{
    const struct handle *handle = handle_of(fd);

    if (!handle || handle->kind != &cdev)
        return;
    *mode = (*mode & ~(mode_t)S_IFMT) | S_IFCHR;
    *number = number_of_cdev(handle->object);
}

int fstat64(int fd, struct stat64 *status)
{
    int failed;

    start();
    failed = real.fstat64(fd, status);
    if (!failed)
        become_cdev(fd, &status->st_mode, &status->st_rdev);
    return failed;
}

int fstat(int fd, struct stat *status)
{
    int failed;

    start();
    failed = real.fstat(fd, status);
    if (!failed)
        become_cdev(fd, &status->st_mode, &status->st_rdev);
    return failed;
}

#pragma GCC visibility pop
