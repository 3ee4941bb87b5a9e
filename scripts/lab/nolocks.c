/*
 * nolocks: the files of a directory a second time, on a file system that has no locks: fcntl(2)
 * gives ENOLCK, as NFS does without its lock manager.
 *
 *   nolocks DIRECTORY MNT      stays in the foreground; ends when MNT is unmounted
 */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int directory;

static const char *name_of(const char *path)
{
	return path[1] ? path + 1 : ".";
}

static int answer(ssize_t result)
{
	return result < 0 ? -errno : (int)result;
}

static int no_getattr(const char *path, struct stat *status, struct fuse_file_info *info)
{
	(void)info;
	return answer(fstatat(directory, name_of(path), status, AT_SYMLINK_NOFOLLOW));
}

static int no_open(const char *path, struct fuse_file_info *info)
{
	int fd = openat(directory, name_of(path), info->flags & O_ACCMODE);

	if (fd < 0)
		return -errno;
	info->fh = (uint64_t)fd;
	return 0;
}

static int no_release(const char *path, struct fuse_file_info *info)
{
	(void)path;
	return answer(close((int)info->fh));
}

static int no_read(const char *path, char *data, size_t size, off_t offset,
		   struct fuse_file_info *info)
{
	(void)path;
	return answer(pread((int)info->fh, data, size, offset));
}

static int no_write(const char *path, const char *data, size_t size, off_t offset,
		    struct fuse_file_info *info)
{
	(void)path;
	return answer(pwrite((int)info->fh, data, size, offset));
}

static int no_lock(const char *path, struct fuse_file_info *info, int command, struct flock *lock)
{
	(void)path, (void)info, (void)command, (void)lock;
	return -ENOLCK;
}

static const struct fuse_operations operations = {
	.getattr = no_getattr,
	.open = no_open,
	.release = no_release,
	.read = no_read,
	.write = no_write,
	.lock = no_lock,
};

int main(int argc, char **argv)
{
	char *words[] = { argv[0], "-f", "-s", "-o", "fsname=nolocks", argc == 3 ? argv[2] : NULL, NULL };

	if (argc != 3 || (directory = open(argv[1], O_PATH | O_DIRECTORY)) < 0) {
		fprintf(stderr, "nolocks DIRECTORY MNT\n");
		return 2;
	}
	return fuse_main(6, words, &operations, NULL);
}
