/*
 * client: asks a vfio-ccw device what a script says and prints what it answers. One program, three ways:
 *
 *   client container GROUP DEVICE SCRIPT   Linux's own: number of the VFIO group, name of the device (a UUID)
 *   client iommufd NODE SCRIPT             the same by iommufd: /dev/vfio/devices/vfio0 or another
 *   client mount MNT SUBCHANNEL SCRIPT     a mount's: its files and its socket
 *
 * With the library that `vfioccw qemu` loads into QEMU the first two are ways to a mount, too.
 *
 * All have the regions behind one descriptor, region n at offset n << 10, take an eventfd, and see
 * 1 MiB of this process as the guest's storage from address 0 on. What differs is `struct end` below.
 * The first line that it prints is `asked`, the way, and the kernel's release.
 *
 * A script is lines of a word and its operands; addresses and lengths are hexadecimal, a region is its
 * index, and DATA is hexadecimal bytes and =N, a 32-bit number in this host's byte order, with points
 * between them:
 *
 *   case NAME                    everything as after opening: reset, regions and storage zero, no event
 *   store ADDRESS DATA           write storage
 *   load ADDRESS LENGTH          read storage
 *   write REGION OFFSET DATA     one pwrite, and the region's return code
 *   read REGION OFFSET LENGTH    one pread
 *   event                        wait for the event
 *   wait                         wait for the event, then read the IRB
 *   final                        the same until an IRB ends the start function, if the last write was
 *                                accepted; nothing if it was refused
 *   ending                       the same, and only what does not depend on who is faster: the last IRB
 *                                without program-controlled interruption and initial status
 *   race REQUEST                 the same as the request, and its answer marked: it depends on who is faster
 *   cleared                      clear, and wait for what ends all that ran; only the clear's IRB is shown
 *   told                         wait for the event if the last write was accepted
 *   poll                         read the IRB until it has status, without the event
 *   quiet                        whether an event comes; looks for QUIET_MS only
 *   report                       wait for the event of channel reports, then read one
 *   irq INDEX WHAT               VFIO_DEVICE_SET_IRQS: `attach`, `detach`, or, to trigger it, `none`,
 *                                `bool0`, `bool1`
 *   reset                        VFIO_DEVICE_RESET
 *   reopen                       close the device and open it again
 *   unmap, map                   take the storage away, and give it back
 *   info                         what VFIO_DEVICE_GET_*_INFO say
 *   ioctl NUMBER WORD...         the ioctl VFIO_BASE + NUMBER with a struct that begins with these 32-bit
 *                                numbers of the host's, @ for that of the eventfd; ee behind them
 *   control WORDS, chp ID STATE  have the device's faults, a channel path, switched: whoever reads this
 *                                program's output does it, and then writes a line to its input
 *
 * Each request but `store` prints one line or more; errnos are printed by name.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { STORAGE = 1 << 20, SHIFT = 10, IO = 0, CMD = 1, CRW = 3, IO_SIZE = 124, CODE = 120, IRB = 24, IRB_SIZE = 96, CLEAR = 2 };
enum { WAIT_MS = 20000, QUIET_MS = 50, IRQS = 2, CLEAR_FUNCTION = 0x10 };

struct end {
	const char *name;
	int operands;
	int (*open)(void);
	int (*reset)(void);
	int (*map)(void);
	int (*unmap)(void);
	int (*irq)(unsigned int index, const char *what);
	void (*info)(void);
	void (*close)(void);
};

static const char *first, *second;	/* operands of the command line, without the script */
static unsigned char *storage;
static int device = -1, event = -1, report_event = -1;

static void die(const char *what)
{
	fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
	exit(1);
}

static const char *outcome(long result)
{
	static char text[32];

	if (result < 0)
		return strerrorname_np(errno);
	snprintf(text, sizeof text, "%ld", result);
	return text;
}

static int event_of(unsigned int index)
{
	return index == VFIO_CCW_IO_IRQ_INDEX ? event : report_event;
}

static int attach_all(void);

static void print_hex(const unsigned char *bytes, size_t length)
{
	while (length--)
		printf("%02x", *bytes++);
}

