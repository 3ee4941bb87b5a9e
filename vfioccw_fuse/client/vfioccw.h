/*
 * vfioccw.h: a client of a vfioccw mount in C, for who writes a VMM. All of it is in this file.
 *
 * It uses the mount's files and its socket as a VMM uses Linux's vfio-ccw device: a subchannel's
 * regions are behind `device`, region n at offset n << 10; interruptions come by an eventfd; guest
 * memory is the VMM's own. Byte by byte: vfioccw_fuse/regions/README.md. Include it before any
 * other header, or define _GNU_SOURCE; C11 or C++11, Linux.
 *
 *     struct vfioccw sch;
 *     uint8_t orb[VFIOCCW_ORB];
 *     struct vfioccw_irb irb;
 *
 *     if (vfioccw_open(&sch, "/tmp/m/0.0.0313") || vfioccw_map(&sch, 0, size, memory))
 *         return fprintf(stderr, "%s\n", sch.error), 1;
 *     vfioccw_ccw(memory + 0x1000, 0xe4, 0x20, 20, 0x2000);
 *     vfioccw_orb(orb, 0x1000);
 *     if (vfioccw_start(&sch, orb) == 0 && vfioccw_wait(&sch, 5000) == 1)
 *         vfioccw_result(&sch, &irb);
 *
 * One thread uses a struct vfioccw at a time; several may each have their own. A VMM polls
 * vfioccw_event (an interruption) and vfioccw_connection (readable or hung up: the mount is gone).
 * `vfioccw mount --interface` says which requests there are: vfioccw_halt and vfioccw_clear go by
 * the cmd region, or by the io region's function control where there is none.
 */
#ifndef VFIOCCW_H
#define VFIOCCW_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Sizes in bytes, and where things are in the io region (linux/vfio_ccw.h). */
#define VFIOCCW_ORB 12
#define VFIOCCW_IO_REGION 124
#define VFIOCCW_IRB 96
#define VFIOCCW_SCHIB 52
#define VFIOCCW_SCSW_AT 12
#define VFIOCCW_IRB_AT 24
#define VFIOCCW_SHIFT 10

/* Milliseconds: how long EAGAIN is tried again, and how long the mount may take for a message. */
#define VFIOCCW_AGAIN_MS 5000
#define VFIOCCW_ANSWER_MS 30000

/* Function control, activity control and status control of a SCSW (PoP 16), as in vfioccw_irb. */
#define VFIOCCW_FCTL_START 0x4000
#define VFIOCCW_FCTL_HALT 0x2000
#define VFIOCCW_FCTL_CLEAR 0x1000
#define VFIOCCW_ACTL_DEVICE_ACTIVE 0x0040
#define VFIOCCW_STCTL_INTERMEDIATE 0x0008
#define VFIOCCW_STCTL_STATUS_PENDING 0x0001

/* Commands of the cmd region. */
#define VFIOCCW_CMD_HALT 1u
#define VFIOCCW_CMD_CLEAR 2u

/* An open subchannel. Its members are to be read only; `error` says in one line what went wrong. */
struct vfioccw {
    int device;                 /* all regions */
    int event;                  /* eventfd: an interruption is pending */
    int connection;             /* to the mount's socket; maps and the eventfd end with it */
    int cmd_region, schib_region; /* indexes; -1: the interface has none */
    char id[16];                /* 0.0.0313 */
    char error[512];
};

/* An interruption-response block: its SCSW in this host's byte order, and all of it as it came. */
struct vfioccw_irb {
    uint16_t flags, ctrl;   /* bits 0-15 and 16-31 of word 0 */
    uint32_t cpa;           /* address behind the last CCW */
    uint8_t dstat, cstat;   /* device (unit) status, subchannel status */
    uint16_t count;         /* residual count */
    uint8_t raw[VFIOCCW_IRB]; /* big endian */
};

/* --- big endian ------------------------------------------------------------------------------ */

static inline void vfioccw_put16(void *at, uint16_t value)
{
    uint8_t *byte = (uint8_t *)at;

    byte[0] = (uint8_t)(value >> 8);
    byte[1] = (uint8_t)value;
}

