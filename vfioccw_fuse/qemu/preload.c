/*
 * Lets an unmodified QEMU use subchannels of a mount as vfio-ccw devices.
 *
 * Loaded into QEMU by LD_PRELOAD (`vfioccw qemu` does that).  It answers what QEMU asks of
 * /dev/vfio and /sys/bus/css for the subchannels named in VFIOCCW_DEVICES, one
 * "DIRECTORY<tab>GROUP" a line, and passes everything else on.  What it answers is in the mount's
 * own files: device_info, region_info, irq_info, state.  The device descriptor that QEMU gets is
 * the mount's file `device`: region accesses go there as they are.  Eventfds and DMA maps go to the
 * server over the mount's socket `irqfd`, one connection a device.  When the server is gone every
 * request ends with a unit exception, made here: the guest shall see I/O errors, and QEMU not
 * complain of each of them.
 *
 * The order of the calls: linux/vfio.h, and hw/vfio/common.c and ccw.c of QEMU 7.2.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/vfio.h>
#include <linux/vfio_ccw.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#define DEVICES_MAX 64
#define INFO_MAX 4096        /* bytes of an info file */
#define STATE_MAX 8192       /* bytes of `state` */
#define MESSAGE_MAX 4096     /* bytes of a message on the socket */
#define ANSWER_SECONDS 30    /* a server that does not answer for so long is taken for dead */
#define PAGE_SIZES 0xfffffffffffff000ULL
#define SYSFS_DEVICES "/sys/bus/css/devices/"
#define FICON "1b\n"         /* channel-path type */

/* Of the SCSW, in the bytes of the IRB: fctl, then actl and stctl, and unit status (PoP 16). */
#define IRB_FCTL 2
#define IRB_STCTL 3
#define IRB_DSTAT 8
#define FCTL_START 0x40
#define FCTL_HALT 0x20
#define FCTL_CLEAR 0x10
#define STCTL_ENDING 0x17    /* alert, primary, secondary, status pending */
#define STCTL_ALONE 0x01     /* status pending */
#define DSTAT_EXCEPTION 0x0d /* channel end, device end, unit exception */

struct info {
    size_t size;
    char bytes[INFO_MAX];
};

struct device {
    char *directory;         /* MNT/0.0.0313, canonical */
    char id[16];             /* 0.0.0313; also the name of the mediated device */
    int group;
    int fd;                  /* the file `device`, or -1 */
    int socket;              /* the connection to `irqfd` */
    pthread_t watcher;
    struct info device_info, region_info, irq_info;
    off_t io_region, cmd_region; /* where they begin in the file; -1: there is none */

    pthread_mutex_t lock;    /* of what follows */
    int io_event;            /* our copy of the eventfd of I/O interruptions, or -1 */
    bool closing, gone;      /* we close the connection; the server has closed it */
    bool started;            /* a start was accepted, and its IRB not read yet */
    uint8_t owed;            /* the function whose IRB we owe QEMU: SCSW fctl bits, or 0 */
};

struct map {
    uint64_t iova, vaddr, size;
};

static struct device devices[DEVICES_MAX];
static size_t device_count;
static int group_fds[DEVICES_MAX];  /* per device: its group's descriptor, or -1 */
static int container_fd = -1;
static bool group_in_container[DEVICES_MAX];
static struct map *maps;            /* of the container */
static size_t map_count;

static int (*real_open64)(const char *, int, ...);
static int (*real_open_2)(const char *, int);
static int (*real_ioctl)(int, unsigned long, ...);
static int (*real_close)(int);
static FILE *(*real_fopen64)(const char *, const char *);
static ssize_t (*real_pread64)(int, void *, size_t, off64_t);
static ssize_t (*real_pwrite64)(int, const void *, size_t, off64_t);
static ssize_t (*real_readlink)(const char *, char *, size_t);
static char *(*real_realpath)(const char *, char *);

/* ------------------------------------------------------------------------------ start, helpers */