static void print_region(unsigned int index, const struct vfio_region_info *info,
			 const struct vfio_region_info_cap_type *type)
{
	printf("region %u index %u flags %x size %llu offset %llx caps at %u: id %u version %u next %u "
	       "type %x subtype %x\n", index, info->index, info->flags, (unsigned long long)info->size,
	       (unsigned long long)info->offset, info->cap_offset, type->header.id, type->header.version,
	       type->header.next, type->type, type->subtype);
}

/* --- Linux's own, by group and container ------------------------------------------------------ */

static int group, container;

static int container_map(void)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof map, .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)storage, .iova = 0, .size = STORAGE,
	};

	return ioctl(container, VFIO_IOMMU_MAP_DMA, &map);
}

static int container_unmap(void)
{
	struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof unmap, .iova = 0, .size = STORAGE };

	return ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap);
}

static int driver_irq(unsigned int index, const char *what)
{
	union {
		struct vfio_irq_set set;
		char room[sizeof(struct vfio_irq_set) + sizeof(int)];
	} irqs = { .set = {
		.argsz = sizeof irqs, .index = index, .count = 1, .flags = VFIO_IRQ_SET_ACTION_TRIGGER,
	} };
	int fd = strcmp(what, "attach") ? -1 : event_of(index);

	if (!strncmp(what, "bool", 4)) {
		irqs.set.flags |= VFIO_IRQ_SET_DATA_BOOL;
		irqs.set.data[0] = what[4] - '0';
	} else if (!strcmp(what, "none")) {
		irqs.set.flags |= VFIO_IRQ_SET_DATA_NONE;
	} else {
		irqs.set.flags |= VFIO_IRQ_SET_DATA_EVENTFD;
		memcpy(irqs.set.data, &fd, sizeof fd);
	}
	return ioctl(device, VFIO_DEVICE_SET_IRQS, &irqs);
}

static int container_open(void)
{
	char path[64];

	if (!container) {
		snprintf(path, sizeof path, "/dev/vfio/%s", first);
		container = open("/dev/vfio/vfio", O_RDWR);
		group = open(path, O_RDWR);
		if (container < 0 || group < 0 || ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
		    ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
			die(path);
	}
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, second);
	if (device < 0)
		return -1;

	return attach_all();
}

static int driver_reset(void)
{
	return ioctl(device, VFIO_DEVICE_RESET);
}

static void driver_info(void)
{
	struct vfio_device_info all = { .argsz = sizeof all };

	ioctl(device, VFIO_DEVICE_GET_INFO, &all);
	printf("device flags %x regions %u irqs %u\n", all.flags, all.num_regions, all.num_irqs);
	for (unsigned int i = 0; i < all.num_regions; i++) {
		struct {
			struct vfio_region_info info;
			struct vfio_region_info_cap_type type;
		} region = { .info = { .argsz = sizeof region, .index = i } };

		ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &region);
		print_region(i, &region.info, &region.type);
	}
	for (unsigned int i = 0; i < all.num_irqs; i++) {
		struct vfio_irq_info irq = { .argsz = sizeof irq, .index = i };

		ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, &irq);
		printf("irq %u index %u flags %x count %u\n", i, irq.index, irq.flags, irq.count);
	}
}

static void driver_close(void)
{
	close(device);
}

static const struct end by_container = {
	"container", 2, container_open, driver_reset, container_map, container_unmap, driver_irq, driver_info,
	driver_close,
};

/* --- Linux's own, by iommufd ------------------------------------------------------------------ */

/* linux/iommufd.h and linux/vfio.h have these since 6.2 and 6.6; headers may be older. */
struct ioas_alloc { uint32_t size, flags, ioas; };
struct ioas_map { uint32_t size, flags, ioas, reserved; uint64_t vaddr, length, iova; };
struct ioas_unmap { uint32_t size, ioas; uint64_t iova, length; };
struct bind { uint32_t argsz, flags; int32_t iommufd; uint32_t id; };
struct attach { uint32_t argsz, flags, ioas; };