static inline void vfioccw_put32(void *at, uint32_t value)
{
    vfioccw_put16(at, (uint16_t)(value >> 16));
    vfioccw_put16((uint8_t *)at + 2, (uint16_t)value);
}

static inline uint16_t vfioccw_get16(const void *at)
{
    const uint8_t *byte = (const uint8_t *)at;

    return (uint16_t)(byte[0] << 8 | byte[1]);
}

static inline uint32_t vfioccw_get32(const void *at)
{
    return (uint32_t)vfioccw_get16(at) << 16 | vfioccw_get16((const uint8_t *)at + 2);
}

/* Writes a format-1 CCW, 8 bytes, to AT. ADDRESS has 31 bits. */
static inline void vfioccw_ccw(void *at, uint8_t command, uint8_t flags, uint16_t count,
                               uint32_t address)
{
    uint8_t *byte = (uint8_t *)at;

    byte[0] = command;
    byte[1] = flags;
    vfioccw_put16(byte + 2, count);
    vfioccw_put32(byte + 4, address);
}

/* Makes an ORB as Linux's: the program at CPA of format-1 CCWs, prefetch, format-2 IDAWs, all paths. */
static inline void vfioccw_orb(uint8_t orb[VFIOCCW_ORB], uint32_t cpa)
{
    memset(orb, 0, VFIOCCW_ORB);
    vfioccw_put16(orb + 4, 0x00c2);
    orb[6] = 0xff;
    vfioccw_put32(orb + 8, cpa);
}

/* --- opening --------------------------------------------------------------------------------- */

/* Keeps one line about REASON, an errno, and gives -1 with it. */
static inline int vfioccw_fail(struct vfioccw *sch, int reason, const char *what)
{
    snprintf(sch->error, sizeof(sch->error), "%s: %s: %s", sch->id, what, strerror(reason));
    errno = reason;
    return -1;
}

static inline void vfioccw_close(struct vfioccw *sch);

/* One message and its answer, with the DESCRIPTOR unless that is -1: 0, or -1 with errno. */
static inline int vfioccw_ask(struct vfioccw *sch, int descriptor, const char *format, ...)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    char text[512], answer[4097];
    struct iovec area;
    struct msghdr message;
    va_list words;
    ssize_t length;
    int used;

    used = snprintf(text, sizeof(text), "{\"subchannel\": \"%s\", ", sch->id);
    va_start(words, format);
    used += vsnprintf(text + used, sizeof(text) - (size_t)used, format, words);
    va_end(words);
    memset(&message, 0, sizeof(message));
    memset(&control, 0, sizeof(control));
    area.iov_base = text;
    area.iov_len = (size_t)used;
    message.msg_iov = &area;
    message.msg_iovlen = 1;
    if (descriptor >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.header), &descriptor, sizeof(int));
    }
    do
        length = sendmsg(sch->connection, &message, MSG_NOSIGNAL);
    while (length < 0 && errno == EINTR);
    if (length > 0) {
        do
            length = recv(sch->connection, answer, sizeof(answer) - 1, 0);
        while (length < 0 && errno == EINTR);
    }
    if (length <= 0) {
        /* Also for a mount that does not answer: the next answer would be this question's. */
        shutdown(sch->connection, SHUT_RDWR);
        return vfioccw_fail(sch, ENODEV, "the mount does not answer");
    }
    answer[length] = '\0';
    if (!strncmp(answer, "{\"ok\": true", 11))
        return 0;
    snprintf(sch->error, sizeof(sch->error), "%s: %.480s", sch->id, answer);
    errno = EINVAL;
    return -1;
}

static inline int vfioccw_open_file(const char *directory, const char *name, int flags)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return open(path, flags | O_CLOEXEC);
}