static void complain(const struct device *device, const char *format, ...)
{
    char text[MESSAGE_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    fprintf(stderr, "vfioccw: %s: %s\n", device->directory, text);
}

static int refuse(int reason)
{
    errno = reason;
    return -1;
}

static void read_devices(const char *list)
{
    while (*list && device_count < DEVICES_MAX) {
        struct device *device = &devices[device_count];
        size_t length = strcspn(list, "\n");
        char *line = strndup(list, length);
        char *tab = line ? strrchr(line, '\t') : NULL;
        char *slash = line ? strrchr(line, '/') : NULL;

        list += length + (list[length] == '\n');
        if (!tab || !slash)
            continue;
        *tab = '\0';
        device->directory = line;
        snprintf(device->id, sizeof(device->id), "%s", slash + 1);
        device->group = atoi(tab + 1);
        device->fd = device->socket = device->io_event = -1;
        pthread_mutex_init(&device->lock, NULL);
        group_fds[device_count++] = -1;
    }
}

/* In a forked child, which may close all that it has: nothing of it is ours any more. */
static void forget(void)
{
    container_fd = -1;
    map_count = 0;
    for (size_t i = 0; i < device_count; i++)
        group_fds[i] = devices[i].fd = devices[i].socket = devices[i].io_event = -1;
}

/* Also called by whatever comes first: constructors of other libraries open files before ours. */
__attribute__((constructor)) static void start(void)
{
    const char *list;

    if (real_open64)
        return;
    list = getenv("VFIOCCW_DEVICES");
    pthread_atfork(NULL, NULL, forget);
    real_open_2 = dlsym(RTLD_NEXT, "__open64_2");
    real_ioctl = dlsym(RTLD_NEXT, "ioctl");
    real_close = dlsym(RTLD_NEXT, "close");
    real_fopen64 = dlsym(RTLD_NEXT, "fopen64");
    real_pread64 = dlsym(RTLD_NEXT, "pread64");
    real_pwrite64 = dlsym(RTLD_NEXT, "pwrite64");
    real_readlink = dlsym(RTLD_NEXT, "readlink");
    /* The oldest version of it takes no NULL, and dlsym gives the oldest. */
    real_realpath = dlvsym(RTLD_NEXT, "realpath", "GLIBC_2.3");
    if (!real_realpath)
        real_realpath = dlsym(RTLD_NEXT, "realpath");
    real_open64 = dlsym(RTLD_NEXT, "open64");
    if (list)
        read_devices(list);
}

/* Reads DIRECTORY/NAME; gives its length, or -1 with errno. */
static ssize_t slurp(const struct device *device, const char *name, char *to, size_t size)
{
    char path[PATH_MAX];
    size_t length = 0;
    int fd;

    snprintf(path, sizeof(path), "%s/%s", device->directory, name);
    fd = real_open64(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    while (length < size) {
        ssize_t got = real_pread64(fd, to + length, size - length, (off_t)length);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            real_close(fd);
            return -1;
        }
        if (!got)
            break;
        length += (size_t)got;
    }
    real_close(fd);
    return (ssize_t)length;
}

static bool read_info(const struct device *device, const char *name, struct info *info)
{
    ssize_t length = slurp(device, name, info->bytes, sizeof(info->bytes));

    info->size = length < 0 ? 0 : (size_t)length;
    return length > 0;
}

/* The value that `state` shows for KEY ("pmcw.pim"), as a string of hex digits. */
static bool state_value(const char *state, const char *key, char *value, size_t size)
{
    size_t length = strlen(key);

    for (const char *line = state; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, key, length) && line[length] == ':') {
            const char *digits = line + length + 1 + strspn(line + length + 1, " ");

            snprintf(value, size, "%.*s", (int)strspn(digits, "0123456789abcdef"), digits);
            return *value != '\0';
        }
    }
    return false;
}

/* --------------------------------------------------------------------- what QEMU reads of sysfs */

/* The device of /sys/bus/css/devices/ID/REST; *rest is set to REST. */
static struct device *device_of_path(const char *path, const char **rest)
{
    size_t prefix = strlen(SYSFS_DEVICES);