#define IOAS_ALLOC _IO(';', 0x81)
#define IOAS_MAP _IO(';', 0x85)
#define IOAS_UNMAP _IO(';', 0x86)
#define BIND_IOMMUFD _IO(VFIO_TYPE, VFIO_BASE + 18)
#define ATTACH_IOAS _IO(VFIO_TYPE, VFIO_BASE + 19)
enum { MAP_FIXED_IOVA = 1, MAP_WRITEABLE = 2, MAP_READABLE = 4 };

static int iommufd;
static uint32_t ioas;

static int iommufd_map(void)
{
	struct ioas_map map = {
		.size = sizeof map, .flags = MAP_FIXED_IOVA | MAP_WRITEABLE | MAP_READABLE, .ioas = ioas,
		.vaddr = (uintptr_t)storage, .length = STORAGE,
	};

	return ioctl(iommufd, IOAS_MAP, &map);
}

static int iommufd_unmap(void)
{
	struct ioas_unmap unmap = { .size = sizeof unmap, .ioas = ioas, .length = STORAGE };

	return ioctl(iommufd, IOAS_UNMAP, &unmap);
}

static int iommufd_open(void)
{
	struct bind bind = { .argsz = sizeof bind };
	struct attach attach = { .argsz = sizeof attach };

	if (!iommufd) {
		struct ioas_alloc alloc = { .size = sizeof alloc };

		iommufd = open("/dev/iommu", O_RDWR);
		if (iommufd < 0 || ioctl(iommufd, IOAS_ALLOC, &alloc))
			die("/dev/iommu");
		ioas = alloc.ioas;
	}
	device = open(first, O_RDWR);
	if (device < 0)
		return -1;
	bind.iommufd = iommufd;
	attach.ioas = ioas;
	if (ioctl(device, BIND_IOMMUFD, &bind) || ioctl(device, ATTACH_IOAS, &attach))
		return -1;
	return attach_all();
}

static const struct end by_iommufd = {
	"iommufd", 1, iommufd_open, driver_reset, iommufd_map, iommufd_unmap, driver_irq, driver_info,
	driver_close,
};

/* --- a mount's -------------------------------------------------------------------------------- */

static int irqfd = -1, backing;

static const char *file(const char *name)
{
	static char path[512];

	snprintf(path, sizeof path, "%s/%s/%s", first, second, name);
	return path;
}

/* One message of the socket about the subchannel: 0, or -1 if the answer is an error. */
static int say(int descriptor, const char *format, ...)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	char text[512], rest[256], answer[4097] = "";
	struct iovec iov = { .iov_base = text };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	va_list words;

	va_start(words, format);
	vsnprintf(rest, sizeof rest, format, words);
	va_end(words);
	iov.iov_len = snprintf(text, sizeof text, "{\"subchannel\": \"%s\", %s}", second, rest);
	if (descriptor >= 0) {
		memcpy(CMSG_DATA(&control.header), &descriptor, sizeof descriptor);
		message.msg_control = &control;
		message.msg_controllen = sizeof control;
	}
	if (sendmsg(irqfd, &message, 0) < 0 || recv(irqfd, answer, sizeof answer - 1, 0) <= 0)
		die("irqfd");
	if (!strncmp(answer, "{\"ok\": true", 11))
		return 0;
	errno = EINVAL;
	return -1;
}

static int mount_map(void)
{
	return say(backing, "\"map\": {\"iova\": 0, \"size\": %d, \"offset\": 0}", STORAGE);
}

static int mount_unmap(void)
{
	return say(-1, "\"unmap\": {\"iova\": 0, \"size\": %d}", STORAGE);
}

static int mount_open(void)
{
	if (irqfd < 0) {
		struct sockaddr_un address = { .sun_family = AF_UNIX };
		char path[512];

		snprintf(path, sizeof path, "%s/irqfd", first);
		irqfd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
		if (readlink(path, address.sun_path, sizeof address.sun_path - 1) < 0 ||
		    connect(irqfd, (struct sockaddr *)&address, sizeof address))
			die(path);
	}
	device = open(file("device"), O_RDWR);
	return device < 0 ? -1 : attach_all();
}

