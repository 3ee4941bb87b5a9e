/*
 * Address spaces: maps of guest memory, and the devices that see them.
 *
 * A container has one, and so has every IOAS.  Each map goes to the server once for each device.
 */
#include "preload.h"

#include <linux/magic.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

struct space *new_space(void)
{
    struct space *space = calloc(1, sizeof(*space));

    if (space)
        space->users = 1;
    return space;
}

static void forget_map(const struct map *map)
{
    if (map->fd >= 0)
        real.close(map->fd);
}

void drop_space(struct space *space)
{
    if (--space->users)
        return;
    for (size_t i = 0; i < space->map_count; i++)
        forget_map(&space->maps[i]);
    free(space->maps);
    free(space);
}

/* -------------------------------------------------------------------------------- to the server */

/* An area of our memory that shows a file, as /proc/self/maps has it. */
struct area {
    uint64_t start, end, offset;
    dev_t system;
    ino_t inode;
    bool shared;
};

static bool next_area(FILE *areas, struct area *area)
{
    unsigned long start, end, inode;
    unsigned long long offset;
    unsigned int major_number, minor_number;
    char line[PATH_MAX + 128], permissions[8];

    while (fgets(line, sizeof(line), areas)) {
        if (sscanf(line, "%lx-%lx %7s %llx %x:%x %lu", &start, &end, permissions, &offset,
                   &major_number, &minor_number, &inode) != 7 || !inode)
            continue;
        *area = (struct area){start, end, offset, makedev(major_number, minor_number), inode,
                              permissions[3] == 's'};
        return true;
    }
    return false;
}