    if (!path || strncmp(path, SYSFS_DEVICES, prefix))
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

static FILE *file_with(const char *text)
{
    FILE *file = fmemopen(NULL, strlen(text) + 1, "w+");

    if (file) {
        fputs(text, file);
        rewind(file);
    }
    return file;
}

/* The file that QEMU opens at PATH; *ours tells whether it is one that we answer. */
static FILE *open_attribute(const char *path, bool *ours)
{
    char state[STATE_MAX + 1], pim[8], pam[8], pom[8], chpids[32], text[64];
    unsigned int cssid, chp_cssid, chpid;
    const char *rest;
    struct device *device = device_of_path(path, &rest);
    ssize_t length;
    int end = 0;

    *ours = true;
    if (device_count && path && sscanf(path, "/sys/devices/css%x/chp%x.%x/type%n", &cssid,
                                       &chp_cssid, &chpid, &end) == 3 && end && !path[end])
        return file_with(FICON);
    *ours = device && (!strcmp(rest, "pimpampom") || !strcmp(rest, "chpids"));
    if (!*ours)
        return NULL;
    length = slurp(device, "state", state, STATE_MAX);
    if (length < 0) {
        complain(device, "cannot be read: %s", strerror(errno));
        return NULL;
    }
    state[length] = '\0';
    if (!strcmp(rest, "chpids")) {
        size_t used = 0;

        if (!state_value(state, "pmcw.chpid", chpids, sizeof(chpids)))
            goto unknown;
        for (const char *digits = chpids; digits[0] && digits[1]; digits += 2)
            used += (size_t)snprintf(text + used, sizeof(text) - used, "%.2s ", digits);
    } else {
        if (!state_value(state, "pmcw.pim", pim, sizeof(pim)) ||
            !state_value(state, "pmcw.pam", pam, sizeof(pam)) ||
            !state_value(state, "pmcw.pom", pom, sizeof(pom)))
            goto unknown;
        snprintf(text, sizeof(text), "%s %s %s\n", pim, pam, pom);
    }
    return file_with(text);

unknown:
    complain(device, "its state does not show the channel paths");
    errno = EIO;
    return NULL;
}

FILE *fopen64(const char *path, const char *mode)
{
    bool ours;
    FILE *file;

    start();
    file = open_attribute(path, &ours);
    return ours ? file : real_fopen64(path, mode);
}

FILE *fopen(const char *path, const char *mode)
{
    return fopen64(path, mode);
}

/* The device of whose group PATH is the link: in sysfs, or below the device's directory. */
static struct device *device_of_group_link(const char *path)
{
    const char *rest;
    struct device *device = device_of_path(path, &rest);