/* Finds the cmd and the schib region in region_info: -1 with errno if it cannot be read. */
static inline int vfioccw_find_regions(struct vfioccw *sch, const char *directory)
{
    uint8_t infos[4096];
    uint32_t words[4]; /* argsz, flags, index, cap_offset (struct vfio_region_info) */
    int fd = vfioccw_open_file(directory, "region_info", O_RDONLY), reason;
    ssize_t length = fd < 0 ? -1 : read(fd, infos, sizeof(infos));
    size_t at = 0;

    reason = errno;
    if (fd >= 0)
        close(fd);
    if (length < 0)
        return errno = reason, -1;
    while (at + sizeof(words) <= (size_t)length) {
        uint32_t subtype, capability; /* struct vfio_region_info_cap_type, behind its header */

        memcpy(words, infos + at, sizeof(words));
        if (words[3] && at + words[3] + 16 <= (size_t)length) {
            memcpy(&capability, infos + at + words[3] + 8, sizeof(capability));
            memcpy(&subtype, infos + at + words[3] + 12, sizeof(subtype));
            if (capability == 2 && subtype == 1)
                sch->cmd_region = (int)words[2];
            if (capability == 2 && subtype == 2)
                sch->schib_region = (int)words[2];
        }
        if (words[0] < sizeof(words))
            break;
        at += words[0];
    }
    return 0;
}

/*
 * Opens the subchannel DIRECTORY (MNT/0.0.0313) and attaches an eventfd: 0, or -1 with errno. Who
 * opens the device alone has it reset when he closes it, as with VFIO.
 */
