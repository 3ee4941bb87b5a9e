/* The C library's own functions, the list of devices, and what is left of them in a fork. */
#include "preload.h"

#include <dlfcn.h>
#include <stdarg.h>

#define MESSAGE_MAX 4096

struct real real;
struct device devices[DEVICES_MAX];
size_t device_count;
static struct group groups[DEVICES_MAX];
static size_t group_count;
static pid_t our_process;

void complain(const struct device *device, const char *format, ...)
{
    char text[MESSAGE_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    fprintf(stderr, "vfioccw: %s: %s\n", device->directory, text);
}

int refuse(int reason)
{
    errno = reason;
    return -1;
}

static struct group *group_with(int number)
{
    for (size_t i = 0; i < group_count; i++)
        if (groups[i].number == number)
            return &groups[i];
    groups[group_count].number = number;
    return &groups[group_count++];
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
        device->group = group_with(atoi(tab + 1));
        device->fd = device->socket = device->io_event = -1;
        pthread_mutex_init(&device->lock, NULL);
        device_count++;
    }
}

/* In a forked child, which may close all that it has: nothing of it is ours any more. */
static void forget(void)
{
    forget_handles();
    for (size_t i = 0; i < device_count; i++) {
        devices[i].fd = devices[i].socket = devices[i].io_event = -1;
        devices[i].space = NULL;
        devices[i].iommufd = NULL;
        devices[i].group->open = false;
        devices[i].group->space = NULL;
    }
    our_process = getpid();
}

/* Not in the child of a vfork, which has our memory and descriptors of its own. */
bool is_our_process(void)
{
    return getpid() == our_process;
}

static void find_real(void)
{
    real.open = dlsym(RTLD_NEXT, "open");
    real.open_2 = dlsym(RTLD_NEXT, "__open_2");
    real.open64_2 = dlsym(RTLD_NEXT, "__open64_2");
    real.close = dlsym(RTLD_NEXT, "close");
    real.ioctl = dlsym(RTLD_NEXT, "ioctl");
    real.fstat = dlsym(RTLD_NEXT, "fstat");
    real.fstat64 = dlsym(RTLD_NEXT, "fstat64");
    real.fopen64 = dlsym(RTLD_NEXT, "fopen64");
    real.pread64 = dlsym(RTLD_NEXT, "pread64");
    real.pwrite64 = dlsym(RTLD_NEXT, "pwrite64");
    real.access = dlsym(RTLD_NEXT, "access");
    real.readlink = dlsym(RTLD_NEXT, "readlink");
    /* The oldest version of it takes no NULL, and dlsym gives the oldest. */
    real.realpath = dlvsym(RTLD_NEXT, "realpath", "GLIBC_2.3");
    if (!real.realpath)
        real.realpath = dlsym(RTLD_NEXT, "realpath");
    real.opendir = dlsym(RTLD_NEXT, "opendir");
    real.readdir64 = dlsym(RTLD_NEXT, "readdir64");
    real.closedir = dlsym(RTLD_NEXT, "closedir");
    real.open64 = dlsym(RTLD_NEXT, "open64");
}

/* Also called by whatever comes first: constructors of other libraries open files before ours. */
__attribute__((constructor)) void start(void)
{
    const char *list;

    if (real.open64)
        return;
    list = getenv("VFIOCCW_DEVICES");
    our_process = getpid();
    pthread_atfork(NULL, NULL, forget);
    forget_handles();
    find_real();
    if (list)
        read_devices(list);
}

/* Reads DIRECTORY/NAME; gives its length, or -1 with errno. */
ssize_t slurp(const struct device *device, const char *name, char *to, size_t size)
{
    char path[PATH_MAX];
    size_t length = 0;
    int fd;

    snprintf(path, sizeof(path), "%s/%s", device->directory, name);
    fd = real.open64(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    while (length < size) {
        ssize_t got = real.pread64(fd, to + length, size - length, (off_t)length);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            real.close(fd);
            return -1;
        }
        if (!got)
            break;
        length += (size_t)got;
    }
    real.close(fd);
    return (ssize_t)length;
}

/* Reads the text `state` into TO, STATE_MAX + 1 bytes; -1 with errno: it cannot be read. */
int read_state(const struct device *device, char *to)
{
    ssize_t length = slurp(device, "state", to, STATE_MAX);

    if (length < 0)
        return -1;
    to[length] = '\0';
    return 0;
}

/* The value that `state` shows for KEY ("pmcw.pim"), as a string of hex digits. */
bool state_value(const char *state, const char *key, char *value, size_t size)
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