    if (device)
        return strstr(rest, "/iommu_group") ? device : NULL;
    /* QEMU 9 and later ask below the path that they were given. */
    for (size_t i = 0; i < device_count; i++) {
        size_t length = strlen(devices[i].directory);

        if (!strncmp(path, devices[i].directory, length) && !strcmp(path + length, "/iommu_group"))
            return &devices[i];
    }
    return NULL;
}

ssize_t readlink(const char *path, char *to, size_t size)
{
    struct device *device;
    char link[64];
    size_t length;

    start();
    device = device_of_group_link(path);
    if (!device)
        return real_readlink(path, to, size);
    length = (size_t)snprintf(link, sizeof(link), "../../../kernel/iommu_groups/%d",
                              device->group);
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
    found = real_realpath(path, resolved);
    for (size_t i = 0; found && i < device_count; i++) {
        if (strcmp(found, devices[i].directory))
            continue;
        snprintf(sysfs, sizeof(sysfs), SYSFS_DEVICES "%s/%s", devices[i].id, devices[i].id);
        if (resolved)
            return strcpy(resolved, sysfs);
        free(found);
        return strdup(sysfs);
    }
    return found;
}

char *__realpath_chk(const char *path, char *resolved, size_t room)
{
    if (room < PATH_MAX)
        abort();
    return realpath(path, resolved);
}

/* ------------------------------------------------------------------------------- the connection */

/* One message and its answer: 0, or -1 with errno and, unless the server is gone, a complaint. */
static int ask(struct device *device, int fd, const char *format, ...)
{
    char text[MESSAGE_MAX], answer[MESSAGE_MAX + 1], control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec area = {text, 0};
    struct msghdr message = {.msg_iov = &area, .msg_iovlen = 1};
    int used = snprintf(text, sizeof(text), "{\"subchannel\": \"%s\", ", device->id);
    va_list arguments;
    ssize_t length;
    char *problem;

    va_start(arguments, format);
    used += vsnprintf(text + used, sizeof(text) - (size_t)used, format, arguments);
    va_end(arguments);
    area.iov_len = (size_t)used;
    if (fd >= 0) {
        struct cmsghdr *header;

        message.msg_control = control;
        message.msg_controllen = sizeof(control);
        header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(int));
    }
    do
        length = sendmsg(device->socket, &message, MSG_NOSIGNAL);
    while (length < 0 && errno == EINTR);
    if (length >= 0) {
        do
            length = recv(device->socket, answer, MESSAGE_MAX, 0);
        while (length < 0 && errno == EINTR);
    }
    if (length <= 0) {
        /* Also for one that does not answer: the next answer would be the last question's. */
        shutdown(device->socket, SHUT_RDWR);
        errno = ENODEV;
        return -1;
    }
    answer[length] = '\0';
    problem = strstr(answer, "\"error\": \"");
    if (!problem)
        return 0;
    problem += strlen("\"error\": \"");
    if (strrchr(problem, '"'))
        *strrchr(problem, '"') = '\0';
    complain(device, "%s", problem);
    errno = EINVAL;
    return -1;
}

/* From now on we answer in the server's place; what it has not ended ends now. */
static void lose(struct device *device)
{
    bool known;

    pthread_mutex_lock(&device->lock);
    known = device->gone || device->closing;
    device->gone = true;
    if (!known && device->started) {
        device->owed |= FCTL_START;
        eventfd_write(device->io_event, 1);
    }
    pthread_mutex_unlock(&device->lock);
    if (!known)
        complain(device, "it is gone from the mount, or its server is; the guest gets I/O errors");
}

static bool is_gone(struct device *device)
{
    bool gone;

    pthread_mutex_lock(&device->lock);
    gone = device->gone;
    pthread_mutex_unlock(&device->lock);
    return gone;
}

/* Waits for the end of the connection. */
static void *watch(void *argument)
{
    struct device *device = argument;
    struct pollfd connection = {.fd = device->socket, .events = POLLRDHUP};

    while (poll(&connection, 1, -1) < 0 && errno == EINTR)
        ;
    lose(device);
    return NULL;
}

static int connect_device(struct device *device)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = ANSWER_SECONDS};
    char path[PATH_MAX];
    sigset_t all, before;
    int failed;

    snprintf(path, sizeof(path), "%s/../irqfd", device->directory);
    if (real_readlink(path, address.sun_path, sizeof(address.sun_path) - 1) < 0)
        return -1;
    device->socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (device->socket < 0)
        return -1;
    setsockopt(device->socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    device->closing = device->gone = device->started = false;
    device->owed = 0;
    failed = connect(device->socket, (struct sockaddr *)&address, sizeof(address));
    if (!failed) {
        /* QEMU's signals are not for this thread. */
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, &before);
        failed = errno = pthread_create(&device->watcher, NULL, watch, device);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    if (failed) {
        real_close(device->socket);
        device->socket = -1;
    }
    return failed ? -1 : 0;
}

static void disconnect_device(struct device *device)
{
    pthread_mutex_lock(&device->lock);
    device->closing = true;
    pthread_mutex_unlock(&device->lock);
    shutdown(device->socket, SHUT_RDWR);
    pthread_join(device->watcher, NULL);
    real_close(device->socket);
    if (device->io_event >= 0)
        real_close(device->io_event);
    device->socket = device->io_event = -1;
}