static inline int vfioccw_open(struct vfioccw *sch, const char *directory)
{
    struct timeval patience = {VFIOCCW_ANSWER_MS / 1000, VFIOCCW_ANSWER_MS % 1000 * 1000};
    struct sockaddr_un address;
    char link[PATH_MAX];
    const char *end = directory + strlen(directory), *name;

    memset(sch, 0, sizeof(*sch));
    sch->device = sch->event = sch->connection = sch->cmd_region = sch->schib_region = -1;
    while (end > directory && end[-1] == '/')
        end--;
    for (name = end; name > directory && name[-1] != '/';)
        name--;
    if ((size_t)(end - name) >= sizeof(sch->id)) {
        snprintf(sch->id, sizeof(sch->id), "subchannel");
        return vfioccw_fail(sch, ENOENT, "its directory is not named as 0.0.0313");
    }
    memcpy(sch->id, name, (size_t)(end - name));
    sch->device = vfioccw_open_file(directory, "device", O_RDWR);
    if (sch->device < 0 || vfioccw_find_regions(sch, directory)) {
        vfioccw_fail(sch, errno, "device: is it mounted?");
        vfioccw_close(sch);
        return -1;
    }
    memset(&address, 0, sizeof(address));
    address.sun_family = AF_UNIX;
    snprintf(link, sizeof(link), "%s/../irqfd", directory);
    sch->connection = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sch->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (sch->connection < 0 || sch->event < 0 ||
        readlink(link, address.sun_path, sizeof(address.sun_path) - 1) < 0 ||
        setsockopt(sch->connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
        connect(sch->connection, (struct sockaddr *)&address, sizeof(address))) {
        vfioccw_fail(sch, errno, "irqfd");
        vfioccw_close(sch);
        return -1;
    }
    if (vfioccw_ask(sch, sch->event, "\"irq\": 0}")) {
        vfioccw_close(sch);
        return -1;
    }
    return 0;
}

/* Closes it; maps end, and the subchannel is reset if nobody else has it open. errno stays. */
static inline void vfioccw_close(struct vfioccw *sch)
{
    int *fds[] = {&sch->connection, &sch->device, &sch->event}, reason = errno;
    size_t at;

    for (at = 0; at < sizeof(fds) / sizeof(*fds); at++) {
        if (*fds[at] >= 0)
            close(*fds[at]);
        *fds[at] = -1;
    }
    errno = reason;
}

/* --- guest memory ---------------------------------------------------------------------------- */

/* Makes SIZE bytes at MEMORY of this process guest storage from IOVA on; multiples of 4096. */
static inline int vfioccw_map(struct vfioccw *sch, uint64_t iova, uint64_t size, void *memory)
{
    return vfioccw_ask(sch, -1,
                       "\"map\": {\"iova\": %" PRIu64 ", \"size\": %" PRIu64 ", \"vaddr\": %" PRIu64
                       "}}",
                       iova, size, (uint64_t)(uintptr_t)memory);
}

/* The same with SIZE bytes of the file FD (a memfd, or one on tmpfs) from OFFSET on: faster. */
static inline int vfioccw_map_file(struct vfioccw *sch, uint64_t iova, uint64_t size, int fd,
                                   uint64_t offset)
{
    return vfioccw_ask(sch, fd,
                       "\"map\": {\"iova\": %" PRIu64 ", \"size\": %" PRIu64
                       ", \"offset\": %" PRIu64 "}}",
                       iova, size, offset);
}

/* Takes whole maps away. A program that runs on them is ended, as in Linux. */
static inline int vfioccw_unmap(struct vfioccw *sch, uint64_t iova, uint64_t size)
{
    return vfioccw_ask(sch, -1, "\"unmap\": {\"iova\": %" PRIu64 ", \"size\": %" PRIu64 "}}", iova,
                       size);
}

/* --- requests -------------------------------------------------------------------------------- */

static inline int64_t vfioccw_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*
 * Writes a whole region; EAGAIN is tried again, as QEMU does. The condition code: 0; 2 status pending
 * or busy (EBUSY is both); 3 not operational (ENODEV, EACCES); or -1 with another errno: EINVAL, a
 * program or data that is not mapped; EIO, an invalid ORB or a subchannel that is gone; EOPNOTSUPP.
 */
static inline int vfioccw_request(struct vfioccw *sch, const char *what, int region,
                                  const void *data, size_t size)
{
    int64_t until = vfioccw_now_ms() + VFIOCCW_AGAIN_MS;
    ssize_t done;

    do {
        done = pwrite(sch->device, data, size, (off_t)region << VFIOCCW_SHIFT);
        if (done < 0 && errno == EAGAIN)
            usleep(500);
    } while (done < 0 && (errno == EINTR || (errno == EAGAIN && vfioccw_now_ms() < until)));
    if (done == (ssize_t)size)
        return 0;
    if (done >= 0)
        errno = EFAULT;
    vfioccw_fail(sch, errno, what);
    return errno == EBUSY ? 2 : errno == ENODEV || errno == EACCES ? 3 : -1;
}

/* An io-region request with function control FCTL. */
static inline int vfioccw_io_request(struct vfioccw *sch, const char *what, const uint8_t *orb,
                                     uint16_t fctl)
{
    uint8_t region[VFIOCCW_IO_REGION];

    memset(region, 0, sizeof(region));
    if (orb)
        memcpy(region, orb, VFIOCCW_ORB);
    vfioccw_put16(region + VFIOCCW_SCSW_AT + 2, fctl);
    return vfioccw_request(sch, what, 0, region, sizeof(region));
}

/* START SUBCHANNEL: the condition code, or -1; see vfioccw_request. An interruption follows 0. */
static inline int vfioccw_start(struct vfioccw *sch, const uint8_t orb[VFIOCCW_ORB])
{
    return vfioccw_io_request(sch, "ssch", orb, VFIOCCW_FCTL_START);
}

static inline int vfioccw_command(struct vfioccw *sch, const char *what, uint32_t command,
                                  uint16_t fctl)
{
    uint32_t words[2] = {command, 0};

    if (sch->cmd_region < 0)
        return vfioccw_io_request(sch, what, NULL, fctl);
    return vfioccw_request(sch, what, sch->cmd_region, words, sizeof(words));
}

/* HALT SUBCHANNEL: as vfioccw_start; its interruption ends what ran, too. */
static inline int vfioccw_halt(struct vfioccw *sch)
{
    return vfioccw_command(sch, "hsch", VFIOCCW_CMD_HALT, VFIOCCW_FCTL_HALT);
}

/* CLEAR SUBCHANNEL: as vfioccw_start; never busy. An event of before it may still come. */
static inline int vfioccw_clear(struct vfioccw *sch)
{
    return vfioccw_command(sch, "csch", VFIOCCW_CMD_CLEAR, VFIOCCW_FCTL_CLEAR);
}

/* STORE SUBCHANNEL: the SCHIB, big endian: 0, or -1 with errno (ENOTSUP: the interface has none). */
static inline int vfioccw_store(struct vfioccw *sch, uint8_t schib[VFIOCCW_SCHIB])
{
    ssize_t length;

    if (sch->schib_region < 0)
        return vfioccw_fail(sch, ENOTSUP, "stsch");
    length = pread(sch->device, schib, VFIOCCW_SCHIB, (off_t)sch->schib_region << VFIOCCW_SHIFT);
    return length == VFIOCCW_SCHIB ? 0 : vfioccw_fail(sch, length < 0 ? errno : EIO, "stsch");
}

/* --- interruptions --------------------------------------------------------------------------- */

/* The descriptors to poll. */
static inline int vfioccw_event(const struct vfioccw *sch)
{
    return sch->event;
}

static inline int vfioccw_connection(const struct vfioccw *sch)
{
    return sch->connection;
}

/*
 * Waits for an interruption, at most MS milliseconds, or for ever if that is negative: 1 if there is
 * one, 0 if the time is over, -1 with errno: EINTR, or ENODEV if the mount is gone.
 */
static inline int vfioccw_wait(struct vfioccw *sch, int ms)
{
    struct pollfd fds[2];
    eventfd_t events;
    int found;

    fds[0].fd = sch->event;
    fds[0].events = POLLIN;
    fds[1].fd = sch->connection;
    fds[1].events = POLLRDHUP;
    found = poll(fds, 2, ms);
    if (found < 0)
        return vfioccw_fail(sch, errno, "poll");
    if (fds[0].revents & POLLIN && eventfd_read(sch->event, &events) == 0)
        return 1;
    return fds[1].revents ? vfioccw_fail(sch, ENODEV, "the mount is gone") : 0;
}

/* TEST SUBCHANNEL: takes the IRB that the io region shows: 0, or -1 with errno. */
static inline int vfioccw_result(struct vfioccw *sch, struct vfioccw_irb *irb)
{
    ssize_t length = pread(sch->device, irb->raw, VFIOCCW_IRB, VFIOCCW_IRB_AT);

    if (length != VFIOCCW_IRB)
        return vfioccw_fail(sch, length < 0 ? errno : EIO, "tsch");
    irb->flags = vfioccw_get16(irb->raw);
    irb->ctrl = vfioccw_get16(irb->raw + 2);
    irb->cpa = vfioccw_get32(irb->raw + 4);
    irb->dstat = irb->raw[8];
    irb->cstat = irb->raw[9];
    irb->count = vfioccw_get16(irb->raw + 10);
    return 0;
}

/*
 * Waits for the interruption that ends the function FCTL (VFIOCCW_FCTL_*) and takes it, and those on
 * the way (PCI, initial status, channel end alone): as vfioccw_wait.
 */
static inline int vfioccw_conclude(struct vfioccw *sch, uint16_t fctl, struct vfioccw_irb *irb,
                                   int ms)
{
    int64_t until = vfioccw_now_ms() + ms;
    int found;

    for (;;) {
        int64_t left = ms < 0 ? -1 : until - vfioccw_now_ms();

        found = vfioccw_wait(sch, ms < 0 ? -1 : left > 0 ? (int)left : 0);
        if (found <= 0)
            return found;
        if (vfioccw_result(sch, irb))
            return -1;
        if (irb->ctrl & VFIOCCW_FCTL_CLEAR)
            return 1;
        if (!(irb->ctrl & fctl) ||
            (irb->ctrl & 0x1f) == (VFIOCCW_STCTL_INTERMEDIATE | VFIOCCW_STCTL_STATUS_PENDING))
            continue;
        if (!(irb->ctrl & VFIOCCW_ACTL_DEVICE_ACTIVE) || irb->cstat)
            return 1;
    }
}

#endif
