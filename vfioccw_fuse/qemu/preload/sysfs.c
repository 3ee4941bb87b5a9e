/*
 * What QEMU reads of /sys about a device.
 *
 * Its paths, its group and its character device: hw/s390x/css-bridge.c, s390-ccw.c and css.c,
 * hw/vfio/ccw.c of QEMU 7.2; from 9 on hw/vfio/iommufd.c, which asks below the path that it was
 * given.  Nothing of it is a file on a disk, so that none can be left there.
 */
#include "preload.h"

#include <sys/mman.h>
#include <sys/sysmacros.h>

#define SYSFS_DEVICES "/sys/bus/css/devices/"
#define GROUP_LINK "/iommu_group"
#define CDEVS "/vfio-dev"     /* the directory that names a device's character device */
#define CDEV_MAJOR 4095       /* Linux gives none above 511, so that it is nobody's */
#define FICON "1b\n"          /* channel-path type */
#define LISTINGS_MAX 8

/* A directory that QEMU reads: the one entry that it looks for. */
struct listing {
    DIR *directory;           /* NULL: the entry is free */
    int shown;
    struct dirent64 entry;
    const struct device *device;
};

static struct listing listings[LISTINGS_MAX];

/* The sysfs path of a mediated device of the same name as the subchannel DIRECTORY, or NULL. */
const char *sysfs_name(const char *directory, char *name, size_t size)
{
    for (size_t i = 0; i < device_count; i++) {
        if (strcmp(directory, devices[i].directory))
            continue;
        snprintf(name, size, SYSFS_DEVICES "%s/%s", devices[i].id, devices[i].id);
        return name;
    }
    return NULL;
}

/* The device of the subchannel /sys/bus/css/devices/ID; *rest is set to what follows. */
static struct device *device_of_subchannel(const char *path, const char **rest)
{
    size_t prefix = strlen(SYSFS_DEVICES);

    if (strncmp(path, SYSFS_DEVICES, prefix))
        return NULL;
    for (size_t i = 0; i < device_count; i++) {
        size_t length = strlen(devices[i].id);

        if (!strncmp(path + prefix, devices[i].id, length) && path[prefix + length] == '/') {
            *rest = path + prefix + length + 1;
            return &devices[i];
        }
    }
    return NULL;
}

/* The device whose directory is PATH without MEMBER, by whatever name; NULL: it is none. */
static struct device *device_with(const char *path, const char *member)
{
    char place[PATH_MAX], sysfs[PATH_MAX], found[PATH_MAX];
    size_t length = path ? strlen(path) : 0, less = strlen(member);

    if (!device_count || length <= less || length >= PATH_MAX ||
        strcmp(path + length - less, member))
        return NULL;
    snprintf(place, sizeof(place), "%.*s", (int)(length - less), path);
    for (size_t i = 0; i < device_count; i++)
        if (!strcmp(place, devices[i].directory) ||
            !strcmp(place, sysfs_name(devices[i].directory, sysfs, sizeof(sysfs))))
            return &devices[i];
    if (!real.realpath(place, found))
        return NULL;
    for (size_t i = 0; i < device_count; i++)
        if (!strcmp(found, devices[i].directory))
            return &devices[i];
    return NULL;
}

struct device *device_of_group_link(const char *path)
{
    return device_with(path, GROUP_LINK);
}

/* A descriptor to read TEXT from. */
static int descriptor_with(const char *text)
{
    int fd = memfd_create("vfioccw", MFD_CLOEXEC);

    if (fd >= 0 && (write(fd, text, strlen(text)) < 0 || lseek(fd, 0, SEEK_SET))) {
        real.close(fd);
        return -1;
    }
    return fd;
}

/* -------------------------------------------------------------------- channel paths of a device */

static bool chpids_of(const char *state, char *text, size_t size)
{
    char chpids[32];
    size_t used = 0;

    if (!state_value(state, "pmcw.chpid", chpids, sizeof(chpids)))
        return false;
    for (const char *digits = chpids; digits[0] && digits[1]; digits += 2)
        used += (size_t)snprintf(text + used, size - used, "%.2s ", digits);
    return true;
}

static bool masks_of(const char *state, char *text, size_t size)
{
    char pim[8], pam[8], pom[8];

    if (!state_value(state, "pmcw.pim", pim, sizeof(pim)) ||
        !state_value(state, "pmcw.pam", pam, sizeof(pam)) ||
        !state_value(state, "pmcw.pom", pom, sizeof(pom)))
        return false;
    snprintf(text, size, "%s %s %s\n", pim, pam, pom);
    return true;
}