static int mount_irq(unsigned int index, const char *what)
{
	static const char *const names[] = { "io_irq", "crw_irq", "req_irq" };
	uint64_t one = 1;
	int fd, result;

	/* Older interfaces have no interrupt but the first. */
	if (access(file(names[index]), F_OK))
		return 0;
	if (!strcmp(what, "attach") || !strcmp(what, "detach"))
		return say(strcmp(what, "attach") ? -1 : event_of(index), "\"irq\": %u", index);
	if (!strcmp(what, "bool0"))
		return 0;
	fd = open(file(names[index]), O_WRONLY);
	result = write(fd, &one, sizeof one) < 0 ? -1 : 0;
	close(fd);
	return result;
}

static int mount_reset(void)
{
	int fd = open(file("reset"), O_WRONLY);
	int result = write(fd, "1", 1) < 0 ? -1 : 0;

	close(fd);
	return result;
}

static void take(const char *name, unsigned char *room, size_t size)
{
	int fd = open(file(name), O_RDONLY);

	memset(room, 0, size);
	if (fd < 0 || read(fd, room, size) <= 0)
		die(name);
	close(fd);
}

static void mount_info(void)
{
	unsigned char room[4096];
	struct vfio_device_info all;
	size_t at = 0;

	take("device_info", room, sizeof room);
	memcpy(&all, room, sizeof all);
	printf("device flags %x regions %u irqs %u\n", all.flags, all.num_regions, all.num_irqs);
	take("region_info", room, sizeof room);
	for (unsigned int i = 0; i < all.num_regions; i++) {
		struct vfio_region_info info;
		struct vfio_region_info_cap_type type = { .header.id = 0 };

		memcpy(&info, room + at, sizeof info);
		if (info.cap_offset)
			memcpy(&type, room + at + info.cap_offset, sizeof type);
		print_region(i, &info, &type);
		at += info.argsz;
	}
	take("irq_info", room, sizeof room);
	for (unsigned int i = 0; i < all.num_irqs; i++) {
		struct vfio_irq_info irq;

		memcpy(&irq, room + i * sizeof irq, sizeof irq);
		printf("irq %u index %u flags %x count %u\n", i, irq.index, irq.flags, irq.count);
	}
}

/* How often the subchannel was reset, as the file `state` says. */
static long resets(void)
{
	char text[8192] = "";
	char *found;

	take("state", (unsigned char *)text, sizeof text - 1);
	found = strstr(text, "\nresets:");
	return found ? strtol(found + strlen("\nresets:"), NULL, 10) : -1;
}

/* The kernel tells the mount of the last close after close(2) has returned. */
static void mount_close(void)
{
	long before = resets();

	close(device);
	while (resets() == before)
		usleep(1000);
}

static const struct end by_mount = {
	"mount", 2, mount_open, mount_reset, mount_map, mount_unmap, mount_irq, mount_info, mount_close,
};

/* --- requests --------------------------------------------------------------------------------- */

static const struct end *end;
static int accepted;	/* whether the last write was */
static int loose;	/* whether an eventfd was detached */

static int attach_all(void)
{
	loose = 0;
	for (unsigned int index = 0; index < IRQS; index++)
		if (end->irq(index, "attach") < 0)
			return -1;
	return 0;
}

/* DATA as bytes; their number. */
static size_t bytes(char *data, unsigned char *room)
{
	unsigned char *next = room;
	uint32_t number;

	while (*data) {
		if (*data == '=') {
			number = strtoul(data + 1, &data, 16);
			memcpy(next, &number, sizeof number);
			next += sizeof number;
		} else if (*data == '.') {
			data++;
		} else {
			if (sscanf(data, "%2hhx", next++) != 1)
				die(data);
			data += 2;
		}
	}
	return next - room;
}

static off_t at(unsigned int region, unsigned int offset)
{
	return ((off_t)region << SHIFT) + offset;
}

/* Bytes of a region; what is a number in this host's byte order, as a number. */
static void print_bytes(unsigned int region, unsigned int offset, const unsigned char *bytes, size_t length)
{
	while (length) {
		size_t size = region == CRW && offset < 4 ? 2 : 4;
		uint16_t half;
		uint32_t word;

		if ((region != CMD && region != CRW && (region != IO || offset != CODE)) || offset % size ||
		    length < size)
			size = 1;
		if (size == 4) {
			memcpy(&word, bytes, size);
			printf("%08x", word);
		} else if (size == 2) {
			memcpy(&half, bytes, size);
			printf("%04x", half);
		} else {
			printf("%02x", *bytes);
		}
		bytes += size;
		offset += size;
		length -= size;
	}
}