/* --------------------------------------------------------------------------------- guest memory */

/* An open descriptor of the file that is mapped shared at the area, and where in it; or -1. */
static int file_behind(const struct map *map, uint64_t *offset)
{
    FILE *areas = real_fopen64("/proc/self/maps", "r");
    unsigned long start, end, inode = 0;
    unsigned long long position;
    unsigned int major_number, minor_number;
    char line[PATH_MAX + 128], permissions[8];
    bool found = false;
    struct dirent *entry;
    DIR *descriptors;
    int fd = -1;

    while (areas && !found && fgets(line, sizeof(line), areas)) {
        if (sscanf(line, "%lx-%lx %7s %llx %x:%x %lu", &start, &end, permissions, &position,
                   &major_number, &minor_number, &inode) == 7)
            found = start <= map->vaddr && map->vaddr + map->size <= end;
    }
    if (areas)
        fclose(areas);
    if (!found || permissions[3] != 's' || !inode)
        return -1;
    *offset = position + map->vaddr - start;
    descriptors = opendir("/proc/self/fd");
    while (fd < 0 && descriptors && (entry = readdir(descriptors))) {
        int number = atoi(entry->d_name);
        struct statfs system;
        struct stat status;

        if (entry->d_name[0] != '.' && !fstat(number, &status) && S_ISREG(status.st_mode) &&
            status.st_ino == inode && status.st_dev == makedev(major_number, minor_number) &&
            (fcntl(number, F_GETFL) & O_ACCMODE) == O_RDWR && !fstatfs(number, &system) &&
            system.f_type != HUGETLBFS_MAGIC && system.f_type != FUSE_SUPER_MAGIC)
            fd = number;
    }
    if (descriptors)
        closedir(descriptors);
    return fd;
}

static int send_map(struct device *device, const struct map *map)
{
    struct ucred server;
    socklen_t length = sizeof(server);
    uint64_t offset;
    int fd = file_behind(map, &offset);

    if (fd >= 0)
        return ask(device, fd, "\"map\": {\"iova\": %llu, \"size\": %llu, \"offset\": %llu}}",
                   (unsigned long long)map->iova, (unsigned long long)map->size,
                   (unsigned long long)offset);
    /* Memory of this process alone: the server must be let in where Yama guards it. */
    if (!getsockopt(device->socket, SOL_SOCKET, SO_PEERCRED, &server, &length))
        prctl(PR_SET_PTRACER, (unsigned long)server.pid, 0, 0, 0);
    return ask(device, -1, "\"map\": {\"iova\": %llu, \"size\": %llu, \"vaddr\": %llu}}",
               (unsigned long long)map->iova, (unsigned long long)map->size,
               (unsigned long long)map->vaddr);
}

static int send_unmap(struct device *device, const struct map *map)
{
    /* With the server its maps are gone. */
    if (is_gone(device))
        return 0;
    return ask(device, -1, "\"unmap\": {\"iova\": %llu, \"size\": %llu}}",
               (unsigned long long)map->iova, (unsigned long long)map->size);
}

static bool uses_container(size_t i)
{
    return devices[i].fd >= 0 && group_in_container[i];
}

static int map_dma(const struct vfio_iommu_type1_dma_map *asked)
{
    struct map map = {asked->iova, asked->vaddr, asked->size};
    struct map *more;

    for (size_t i = 0; i < map_count; i++) {
        if (map.iova < maps[i].iova + maps[i].size && maps[i].iova < map.iova + map.size) {
            errno = EEXIST;
            return -1;
        }
    }
    more = realloc(maps, (map_count + 1) * sizeof(*maps));
    if (!more)
        return -1;
    maps = more;
    for (size_t i = 0; i < device_count; i++) {
        if (uses_container(i) && send_map(&devices[i], &map)) {
            int reason = errno;

            while (i--)
                if (uses_container(i))
                    send_unmap(&devices[i], &map);
            errno = reason;
            return -1;
        }
    }
    maps[map_count++] = map;
    return 0;
}

