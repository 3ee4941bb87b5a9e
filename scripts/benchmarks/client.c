/*
 * client: drives one subchannel of either server and prints what a request costs, in microseconds.
 *
 *   client MNT SUBCHANNEL MODE COUNT [PAUSE]
 *
 * MODE is how the client learns that the IRB is there: `poll` (poll, then read of io_irq), `read`
 * (a read of io_irq that blocks), `eventfd` (its own eventfd, handed over through MNT/irqfd); or
 * `pread`: no request at all, only reads of the io region.
 *
 * One round trip is a pwrite of the 124-byte io region that starts a program of one CCW (no-operation),
 * the event, and the pread that takes the IRB. Each IRB is checked. Prints one JSON object:
 * medians "round", "pwrite" and "pread" over COUNT round trips, after COUNT/10 that do not count, and
 * "worst", the longest of them. It sleeps PAUSE microseconds before each, so that they are spread over
 * what goes on meanwhile.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { REGION_SIZE = 124, IRB = 24, PROGRAM = 0x10000, DEADLINE_S = 60 };
enum mode { POLL, READ, EVENTFD, PREAD };
static const char *const modes[] = { "poll", "read", "eventfd", "pread" };

static void die(const char *what)
{
	fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *times, long count)
{
	qsort(times, count, sizeof *times, compare); /* they stay so: the last is the longest */
	return times[count / 2];
}

/* Where a file of the subchannel lies. */
static const char *file(const char *subchannel, const char *name)
{
	static char path[512];

	snprintf(path, sizeof path, "%s/%s", subchannel, name);
	return path;
}

/* Hands an eventfd to the server; the connection stays open, since its end takes the eventfd back. */
static int hand_over(const char *subchannel)
{
	struct sockaddr_un address = { AF_UNIX, "irqfd" };
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	char text[256], answer[256];
	struct iovec iov = { text, snprintf(text, sizeof text, "{\"subchannel\": \"%s\", \"irq\": 0}",
					    subchannel) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof control };
	int fd = eventfd(0, EFD_CLOEXEC), server = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	ssize_t length;

	memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
	if (fd < 0 || server < 0 || connect(server, (struct sockaddr *)&address, sizeof address) ||
	    sendmsg(server, &msg, 0) < 0 || (length = recv(server, answer, sizeof answer - 1, 0)) < 0)
		die("irqfd");
	answer[length] = 0;
	if (!strstr(answer, "\"ok\"")) {
		fprintf(stderr, "client: irqfd: %s\n", answer);
		exit(1);
	}
	return fd;
}

/* Puts the program where the ORB points: format 1, command 03 no-operation, SLI, count 1. The null
 * device has no storage and looks at no program. */
static void write_program(const char *subchannel)
{
	static const uint8_t ccw[8] = { 0x03, 0x20, 0x00, 0x01, 0, 0, 0, 0 };
	int fd = open(file(subchannel, "memory"), O_RDWR | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		return;
	if (fd < 0 || pwrite(fd, ccw, sizeof ccw, PROGRAM) != sizeof ccw || close(fd))
		die("memory");
}

static void wait_event(enum mode mode, int fd)
{
	struct pollfd poller = { .fd = fd, .events = POLLIN };
	uint64_t count;

	if (mode == POLL && poll(&poller, 1, -1) != 1)
		die("poll");
	if (read(fd, &count, sizeof count) != sizeof count || !count)
		die("reading the event");
}

int main(int argc, char **argv)
{
	/* ORB: interruption parameter; key 0, format 1, prefetch, 64-bit IDAWs; all paths; program. */
	static const uint8_t start[REGION_SIZE] = {
		0, 0, 0, 1, 0x00, 0xc2, 0xff, 0, 0, PROGRAM >> 16, 0, 0,
		0, 0, 0x40, 0, /* SCSW: function control: start */
	};
	uint8_t region[REGION_SIZE];
	enum mode mode = POLL;
	int io, irq = -1;

	while (argc >= 5 && mode <= PREAD && strcmp(argv[3], modes[mode]))
		mode++;
	if (argc < 5 || argc > 6 || mode > PREAD || atol(argv[4]) < 1) {
		fprintf(stderr, "usage: client MNT SUBCHANNEL poll|read|eventfd|pread COUNT [PAUSE]\n");
		return 2;
	}
	const char *subchannel = argv[2];
	const long count = atol(argv[4]), warm = count / 10 + 1, pause = argc == 6 ? atol(argv[5]) : 0;
	double *round = calloc(count, sizeof *round), *writes = calloc(count, sizeof *writes),
	       *reads = calloc(count, sizeof *reads);

	alarm(DEADLINE_S);
	/* From inside the mount the socket's name is short, whatever the mount point's is. */
	if (!round || !writes || !reads || chdir(argv[1]))
		die(argv[1]);
	write_program(subchannel);
	if ((io = open(file(subchannel, "io_region"), O_RDWR | O_CLOEXEC)) < 0)
		die("io_region");
	if (mode == EVENTFD)
		irq = hand_over(subchannel);
	else if ((irq = open(file(subchannel, "io_irq"), O_RDWR | O_CLOEXEC)) < 0)
		die("io_irq");

	for (long i = -warm; i < count; i++) {
		if (pause)
			usleep(pause);
		double begin = now(), written = begin, woken = begin, end;

		if (mode != PREAD) {
			if (pwrite(io, start, sizeof start, 0) != sizeof start)
				die("pwrite of io_region");
			written = now();
			wait_event(mode, irq);
			woken = now();
		}
		if (pread(io, region, sizeof region, 0) != sizeof region)
			die("pread of io_region");
		end = now();
		/* Channel end and device end, no subchannel status; start function, status pending. */
		if (mode != PREAD && (region[IRB + 8] != 0x0c || region[IRB + 9] ||
				      (region[IRB + 2] & 0x70) != 0x40 || !(region[IRB + 3] & 0x01))) {
			fprintf(stderr, "client: IRB with device status %02x, subchannel status %02x\n",
				region[IRB + 8], region[IRB + 9]);
			return 1;
		}
		if (i >= 0) {
			round[i] = end - begin;
			writes[i] = written - begin;
			reads[i] = end - woken;
		}
	}
	const double middle = median(round, count);

	printf("{\"round\": %.2f, \"pwrite\": %.2f, \"pread\": %.2f, \"worst\": %.2f}\n", middle,
	       median(writes, count), median(reads, count), round[count - 1]);
	return 0;
}