/* The return code of a region that has one. */
static void print_code(unsigned int region)
{
	int32_t code;

	if (pread(device, &code, sizeof code, at(region, region == IO ? CODE : 4)) != sizeof code)
		printf(" ret_code %s", strerrorname_np(errno));
	else if (code < 0 && strerrorname_np(-code))
		printf(" ret_code -%s", strerrorname_np(-code));
	else
		printf(" ret_code %d", code);
}

static void write_region(unsigned int region, unsigned int offset, char *data)
{
	static unsigned char room[4096];
	size_t length = bytes(data, room);
	ssize_t done = pwrite(device, room, length, at(region, offset));

	accepted = done >= 0;
	printf("write %s", outcome(done));
	if (region == IO || region == CMD)
		print_code(region);
	putchar('\n');
}

static void read_region(unsigned int region, unsigned int offset, unsigned int length)
{
	unsigned char room[1024];
	ssize_t got = pread(device, room, length, at(region, offset));

	printf("read %s ", outcome(got));
	print_bytes(region, offset, room, got > 0 ? got : 0);
	putchar('\n');
}

/* An ioctl of any shape, and the struct as it is then. */
static void call(unsigned int number, char *words)
{
	union {
		uint32_t words[64];
		struct vfio_device_info all;
		struct vfio_irq_info irq;
		struct {
			struct vfio_region_info info;
			struct vfio_region_info_cap_type type;
		} region;
	} room;
	int result;

	memset(&room, 0xee, sizeof room);
	for (size_t i = 0; *words; i++) {
		if (*words == '@') {
			room.words[i] = event;
			words++;
		} else {
			room.words[i] = strtoul(words, &words, 16);
		}
		words += strspn(words, " ");
	}
	result = ioctl(device, _IO(VFIO_TYPE, VFIO_BASE + number), &room);
	printf("ioctl %s", outcome(result));
	if (result < 0) {
		putchar('\n');
		return;
	}
	if (number == 7)
		printf(" argsz %u flags %x regions %u irqs %u behind %x", room.all.argsz, room.all.flags,
		       room.all.num_regions, room.all.num_irqs, room.all.cap_offset);
	if (number == 9)
		printf(" argsz %u index %u flags %x count %u behind %x", room.irq.argsz, room.irq.index,
		       room.irq.flags, room.irq.count, room.words[4]);
	if (number == 8) {
		printf(" argsz %u ", room.region.info.argsz);
		print_region(room.region.info.index, &room.region.info, &room.region.type);
	} else {
		putchar('\n');
	}
}

static unsigned long long counted(int fd, int milliseconds)
{
	struct pollfd poll_for = { .fd = fd, .events = POLLIN };
	uint64_t count = 0;

	if (poll(&poll_for, 1, milliseconds) == 1 && read(fd, &count, sizeof count) < 0)
		die("eventfd");
	return count;
}

static unsigned long long events(int milliseconds)
{
	return counted(event, milliseconds);
}

/* Reads IRBs until one ends the start function; shows that one without what may have come before. */
static void take_ending(void)
{
	unsigned char irb[IRB_SIZE] = { 0 };
	int ended = 0;

	while (!ended) {
		if (!events(WAIT_MS)) {
			puts("no event");
			return;
		}
		if (pread(device, irb, sizeof irb, at(IO, IRB)) != sizeof irb)
			die("IRB");
		ended = !(irb[3] & 0xe0);
	}
	irb[1] &= ~0x04;	/* zero condition code */
	irb[3] &= ~0x08;	/* intermediate status */
	irb[9] &= ~0x80;	/* program-controlled interruption */
	printf("events 0 irb ");
	print_hex(irb, sizeof irb);
	putchar('\n');
	events(QUIET_MS);
}

