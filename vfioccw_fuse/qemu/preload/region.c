/*
 * Region accesses: they go to the mount's file as they are.
 *
 * When the server is gone every request ends with a unit exception, made here: the guest shall see
 * I/O errors, and QEMU not complain of each of them.
 */
#include "preload.h"

#include <sys/eventfd.h>

#include "scsw.h"

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

/* Before the request: its interruption may be quicker than we are.  False: the server is gone. */
static bool begin(struct device *device, uint8_t function)
{
    bool gone;

    pthread_mutex_lock(&device->lock);
    gone = device->gone;
    device->started |= !gone && function == FCTL_START;
    pthread_mutex_unlock(&device->lock);
    return !gone;
}

static void undo_begin(struct device *device, uint8_t function)
{
    if (function != FCTL_START)
        return;
    pthread_mutex_lock(&device->lock);
    device->started = false;
    pthread_mutex_unlock(&device->lock);
}

/* Owes QEMU the function's IRB, and tells it so. */
static void owe(struct device *device, uint8_t function)
{
    pthread_mutex_lock(&device->lock);
    if (function == FCTL_CLEAR)
        device->owed = 0;
    device->owed |= function;
    eventfd_write(device->io_event, 1);
    pthread_mutex_unlock(&device->lock);
}

ssize_t write_region(struct device *device, const void *data, size_t size, off64_t at)
{
    uint8_t function = function_of(device, data, size, at);

    if (begin(device, function)) {
        ssize_t done = real.pwrite64(device->fd, data, size, at);
        int reason = errno;

        if (done >= 0)
            return done;
        if (!function || !means_gone(reason)) {
            undo_begin(device, function);
            return refuse(reason);
        }
        lose(device);
    } else if (!function) {
        return refuse(ENODEV);
    }
    owe(device, function);
    return (ssize_t)size;
}

ssize_t read_region(struct device *device, void *data, size_t size, off64_t at)
{
    struct ccw_io_region *io = data;
    uint8_t owed;

    if (at != device->io_region || size != sizeof(*io))
        return real.pread64(device->fd, data, size, at);
    pthread_mutex_lock(&device->lock);
    owed = device->owed;
    device->owed = 0;
    device->started = false;
    pthread_mutex_unlock(&device->lock);
    if (!owed)
        return real.pread64(device->fd, data, size, at);
    memset(io, 0, sizeof(*io));
    io->irb_area[IRB_FCTL] = owed;
    io->irb_area[IRB_STCTL] = owed == FCTL_START ? STCTL_ENDING : STCTL_ALONE;
    io->irb_area[IRB_DSTAT] = owed == FCTL_START ? DSTAT_EXCEPTION : 0;
    return (ssize_t)size;
}