/* Whether the server can read and write the file FD itself; *status: what it is. */
static bool serves(int fd, struct stat *status)
{
    struct statfs kind;

    return !real.fstat(fd, status) && S_ISREG(status->st_mode) &&
           (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR && !fstatfs(fd, &kind) &&
           kind.f_type != HUGETLBFS_MAGIC && kind.f_type != FUSE_SUPER_MAGIC;
}

/* A descriptor of ours of the file that the area shows, which the server can use; or -1. */
static int descriptor_of(const struct area *area)
{
    DIR *descriptors = real.opendir("/proc/self/fd");
    struct dirent64 *entry;
    int fd = -1;

    while (fd < 0 && descriptors && (entry = real.readdir64(descriptors))) {
        int number = atoi(entry->d_name);
        struct stat status;

        if (entry->d_name[0] != '.' && serves(number, &status) &&
            status.st_ino == area->inode && status.st_dev == area->system)
            fd = number;
    }
    if (descriptors)
        real.closedir(descriptors);
    return fd;
}

/* A descriptor of the file that is mapped shared at the map's place, and where in it; or -1. */
static int file_behind(const struct map *map, uint64_t *offset)
{
    FILE *areas = real.fopen64("/proc/self/maps", "r");
    uint64_t size = map->last - map->iova + 1;
    struct area area;
    bool found = false;

    while (areas && !found && next_area(areas, &area))
        found = area.start <= map->place && map->place + size <= area.end;
    if (areas)
        fclose(areas);
    if (!found || !area.shared)
        return -1;
    *offset = area.offset + map->place - area.start;
    return descriptor_of(&area);
}

/* Of a file that the server cannot use (huge pages) its place in our memory is mapped. */
void prefer_usable(struct map *map)
{
    uint64_t size = map->last - map->iova + 1;
    struct stat status;
    struct area area;
    FILE *areas;

    if (serves(map->fd, &status))
        return;
    areas = real.fopen64("/proc/self/maps", "r");
    while (areas && map->fd >= 0 && next_area(areas, &area)) {
        if (!area.shared || area.inode != status.st_ino || area.system != status.st_dev ||
            area.offset > map->place || map->place + size > area.offset + area.end - area.start)
            continue;
        map->fd = -1;
        map->place = area.start + map->place - area.offset;
    }
    if (areas)
        fclose(areas);
}

static int send_map(struct device *device, const struct map *map)
{
    unsigned long long iova = map->iova, size = map->last - map->iova + 1;
    struct ucred server;
    socklen_t length = sizeof(server);
    uint64_t offset = map->place;
    int fd = map->fd >= 0 ? map->fd : file_behind(map, &offset);

    if (fd >= 0)
        return ask(device, fd, "\"map\": {\"iova\": %llu, \"size\": %llu, \"offset\": %llu}}",
                   iova, size, (unsigned long long)offset);
    /* Memory of this process alone: the server must be let in where Yama guards it. */
    if (!getsockopt(device->socket, SOL_SOCKET, SO_PEERCRED, &server, &length))
        prctl(PR_SET_PTRACER, (unsigned long)server.pid, 0, 0, 0);
    return ask(device, -1, "\"map\": {\"iova\": %llu, \"size\": %llu, \"vaddr\": %llu}}", iova,
               size, (unsigned long long)map->place);
}

static void send_unmap(struct device *device, const struct map *map)
{
    unsigned long long iova = map->iova, size = map->last - map->iova + 1;

    /* With the server its maps are gone. */
    if (!is_gone(device))
        ask(device, -1, "\"unmap\": {\"iova\": %llu, \"size\": %llu}}", iova, size);
}

/* ----------------------------------------------------------------------------------------- maps */

/* Sends MAP to every device of SPACE, or to none; -1 with errno then. */
static int show_map(const struct space *space, const struct map *map)
{
    for (size_t i = 0; i < device_count; i++) {
        if (devices[i].space == space && send_map(&devices[i], map)) {
            int reason = errno;

            while (i--)
                if (devices[i].space == space)
                    send_unmap(&devices[i], map);
            return refuse(reason);
        }
    }
    return 0;
}

/* The map's descriptor stays the caller's.  EEXIST: a part of its range is mapped. */
int add_map(struct space *space, struct map map)
{
    struct map *more;

    for (size_t i = 0; i < space->map_count; i++)
        if (map.iova <= space->maps[i].last && space->maps[i].iova <= map.last)
            return refuse(EEXIST);
    more = realloc(space->maps, (space->map_count + 1) * sizeof(*more));
    if (!more)
        return -1;
    space->maps = more;
    if (map.fd >= 0 && (map.fd = fcntl(map.fd, F_DUPFD_CLOEXEC, 0)) < 0)
        return -1;
    if (show_map(space, &map)) {
        int reason = errno;

        forget_map(&map);
        return refuse(reason);
    }
    space->maps[space->map_count++] = map;
    return 0;
}

/* Removes what lies in the range; *gone: how many bytes.  -1: it would cut a map, nothing done. */
int remove_maps(struct space *space, uint64_t iova, uint64_t last, uint64_t *gone)
{
    size_t kept = 0;

    for (size_t i = 0; i < space->map_count; i++) {
        const struct map *map = &space->maps[i];
        bool apart = map->last < iova || map->iova > last;

        if (!apart && (map->iova < iova || map->last > last))
            return -1;
    }
    *gone = 0;
    for (size_t i = 0; i < space->map_count; i++) {
        struct map map = space->maps[i];

        if (map.iova < iova || map.iova > last) {
            space->maps[kept++] = map;
            continue;
        }
        *gone += map.last - map.iova + 1;
        for (size_t d = 0; d < device_count; d++)
            if (devices[d].space == space)
                send_unmap(&devices[d], &map);
        forget_map(&map);
    }
    space->map_count = kept;
    return 0;
}

/* -------------------------------------------------------------------------------------- devices */

/* Lets the device see SPACE, and nothing else; -1 with errno: it sees nothing. */
int attach_device(struct device *device, struct space *space)
{
    if (device->space == space)
        return 0;
    detach_device(device);
    for (size_t i = 0; i < space->map_count; i++) {
        if (send_map(device, &space->maps[i])) {
            int reason = errno;

            while (i--)
                send_unmap(device, &space->maps[i]);
            return refuse(reason);
        }
    }
    device->space = space;
    space->users++;
    return 0;
}

void detach_device(struct device *device)
{
    struct space *space = device->space;

    if (!space)
        return;
    device->space = NULL;
    for (size_t i = 0; i < space->map_count; i++)
        send_unmap(device, &space->maps[i]);
    drop_space(space);
}