/* Clears what runs, and waits for the IRB of that, behind others that may have come before it. */
static void take_cleared(void)
{
	unsigned char irb[IRB_SIZE] = { 0 };
	char clear[] = "=2.=0";

	write_region(CMD, 0, clear);
	for (int wait = WAIT_MS; events(wait); wait = irb[2] & CLEAR_FUNCTION ? QUIET_MS : WAIT_MS)
		if (pread(device, irb, sizeof irb, at(IO, IRB)) != sizeof irb)
			die("IRB");
	printf("events 0 irb ");
	print_hex(irb, sizeof irb);
	putchar('\n');
}

/* Waits until the IRB has status, as who has no event must. */
static void poll_irb(void)
{
	unsigned char irb[IRB_SIZE] = { 0 };

	for (int left = WAIT_MS; left && !(irb[3] & 1); left--) {
		if (pread(device, irb, sizeof irb, at(IO, IRB)) != sizeof irb)
			die("IRB");
		usleep(irb[3] & 1 ? 0 : 1000);
	}
	printf("events 0 irb ");
	print_hex(irb, sizeof irb);
	putchar('\n');
}

/* Waits for a channel report: how many events told of it depends on who is faster. */
static void take_report(void)
{
	unsigned char crw[8];

	if (!counted(report_event, WAIT_MS)) {
		puts("no report");
		return;
	}
	printf("report %s ", outcome(pread(device, crw, sizeof crw, at(CRW, 0))));
	print_bytes(CRW, 0, crw, sizeof crw);
	putchar('\n');
}

/* Waits for the event and reads the IRB: whether it ends the start function, or none came. */
static int take_irb(void)
{
	unsigned char irb[IRB_SIZE];
	unsigned long long count = events(WAIT_MS);
	ssize_t got;

	if (!count) {
		puts("no event");
		return 1;
	}
	got = pread(device, irb, sizeof irb, at(IO, IRB));
	printf("events %llu irb ", count);
	if (got != sizeof irb) {
		puts(outcome(got));
		return 1;
	}
	print_hex(irb, sizeof irb);
	putchar('\n');
	/* Neither the subchannel nor the device is active, and it is not suspended. */
	return !(irb[3] & 0xe0);
}

static void begin_case(const char *name)
{
	unsigned char zero[IO_SIZE] = { 0 };
	uint32_t clear[2] = { CLEAR, 0 };

	printf("case %s\n", name);
	if (loose && attach_all() < 0)
		printf("not attached %s\n", strerrorname_np(errno));
	/* What the case before has left running ends, wherever it runs, and no SCSW remembers it. */
	if (end->reset() < 0)
		printf("reset %s\n", strerrorname_np(errno));
	events(0);
	if (pwrite(device, clear, sizeof clear, at(CMD, 0)) < 0) {
		/* Older interfaces have no cmd region. */
		if (errno != EINVAL)
			printf("not cleared %s\n", strerrorname_np(errno));
	} else if (!events(WAIT_MS) || pread(device, zero, IRB_SIZE, at(IO, IRB)) < 0 || end->reset() < 0) {
		printf("not cleared %s\n", strerrorname_np(errno));
	}
	memset(zero, 0, sizeof zero);
	/* Nothing but zeros: neither function nor return code. The command is refused. */
	if (pwrite(device, zero, IO_SIZE, at(IO, 0)) != IO_SIZE)
		printf("not zeroed %s\n", strerrorname_np(errno));
	pwrite(device, zero, sizeof clear, at(CMD, 0));
	memset(storage, 0, STORAGE);
	events(0);
	counted(report_event, 0);
}