static int unmap_dma(struct vfio_iommu_type1_dma_unmap *asked)
{
    uint64_t gone = 0;
    size_t kept = 0;

    for (size_t i = 0; i < map_count; i++) {
        bool begins = maps[i].iova >= asked->iova;
        bool ends = maps[i].iova + maps[i].size <= asked->iova + asked->size;
        bool apart = maps[i].iova >= asked->iova + asked->size ||
                     maps[i].iova + maps[i].size <= asked->iova;

        if (!apart && !(begins && ends)) {
            errno = EINVAL;
            return -1;
        }
    }
    for (size_t i = 0; i < map_count; i++) {
        if (maps[i].iova < asked->iova || maps[i].iova >= asked->iova + asked->size) {
            maps[kept++] = maps[i];
            continue;
        }
        gone += maps[i].size;
        for (size_t d = 0; d < device_count; d++)
            if (uses_container(d))
                send_unmap(&devices[d], &maps[i]);
    }
    map_count = kept;
    asked->size = gone;
    return 0;
}

/* ------------------------------------------------------------------ container, groups, devices */

/* A descriptor that stands for something of ours. */
static int new_handle(void)
{
    return eventfd(0, EFD_CLOEXEC);
}

static int container_ioctl(unsigned long request, void *argument)
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
        return map_dma(argument);
    case VFIO_IOMMU_UNMAP_DMA:
        return unmap_dma(argument);
    default:
        return refuse(ENOTTY);
    }
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

static int open_device(struct device *device)
{
    char path[PATH_MAX], state[STATE_MAX + 1];
    ssize_t length;

    if (device->fd >= 0)
        return refuse(EBUSY);
    snprintf(path, sizeof(path), "%s/device", device->directory);
    length = slurp(device, "state", state, STATE_MAX);
    if (length >= 0) {
        state[length] = '\0';
        if (strstr(state, "a client's eventfd")) {
            complain(device, "in use by another client");
            return refuse(EBUSY);
        }
        device->fd = real_open64(path, O_RDWR | O_CLOEXEC);
    }
    if (device->fd < 0 || !read_info(device, "device_info", &device->device_info) ||
        !read_info(device, "region_info", &device->region_info) ||
        !read_info(device, "irq_info", &device->irq_info) || connect_device(device)) {
        int reason = errno;

        complain(device, "cannot be opened: %s", strerror(reason));
        if (device->fd >= 0)
            real_close(device->fd);
        device->fd = -1;
        return refuse(reason);
    }
    find_regions(device);
    for (size_t i = 0; i < map_count; i++) {
        if (send_map(device, &maps[i])) {
            disconnect_device(device);
            real_close(device->fd);
            device->fd = -1;
            return refuse(EFAULT);
        }
    }
    return device->fd;
}

/* GROUP is the index of the first device of the group. */
static int group_ioctl(size_t group, unsigned long request, void *argument)
{
    switch (request) {
    case VFIO_GROUP_GET_STATUS: {
        struct vfio_group_status *status = argument;

        status->flags = VFIO_GROUP_FLAGS_VIABLE;
        if (group_in_container[group])
            status->flags |= VFIO_GROUP_FLAGS_CONTAINER_SET;
        return 0;
    }
    case VFIO_GROUP_SET_CONTAINER:
        if (container_fd < 0 || *(int *)argument != container_fd)
            return refuse(EINVAL);
        break;
    case VFIO_GROUP_UNSET_CONTAINER:
        break;
    case VFIO_GROUP_GET_DEVICE_FD:
        for (size_t i = 0; i < device_count; i++)
            if (devices[i].group == devices[group].group && !strcmp(devices[i].id, argument))
                return group_in_container[i] ? open_device(&devices[i]) : refuse(EINVAL);
        return refuse(ENODEV);
    default:
        return refuse(ENOTTY);
    }
    for (size_t i = 0; i < device_count; i++)
        if (devices[i].group == devices[group].group)
            group_in_container[i] = request == VFIO_GROUP_SET_CONTAINER;
    return 0;
}

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

    if (!found || give_info(found, found->argsz, asked, sizeof(*asked)))
        return refuse(EINVAL);
    /* No room for the capabilities: the caller learns how much there must be, and asks again. */
    if (room < found->argsz)
        asked->cap_offset = 0;
    return 0;
}

