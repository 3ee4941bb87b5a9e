/*
 * null_device: the peer in C. A single-threaded libfuse file system with one subchannel whose start
 * function completes at once: what a round trip costs when the server's own work is next to nothing.
 *
 *   null_device MNT SOCKET     stays in the foreground; ends when MNT is unmounted
 *
 * It serves the names of our mount that the bench needs, with the same sizes and semantics:
 *   MNT/irqfd              symlink to a SOCK_SEQPACKET socket; a message with a descriptor attached
 *                          makes that eventfd the one that is signalled, until the connection ends
 *   MNT/0.0.0313/io_region 124 bytes, direct_io: ORB 12, SCSW 12, IRB 96, ret_code 4; a write of all
 *                          of it is a start request and leaves an IRB with channel end + device end
 *   MNT/0.0.0313/io_irq    an eventfd's semantics: poll, and a read that blocks at zero
 */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 312
#include <errno.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ROOT = FUSE_ROOT_ID, SUBCHANNEL, IO_REGION, IO_IRQ, IRQFD, INODES };
enum { REGION_SIZE = 124, ORB = 0, SCSW = 12, IRB = 24, READERS = 64 };

static const struct entry {
	const char *name;
	fuse_ino_t parent;
	mode_t mode;
	off_t size;
} entries[INODES] = {
	[ROOT] = { "", 0, S_IFDIR | 0755, 0 },
	[SUBCHANNEL] = { "0.0.0313", ROOT, S_IFDIR | 0755, 0 },
	[IO_REGION] = { "io_region", SUBCHANNEL, S_IFREG | 0600, REGION_SIZE },
	[IO_IRQ] = { "io_irq", SUBCHANNEL, S_IFREG | 0600, 8 },
	[IRQFD] = { "irqfd", ROOT, S_IFLNK | 0777, 0 },
};

static uint8_t region[REGION_SIZE];
static uint64_t counter;                  /* io_irq */
static fuse_req_t readers[READERS];       /* reads blocked in io_irq, oldest first */
static int reader_count;
static struct fuse_pollhandle *poll_handle;
static _Atomic int eventfd_given = -1;    /* the client's eventfd, or -1: signal the file */
static struct sockaddr_un address = { .sun_family = AF_UNIX };

/* --- the device ---------------------------------------------------------------------------- */

static void signal_event(void)
{
	const uint64_t one = 1;
	int fd = eventfd_given;

	if (fd >= 0) {
		if (write(fd, &one, sizeof one) < 0)
			perror("null_device: eventfd");
		return;
	}
	counter++;
	if (reader_count) {
		fuse_reply_buf(readers[0], (const char *)&counter, sizeof counter);
		memmove(readers, readers + 1, --reader_count * sizeof *readers);
		counter = 0;
		return;
	}
	/* Kept also after poll said ready: the kernel may still have a waiter on it. */
	if (poll_handle)
		fuse_lowlevel_notify_poll(poll_handle);
}

/* The IRB of a no-operation that ended well, big endian: format 1, prefetch; start function, status
 * pending; the address behind the CCW; channel end, device end; its count of 1 left over. */
static void complete(void)
{
	uint32_t cpa;

	memcpy(&cpa, region + ORB + 8, sizeof cpa);
	cpa = htobe32(be32toh(cpa) + 8);
	memset(region + IRB, 0, 96);
	memcpy(region + IRB, (const uint8_t[]){ 0x00, 0xc0, 0x40, 0x07 }, 4);
	memcpy(region + IRB + 4, &cpa, sizeof cpa);
	memcpy(region + IRB + 8, (const uint8_t[]){ 0x0c, 0x00, 0x00, 0x01 }, 4);
	region[IRB + 13] = 0x80; /* ESW: last-used path mask */
	memset(region + 120, 0, 4);
	signal_event();
}

/* --- the file system ------------------------------------------------------------------------ */

static struct stat attributes(fuse_ino_t ino)
{
	return (struct stat){ .st_ino = ino, .st_mode = entries[ino].mode, .st_nlink = 1,
			      .st_size = entries[ino].size, .st_uid = getuid(), .st_gid = getgid() };
}

static void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	for (fuse_ino_t ino = SUBCHANNEL; ino < INODES; ino++)
		if (entries[ino].parent == parent && !strcmp(entries[ino].name, name)) {
			struct fuse_entry_param e = { .ino = ino, .attr = attributes(ino),
						      .attr_timeout = 3600, .entry_timeout = 3600 };
			fuse_reply_entry(req, &e);
			return;
		}
	fuse_reply_err(req, ENOENT);
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st = attributes(ino);

	(void)fi;
	fuse_reply_attr(req, &st, 3600);
}