static void run(char *line)
{
	char word[16] = "";
	unsigned int a = 0, b = 0, c = 0;
	int rest = 0;

	line[strcspn(line, "\n")] = 0;
	if (sscanf(line, "%15s %n", word, &rest) < 1)
		return;
	line += rest;
	if (!strcmp(word, "case")) {
		begin_case(line);
	} else if (!strcmp(word, "store") && sscanf(line, "%x %n", &a, &rest) == 1) {
		bytes(line + rest, storage + a);
	} else if (!strcmp(word, "load") && sscanf(line, "%x %x", &a, &b) == 2) {
		printf("storage ");
		print_hex(storage + a, b);
		putchar('\n');
	} else if (!strcmp(word, "write") && sscanf(line, "%x %x %n", &a, &b, &rest) == 2) {
		write_region(a, b, line + rest);
	} else if (!strcmp(word, "read") && sscanf(line, "%x %x %x", &a, &b, &c) == 3) {
		read_region(a, b, c);
	} else if (!strcmp(word, "event")) {
		printf("events %llu\n", events(WAIT_MS));
	} else if (!strcmp(word, "wait")) {
		take_irb();
	} else if (!strcmp(word, "final")) {
		while (accepted && !take_irb())
			;
	} else if (!strcmp(word, "ending")) {
		if (accepted)
			take_ending();
	} else if (!strcmp(word, "cleared")) {
		take_cleared();
	} else if (!strcmp(word, "race")) {
		printf("race ");
		run(line);
	} else if (!strcmp(word, "told")) {
		if (accepted)
			printf("events %llu\n", events(WAIT_MS));
	} else if (!strcmp(word, "poll")) {
		poll_irb();
	} else if (!strcmp(word, "report")) {
		take_report();
	} else if (!strcmp(word, "irq") && sscanf(line, "%x %n", &a, &rest) == 1) {
		loose |= !strcmp(line + rest, "detach");
		printf("irq %s\n", outcome(end->irq(a, line + rest)));
	} else if (!strcmp(word, "quiet")) {
		printf("events %llu\n", events(QUIET_MS));
	} else if (!strcmp(word, "reset")) {
		printf("reset %s\n", outcome(end->reset()));
	} else if (!strcmp(word, "reopen")) {
		end->close();
		printf("reopen %s\n", end->open() < 0 ? strerrorname_np(errno) : "0");
	} else if (!strcmp(word, "unmap")) {
		printf("unmap %s\n", outcome(end->unmap()));
	} else if (!strcmp(word, "map")) {
		printf("map %s\n", outcome(end->map()));
	} else if (!strcmp(word, "ioctl") && sscanf(line, "%x %n", &a, &rest) == 1) {
		call(a, line + rest);
	} else if (!strcmp(word, "info")) {
		end->info();
	} else if (!strcmp(word, "control") || !strcmp(word, "chp")) {
		printf("%s %s\n", word, line);
		fflush(stdout);
		while ((rest = getchar()) != '\n' && rest != EOF)
			;
	} else {
		errno = EINVAL;
		die(word);
	}
}

static const struct end *end_of(int argc, char **argv)
{
	static const struct end *const ends[] = { &by_container, &by_iommufd, &by_mount };

	for (size_t i = 0; argc > 1 && i < sizeof ends / sizeof *ends; i++)
		if (!strcmp(argv[1], ends[i]->name) && argc == ends[i]->operands + 3)
			return ends[i];
	fputs("usage: client container GROUP DEVICE SCRIPT | client iommufd NODE SCRIPT |"
	      " client mount MNT SUBCHANNEL SCRIPT\n", stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	struct utsname system;
	char *line = NULL;
	size_t room = 0;
	FILE *script;

	end = end_of(argc, argv);
	first = argv[2];
	second = argv[argc - 2];	/* what an error names */
	script = fopen(argv[argc - 1], "r");
	if (!script)
		die(argv[argc - 1]);
	event = eventfd(0, EFD_CLOEXEC);
	report_event = eventfd(0, EFD_CLOEXEC);
	/* A file, so that the mount sees what is written here. */
	backing = memfd_create("storage", MFD_CLOEXEC);
	if (event < 0 || report_event < 0 || backing < 0 || ftruncate(backing, STORAGE))
		die("storage");
	storage = mmap(NULL, STORAGE, PROT_READ | PROT_WRITE, MAP_SHARED, backing, 0);
	if (storage == MAP_FAILED || end->open() < 0 || end->map() < 0)
		die(second);
	uname(&system);
	printf("asked %s %s\n", end->name, system.release);
	while (getline(&line, &room, script) > 0) {
		run(line);
		fflush(stdout);
	}
	/* Before the next client comes. */
	end->close();
	return 0;
}