static int give_irq_info(struct device *device, struct vfio_irq_info *asked)
{
    const struct vfio_irq_info *found =
        entry(&device->irq_info, offsetof(struct vfio_irq_info, index), asked->index);

    return found ? give_info(found, found->argsz, asked, sizeof(*asked)) : refuse(EINVAL);
}

static int set_irqs(struct device *device, const struct vfio_irq_set *set)
{
    uint32_t kind = set->flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
    int fd = -1;

    if ((set->flags & VFIO_IRQ_SET_ACTION_TYPE_MASK) != VFIO_IRQ_SET_ACTION_TRIGGER || set->start)
        return refuse(EINVAL);
    if (kind == VFIO_IRQ_SET_DATA_EVENTFD && set->count == 1)
        memcpy(&fd, set->data, sizeof(fd));
    else if (kind != VFIO_IRQ_SET_DATA_NONE || set->count)
        return refuse(EINVAL);
    if (set->index == VFIO_CCW_IO_IRQ_INDEX) {
        pthread_mutex_lock(&device->lock);
        if (device->io_event >= 0)
            real_close(device->io_event);
        device->io_event = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
        pthread_mutex_unlock(&device->lock);
    }
    if (fd < 0 && is_gone(device))
        return 0;
    return ask(device, fd, "\"irq\": %u}", set->index);
}

