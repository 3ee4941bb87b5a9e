/* Messages to the server of the mount, one connection a device, and what its end means. */
#include "preload.h"

#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "scsw.h"

#define MESSAGE_MAX 4096  /* bytes of a message on the socket */
#define ANSWER_SECONDS 30 /* a server that does not answer for so long is taken for dead */

/* A message with FD attached, or none if it is -1; gives what sendmsg gives. */
static ssize_t send_message(int socket, char *text, size_t length, int fd)
{
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec area = {text, length};
    struct msghdr message = {.msg_iov = &area, .msg_iovlen = 1};
    ssize_t sent;

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
        sent = sendmsg(socket, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent;
}

/* One message and its answer: 0, or -1 with errno and, unless the server is gone, a complaint. */
int ask(struct device *device, int fd, const char *format, ...)
{
    char text[MESSAGE_MAX], answer[MESSAGE_MAX + 1];
    int used = snprintf(text, sizeof(text), "{\"subchannel\": \"%s\", ", device->id);
    va_list arguments;
    ssize_t length;
    char *problem;

    va_start(arguments, format);
    used += vsnprintf(text + used, sizeof(text) - (size_t)used, format, arguments);
    va_end(arguments);
    length = send_message(device->socket, text, (size_t)used, fd);
    if (length >= 0) {
        do
            length = recv(device->socket, answer, MESSAGE_MAX, 0);
        while (length < 0 && errno == EINTR);
    }
    if (length <= 0) {
        /* Also for one that does not answer: the next answer would be the last question's. */
        shutdown(device->socket, SHUT_RDWR);
        return refuse(ENODEV);
    }
    answer[length] = '\0';
    problem = strstr(answer, "\"error\": \"");
    if (!problem)
        return 0;
    problem += strlen("\"error\": \"");
    if (strrchr(problem, '"'))
        *strrchr(problem, '"') = '\0';
    complain(device, "%s", problem);
    return refuse(EINVAL);
}

/* From now on we answer in the server's place; what it has not ended ends now. */
void lose(struct device *device)
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

bool is_gone(struct device *device)
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

int connect_device(struct device *device)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = ANSWER_SECONDS};
    char path[PATH_MAX];
    sigset_t all, before;
    int failed;

    snprintf(path, sizeof(path), "%s/../irqfd", device->directory);
    if (real.readlink(path, address.sun_path, sizeof(address.sun_path) - 1) < 0)
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
        int reason = errno;

        real.close(device->socket);
        device->socket = -1;
        return refuse(reason);
    }
    return 0;
}

void disconnect_device(struct device *device)
{
    pthread_mutex_lock(&device->lock);
    device->closing = true;
    pthread_mutex_unlock(&device->lock);
    shutdown(device->socket, SHUT_RDWR);
    pthread_join(device->watcher, NULL);
    real.close(device->socket);
    if (device->io_event >= 0)
        real.close(device->io_event);
    device->socket = device->io_event = -1;
}
