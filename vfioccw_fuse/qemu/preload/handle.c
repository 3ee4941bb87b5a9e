/*
 * The descriptors that are ours.
 *
 * Read without a lock by every thread that has a descriptor in its hand: an entry's fd is set last
 * and cleared first.
 */
#include "preload.h"

#include <sys/eventfd.h>

#define HANDLES_MAX (4 * DEVICES_MAX)

static struct handle handles[HANDLES_MAX];

/* A descriptor that stands for something of ours. */
int new_descriptor(void)
{
    return eventfd(0, EFD_CLOEXEC);
}

/* Makes FD ours; gives it, or closes it and gives -1 with errno. */
int add_handle(int fd, const struct kind *kind, void *object)
{
    if (fd < 0)
        return -1;
    close_handle(fd);
    for (size_t i = 0; i < HANDLES_MAX; i++) {
        if (handles[i].fd >= 0)
            continue;
        handles[i].kind = kind;
        handles[i].object = object;
        __atomic_store_n(&handles[i].fd, fd, __ATOMIC_RELEASE);
        return fd;
    }
    real.close(fd);
    return refuse(EMFILE);
}

const struct handle *handle_of(int fd)
{
    for (size_t i = 0; fd >= 0 && i < HANDLES_MAX; i++)
        if (__atomic_load_n(&handles[i].fd, __ATOMIC_ACQUIRE) == fd)
            return is_our_process() ? &handles[i] : NULL;
    return NULL;
}

/* What there is to do before FD is closed, if it is ours. */
void close_handle(int fd)
{
    struct handle *handle = (struct handle *)handle_of(fd);
    struct handle closed;

    if (!handle)
        return;
    closed = *handle;
    __atomic_store_n(&handle->fd, -1, __ATOMIC_RELEASE);
    closed.kind->close(&closed);
}

void forget_handles(void)
{
    for (size_t i = 0; i < HANDLES_MAX; i++)
        handles[i].fd = -1;
}