static int open_paths(const struct device *device, bool chpids)
{
    char state[STATE_MAX + 1], text[64];

    if (read_state(device, state)) {
        int reason = errno;

        complain(device, "cannot be read: %s", strerror(reason));
        return refuse(reason);
    }
    if (!(chpids ? chpids_of : masks_of)(state, text, sizeof(text))) {
        complain(device, "its state does not show the channel paths");
        return refuse(EIO);
    }
    return descriptor_with(text);
}

static bool is_path_type(const char *path)
{
    unsigned int cssid, chp_cssid, chpid;
    int end = 0;

    return sscanf(path, "/sys/devices/css%x/chp%x.%x/type%n", &cssid, &chp_cssid, &chpid,
                  &end) == 3 && end && !path[end];
}

/* ------------------------------------------------------------------------- its character device */

dev_t number_of_cdev(const struct device *device)
{
    return makedev(CDEV_MAJOR, (unsigned int)(device - devices));
}

/* The device whose character device PATH is, by its name or by its number; NULL: it is none. */
struct device *device_of_cdev(const char *path)
{
    unsigned int major_number = CDEV_MAJOR, number;
    int end = 0;

    if (sscanf(path, "/dev/vfio/devices/vfio%u%n", &number, &end) != 1 &&
        sscanf(path, "/dev/char/%u:%u%n", &major_number, &number, &end) != 2)
        return NULL;
    return end && !path[end] && major_number == CDEV_MAJOR && number < device_count
               ? &devices[number]
               : NULL;
}

/* The device of DIRECTORY/vfio-dev/vfioN/dev; N is its own. */
static const struct device *device_of_number(const char *path)
{
    const char *cdevs = strstr(path, CDEVS "/vfio");
    char *end;
    unsigned long number;

    if (!cdevs)
        return NULL;
    number = strtoul(cdevs + strlen(CDEVS "/vfio"), &end, 10);
    if (strcmp(end, "/dev") || number >= device_count)
        return NULL;
    return device_with(path, cdevs) == &devices[number] ? &devices[number] : NULL;
}

/* The directory that QEMU opens at PATH; *ours tells whether it is one that we list. */
DIR *open_listing(const char *path, bool *ours)
{
    const struct device *device = device_with(path, CDEVS);
    DIR *directory, *none;

    *ours = device;
    if (!device)
        return NULL;
    /* One that is really open: what else is done with it does no harm. */
    directory = real.opendir(device->directory);
    for (size_t i = 0; directory && i < LISTINGS_MAX; i++) {
        none = NULL;
        if (!__atomic_compare_exchange_n(&listings[i].directory, &none, directory, false,
                                         __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            continue;
        listings[i].device = device;
        listings[i].shown = 0;
        return directory;
    }
    if (directory) {
        real.closedir(directory);
        errno = EMFILE;
    }
    return NULL;
}

static struct listing *listing_of(DIR *directory)
{
    for (size_t i = 0; directory && i < LISTINGS_MAX; i++)
        if (__atomic_load_n(&listings[i].directory, __ATOMIC_ACQUIRE) == directory)
            return &listings[i];
    return NULL;
}

/* The next entry of a directory that we list, NULL at its end. */
struct dirent64 *read_listing(DIR *directory, bool *ours)
{
    struct listing *listing = listing_of(directory);
    struct dirent64 *entry;

    *ours = listing;
    if (!listing || listing->shown++)
        return NULL;
    entry = &listing->entry;
    entry->d_ino = 1;
    entry->d_off = 1;
    entry->d_reclen = sizeof(*entry);
    entry->d_type = DT_DIR;
    snprintf(entry->d_name, sizeof(entry->d_name), "vfio%zu",
             (size_t)(listing->device - devices));
    return entry;
}

void close_listing(DIR *directory)
{
    struct listing *listing = listing_of(directory);

    if (listing)
        __atomic_store_n(&listing->directory, NULL, __ATOMIC_RELEASE);
}

/* -------------------------------------------------------------------------------- all its files */

/* A descriptor of the file that QEMU opens at PATH, -1 with errno, or NOT_OURS. */
int open_attribute(const char *path)
{
    const struct device *device;
    const char *rest;
    char text[32];

    if (!device_count || !path)
        return NOT_OURS;
    if (is_path_type(path))
        return descriptor_with(FICON);
    device = device_of_subchannel(path, &rest);
    if (device && (!strcmp(rest, "pimpampom") || !strcmp(rest, "chpids")))
        return open_paths(device, *rest == 'c');
    device = device_of_number(path);
    if (!device)
        return NOT_OURS;
    snprintf(text, sizeof(text), "%d:%zu\n", CDEV_MAJOR, (size_t)(device - devices));
    return descriptor_with(text);
}