static int reset_device(struct device *device)
{
    char path[PATH_MAX];
    ssize_t done;
    int fd;

    snprintf(path, sizeof(path), "%s/reset", device->directory);
    fd = real_open64(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    done = write(fd, "1", 1);
    real_close(fd);
    return done == 1 ? 0 : -1;
}

static int device_ioctl(struct device *device, unsigned long request, void *argument)
{
    switch (request) {
    case VFIO_DEVICE_GET_INFO:
        return give_info(device->device_info.bytes, (uint32_t)device->device_info.size, argument,
                         offsetof(struct vfio_device_info, cap_offset));
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

int ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    void *argument;

    va_start(arguments, request);
    argument = va_arg(arguments, void *);
    va_end(arguments);
    start();
    if (fd >= 0) {
        if (fd == container_fd)
            return container_ioctl(request, argument);
        for (size_t i = 0; i < device_count; i++) {
            if (fd == devices[i].fd)
                return device_ioctl(&devices[i], request, argument);
            if (fd == group_fds[i])
                return group_ioctl(i, request, argument);
        }
    }
    return real_ioctl(fd, request, argument);
}

/* ------------------------------------------------------------------------------- open and close */

/* The descriptor for /dev/vfio/vfio or /dev/vfio/GROUP; -2 if the path is none of ours. */
static int open_vfio(const char *path)
{
    int group, end = 0;

    start();
    if (!device_count || !path || strncmp(path, "/dev/vfio/", 10))
        return -2;
    if (!strcmp(path + 10, "vfio")) {
        if (container_fd >= 0)
            return refuse(EBUSY);
        return container_fd = new_handle();
    }
    if (sscanf(path + 10, "%d%n", &group, &end) != 1 || path[10 + end])
        return -2;
    for (size_t i = 0; i < device_count; i++) {
        if (devices[i].group == group) {
            if (group_fds[i] >= 0)
                return refuse(EBUSY);
            return group_fds[i] = new_handle();
        }
    }
    return -2;
}

int open64(const char *path, int flags, ...)
{
    int fd = open_vfio(path);
    va_list arguments;
    mode_t mode;

    va_start(arguments, flags);
    mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return fd == -2 ? real_open64(path, flags, mode) : fd;
}

int __open64_2(const char *path, int flags)
{
    int fd = open_vfio(path);

    return fd == -2 ? real_open_2(path, flags) : fd;
}

int close(int fd)
{
    start();
    if (fd >= 0 && fd == container_fd) {
        container_fd = -1;
        map_count = 0;
    }
    for (size_t i = 0; fd >= 0 && i < device_count; i++) {
        if (fd == group_fds[i])
            group_fds[i] = -1;
        if (fd == devices[i].fd) {
            devices[i].fd = -1;
            disconnect_device(&devices[i]);
        }
    }
    return real_close(fd);
}

/* ------------------------------------------------------------------------------ region accesses */

static struct device *device_of(int fd)
{
    for (size_t i = 0; fd >= 0 && i < device_count; i++)
        if (devices[i].fd == fd)
            return &devices[i];
    return NULL;
}

/* What a mount without its server, or a subchannel that was removed, says to everything. */
static bool means_gone(int reason)
{
    return reason == ENOTCONN || reason == ECONNABORTED || reason == EIO;
}

/* The function that a write asks for: SCSW fctl bits, 0 for none that we know. */
static uint8_t function_of(const struct device *device, const void *data, size_t size, off_t at)
{
    const struct ccw_cmd_region *cmd = data;

    if (at == device->io_region && size == sizeof(struct ccw_io_region))
        return FCTL_START;
    if (device->cmd_region < 0 || at != device->cmd_region || size != sizeof(*cmd))
        return 0;
    if (cmd->command == VFIO_CCW_ASYNC_CMD_CSCH)
        return FCTL_CLEAR;
    return cmd->command == VFIO_CCW_ASYNC_CMD_HSCH ? FCTL_HALT : 0;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    struct device *device;
    uint8_t function;
    ssize_t done;
    bool gone;

    start();
    device = device_of(fd);
    if (!device)
        return real_pwrite64(fd, data, size, at);
    function = function_of(device, data, size, at);
    pthread_mutex_lock(&device->lock);
    gone = device->gone;
    /* Before the request: its interruption may be quicker than we are. */
    device->started |= !gone && function == FCTL_START;
    pthread_mutex_unlock(&device->lock);
    if (!gone) {
        done = real_pwrite64(fd, data, size, at);
        if (done >= 0)
            return done;
        if (!function || !means_gone(errno)) {
            int reason = errno;

            if (function == FCTL_START) {
                pthread_mutex_lock(&device->lock);
                device->started = false;
                pthread_mutex_unlock(&device->lock);
            }
            errno = reason;
            return done;
        }
        lose(device);
    } else if (!function) {
        return refuse(ENODEV);
    }
    pthread_mutex_lock(&device->lock);
    if (function == FCTL_CLEAR)
        device->owed = 0;
    device->owed |= function;
    eventfd_write(device->io_event, 1);
    pthread_mutex_unlock(&device->lock);
    return (ssize_t)size;
}

ssize_t pread64(int fd, void *data, size_t size, off64_t at)
{
    struct ccw_io_region *io = data;
    struct device *device;
    uint8_t owed;

    start();
    device = device_of(fd);
    if (!device || at != device->io_region || size != sizeof(*io))
        return real_pread64(fd, data, size, at);
    pthread_mutex_lock(&device->lock);
    owed = device->owed;
    device->owed = 0;
    device->started = false;
    pthread_mutex_unlock(&device->lock);
    if (!owed)
        return real_pread64(fd, data, size, at);
    memset(io, 0, sizeof(*io));
    io->irb_area[IRB_FCTL] = owed;
    io->irb_area[IRB_STCTL] = owed == FCTL_START ? STCTL_ENDING : STCTL_ALONE;
    io->irb_area[IRB_DSTAT] = owed == FCTL_START ? DSTAT_EXCEPTION : 0;
    return (ssize_t)size;
}

ssize_t __pread64_chk(int fd, void *data, size_t size, off64_t at, size_t room)
{
    if (size > room)
        abort();
    return pread64(fd, data, size, at);
}
