/*
 * Preloaded together with libfaketime, in front of it: the times of files stay those of the kernel. libfaketime also moves what
 * utimensat(2) and its kin set, by the difference of the clocks, so that files which are given a time of their own (by
 * patch, cp -p or tar) would get another one: such a package would look as if it depended on the time.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

static int set(int folder, const char *path, const struct timespec *times, int flags)
{
	return (int)syscall(SYS_utimensat, folder, path, times, flags);
}

static int set_in_microseconds(int folder, const char *path, const struct timeval *times, int flags)
{
	if (!times)
		return set(folder, path, NULL, flags);
	struct timespec precise[2] = {
		{ times[0].tv_sec, times[0].tv_usec * 1000 },
		{ times[1].tv_sec, times[1].tv_usec * 1000 },
	};
	return set(folder, path, precise, flags);
}

int utimensat(int folder, const char *path, const struct timespec times[2], int flags)
{
	return set(folder, path, times, flags);
}

int futimens(int file, const struct timespec times[2])
{
	return set(file, NULL, times, 0);
}

int futimes(int file, const struct timeval times[2])
{
	return set_in_microseconds(file, NULL, times, 0);
}

int utimes(const char *path, const struct timeval times[2])
{
	return set_in_microseconds(AT_FDCWD, path, times, 0);
}

int lutimes(const char *path, const struct timeval times[2])
{
	return set_in_microseconds(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW);
}

int utime(const char *path, const struct utimbuf *times)
{
	if (!times)
		return set(AT_FDCWD, path, NULL, 0);
	struct timespec precise[2] = { { times->actime, 0 }, { times->modtime, 0 } };
	return set(AT_FDCWD, path, precise, 0);
}
