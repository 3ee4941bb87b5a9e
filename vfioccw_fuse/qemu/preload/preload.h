/*
 * What the parts of the library share.
 *
 *   start.c       the C library's own functions, the list of devices, forks
 *   sysfs.c       what QEMU reads of /sys about a device
 *   connection.c  messages to the server of the mount, and its end
 *   space.c       address spaces: maps of guest memory, and the devices that see them
 *   device.c      a device in use: its infos, interrupts, reset
 *   region.c      region accesses, and who answers them when the server is gone
 *   handle.c      the descriptors that are ours
 *   group.c       the older way in: /dev/vfio/vfio and /dev/vfio/GROUP
 *   iommufd.c     the newer way in: /dev/iommu and /dev/vfio/devices/vfioN
 *   symbols.c     the functions that take the place of the C library's
 */
#ifndef PRELOAD_H
#define PRELOAD_H

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/vfio.h>
#include <linux/vfio_ccw.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEVICES_MAX 64
#define INFO_MAX 4096  /* bytes of an info file */
#define STATE_MAX 8192 /* bytes of `state` */
#define PAGE 4096ULL   /* maps are of whole pages */
#define NOT_OURS (-2)  /* in a descriptor's place: the path is for the C library */

/* ---------------------------------------------------------------------------------------- start */

struct info {
    size_t size;
    char bytes[INFO_MAX];
};

struct group {
    int number;
    bool open;
    struct space *space;     /* of the container that it is in, or NULL */
};

struct device {
    char *directory;         /* MNT/0.0.0313, canonical */
    char id[16];             /* 0.0.0313; also the name of the mediated device */
    struct group *group;
    int fd;                  /* the descriptor that may be used: of the file `device`, or -1 */
    int socket;              /* the connection to `irqfd` */
    pthread_t watcher;
    struct info device_info, region_info, irq_info;
    off_t io_region, cmd_region; /* where they begin in the file; -1: there is none */
    struct space *space;     /* the guest memory that it sees, or NULL */
    struct iommufd *iommufd; /* that it is bound to, or NULL */
    uint32_t iommufd_id;

    pthread_mutex_t lock;    /* of what follows */
    int io_event;            /* our copy of the eventfd of I/O interruptions, or -1 */
    bool closing, gone;      /* we close the connection; the server has closed it */
    bool started;            /* a start was accepted, and its IRB not read yet */
    uint8_t owed;            /* the function whose IRB we owe QEMU: SCSW fctl bits, or 0 */
};

/* The functions of the C library whose place ours take. */
struct real {
    int (*open)(const char *, int, ...);
    int (*open_2)(const char *, int);
    int (*open64)(const char *, int, ...);
    int (*open64_2)(const char *, int);
    int (*close)(int);
    int (*ioctl)(int, unsigned long, ...);
    int (*fstat)(int, struct stat *);
    int (*fstat64)(int, struct stat64 *);
    FILE *(*fopen64)(const char *, const char *);
    ssize_t (*pread64)(int, void *, size_t, off64_t);
    ssize_t (*pwrite64)(int, const void *, size_t, off64_t);
    int (*access)(const char *, int);
    ssize_t (*readlink)(const char *, char *, size_t);
    char *(*realpath)(const char *, char *);
    DIR *(*opendir)(const char *);
    struct dirent64 *(*readdir64)(DIR *);
    int (*closedir)(DIR *);
};

extern struct real real;
extern struct device devices[DEVICES_MAX];
extern size_t device_count;

void start(void);
bool is_our_process(void);
void complain(const struct device *device, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int refuse(int reason);
ssize_t slurp(const struct device *device, const char *name, char *to, size_t size);
int read_state(const struct device *device, char *to);
bool state_value(const char *state, const char *key, char *value, size_t size);

/* ---------------------------------------------------------------------------------------- sysfs */

int open_attribute(const char *path);
struct device *device_of_group_link(const char *path);
struct device *device_of_cdev(const char *path);
dev_t number_of_cdev(const struct device *device);
const char *sysfs_name(const char *directory, char *name, size_t size);
DIR *open_listing(const char *path, bool *ours);
struct dirent64 *read_listing(DIR *directory, bool *ours);
void close_listing(DIR *directory);

/* ----------------------------------------------------------------------------------- connection */

int connect_device(struct device *device);
void disconnect_device(struct device *device);
int ask(struct device *device, int fd, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void lose(struct device *device);
bool is_gone(struct device *device);

/* ---------------------------------------------------------------------------------------- space */

struct map {
    uint64_t iova, last;     /* guest addresses, both included */
    int fd;                  /* a file, or -1: memory of this process */
    uint64_t place;          /* where it begins in the file, or in our memory */
};

struct space {
    unsigned int users;      /* who holds it: descriptors, objects, groups, devices */
    struct map *maps;
    size_t map_count;
};

struct space *new_space(void);
void drop_space(struct space *space);
void prefer_usable(struct map *map);
int add_map(struct space *space, struct map map);
int remove_maps(struct space *space, uint64_t iova, uint64_t last, uint64_t *gone);
int attach_device(struct device *device, struct space *space);
void detach_device(struct device *device);

/* --------------------------------------------------------------------------------------- device */

int open_device_file(const struct device *device);
int use_device(struct device *device, int fd);
void release_device(struct device *device);
int device_ioctl(struct device *device, unsigned long request, void *argument);

/* --------------------------------------------------------------------------------------- region */

ssize_t write_region(struct device *device, const void *data, size_t size, off64_t at);
ssize_t read_region(struct device *device, void *data, size_t size, off64_t at);

/* --------------------------------------------------------------------------------------- handle */

struct handle;

/* What a descriptor of ours is, and what it does. */
struct kind {
    int (*ioctl)(const struct handle *handle, unsigned long request, void *argument);
    void (*close)(const struct handle *handle);
};

struct handle {
    int fd;                  /* -1: the entry is free */
    const struct kind *kind;
    void *object;            /* what the kind says */
};

int new_descriptor(void);
int add_handle(int fd, const struct kind *kind, void *object);
const struct handle *handle_of(int fd);
void close_handle(int fd);
void forget_handles(void);

/* ------------------------------------------------------------------------------ the two ways in */

extern const struct kind grouped_device, cdev;

int open_container(void);
int open_group(int number);
int open_iommufd(void);
int open_cdev(struct device *device);

#endif