static void do_readlink(fuse_req_t req, fuse_ino_t ino)
{
	(void)ino;
	fuse_reply_readlink(req, address.sun_path);
}

static void do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fi->direct_io = 1;
	fuse_reply_open(req, fi);
}

static void do_interrupt(fuse_req_t req, void *data)
{
	(void)data;
	for (int i = 0; i < reader_count; i++)
		if (readers[i] == req) {
			memmove(readers + i, readers + i + 1, (--reader_count - i) * sizeof *readers);
			fuse_reply_err(req, EINTR);
			return;
		}
}

static void read_irq(fuse_req_t req, size_t size, struct fuse_file_info *fi)
{
	if (size < sizeof counter)
		fuse_reply_err(req, EINVAL);
	else if (counter) {
		fuse_reply_buf(req, (const char *)&counter, sizeof counter);
		counter = 0;
	} else if ((fi->flags & O_NONBLOCK) || reader_count == READERS)
		fuse_reply_err(req, EAGAIN);
	else {
		readers[reader_count++] = req;
		fuse_req_interrupt_func(req, do_interrupt, NULL);
	}
}

static void do_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	if (ino == IO_IRQ)
		read_irq(req, size, fi);
	else if (off >= REGION_SIZE)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_buf(req, (const char *)region + off,
			       size < (size_t)(REGION_SIZE - off) ? size : (size_t)(REGION_SIZE - off));
}

static void do_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	(void)fi;
	if (ino != IO_REGION || off || size != REGION_SIZE || !(buf[SCSW + 2] & 0x40)) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	memcpy(region, buf, IRB);
	complete();
	fuse_reply_write(req, size);
}

static void do_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		    struct fuse_pollhandle *ph)
{
	(void)fi;
	if (ph) {
		if (poll_handle)
			fuse_pollhandle_destroy(poll_handle);
		poll_handle = ph;
	}
	fuse_reply_poll(req, POLLOUT | (ino != IO_IRQ || counter ? POLLIN : 0));
}

static const struct fuse_lowlevel_ops operations = {
	.lookup = do_lookup, .getattr = do_getattr, .readlink = do_readlink, .open = do_open,
	.read = do_read, .write = do_write, .poll = do_poll,
};

/* --- the socket: a thread that sleeps in accept and recvmsg while the bench measures --------- */

static int receive_fd(int peer, char *text, size_t size)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { text, size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof control };
	struct cmsghdr *cmsg;
	int fd = -1;

	if (recvmsg(peer, &msg, MSG_CMSG_CLOEXEC) <= 0)
		return -2;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(cmsg), sizeof fd);
	return fd;
}

static void give_eventfd(int fd)
{
	int old = atomic_exchange(&eventfd_given, fd);

	if (old >= 0)
		close(old);
}

static void *serve_irqfd(void *data)
{
	int listener = *(int *)data;

	for (;;) {
		int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC), fd;
		char text[512];

		if (peer < 0)
			return NULL;
		while ((fd = receive_fd(peer, text, sizeof text)) != -2) {
			give_eventfd(fd);
			if (send(peer, "{\"ok\": true}", 12, MSG_NOSIGNAL) < 0)
				break;
		}
		give_eventfd(-1);
		close(peer);
	}
}

static int listen_irqfd(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4))
		return -1;
	return fd;
}

int main(int argc, char **argv)
{
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	struct fuse_session *session;
	pthread_t thread;
	int listener, result;

	if (argc != 3 || strlen(argv[2]) >= sizeof address.sun_path) {
		fprintf(stderr, "usage: null_device MNT SOCKET\n");
		return 2;
	}
	strcpy(address.sun_path, argv[2]);
	session = fuse_session_new(&args, &operations, sizeof operations, NULL);
	listener = listen_irqfd();
	if (!session || listener < 0 || fuse_set_signal_handlers(session) ||
	    pthread_create(&thread, NULL, serve_irqfd, &listener) ||
	    fuse_session_mount(session, argv[1])) {
		perror("null_device");
		return 1;
	}
	result = fuse_session_loop(session);
	fuse_session_unmount(session);
	unlink(address.sun_path);
	return result ? 1 : 0;
}
