/*
 * Preloaded into the programs of a build, to find out whether what they make depends on the order in which a file system
 * lists a folder: every folder is listed in the reverse of that order. POSIX leaves the order open (readdir(3)).
 *
 * Reached are programs that call readdir() or readdir64() of the C library. Not reached: programs without it, and the C library's own
 * scandir(), glob() and nftw(), most of whose callers have them sort what they find.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* struct dirent and struct dirent64 are the same where a file offset has 64 bits. */
_Static_assert(sizeof(struct dirent) == sizeof(struct dirent64), "only for machines with 64 bits");

/* What is left of an open folder. Entries stay where they are until the folder is closed or rewound. */
struct listing {
	DIR *folder;
	struct dirent64 **entries;
	size_t count, at;
	struct listing *next;
};

static struct listing *open_listings;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *next(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

static void forget(DIR *folder)
{
	struct listing **at = &open_listings;

	while (*at && (*at)->folder != folder)
		at = &(*at)->next;
	if (!*at)
		return;
	struct listing *listing = *at;
	*at = listing->next;
	for (size_t i = 0; i < listing->count; i++)
		free(listing->entries[i]);
	free(listing->entries);
	free(listing);
}

/* Reads a folder to its end. NULL, and errno, if it cannot be read. */
static struct listing *listing_of(DIR *folder)
{
	for (struct listing *known = open_listings; known; known = known->next)
		if (known->folder == folder)
			return known;

	struct dirent64 *(*real)(DIR *) = next("readdir64");
	struct listing *listing = calloc(1, sizeof *listing);
	if (!listing)
		return NULL;
	listing->folder = folder;
	listing->next = open_listings;
	open_listings = listing;
	for (;;) {
		errno = 0;
		struct dirent64 *entry = real(folder);
		if (!entry)
			break;
		void *more = realloc(listing->entries, (listing->count + 1) * sizeof *listing->entries);
		/* Whole, since a caller may copy it as a structure. */
		struct dirent64 *copy = calloc(1, entry->d_reclen > sizeof *copy ? entry->d_reclen : sizeof *copy);
		if (more)
			listing->entries = more;
		if (!more || !copy) {
			free(copy);
			errno = ENOMEM;
			break;
		}
		memcpy(copy, entry, entry->d_reclen);
		listing->entries[listing->count++] = copy;
	}
	if (errno) {
		int error = errno;
		forget(folder);
		errno = error;
		return NULL;
	}
	return listing;
}

struct dirent64 *readdir64(DIR *folder)
{
	struct dirent64 *entry = NULL;
	int before = errno;

	pthread_mutex_lock(&lock);
	struct listing *listing = listing_of(folder);
	if (listing) {
		errno = before;
		if (listing->at < listing->count)
			entry = listing->entries[listing->count - ++listing->at];
	}
	pthread_mutex_unlock(&lock);
	return entry;
}

struct dirent *readdir(DIR *folder)
{
	return (struct dirent *)readdir64(folder);
}

long telldir(DIR *folder)
{
	pthread_mutex_lock(&lock);
	struct listing *listing = listing_of(folder);
	long at = listing ? (long)listing->at : -1;
	pthread_mutex_unlock(&lock);
	return at;
}

void seekdir(DIR *folder, long at)
{
	pthread_mutex_lock(&lock);
	struct listing *listing = listing_of(folder);
	if (listing && at >= 0)
		listing->at = (size_t)at;
	pthread_mutex_unlock(&lock);
}

void rewinddir(DIR *folder)
{
	void (*real)(DIR *) = next("rewinddir");

	pthread_mutex_lock(&lock);
	forget(folder);
	pthread_mutex_unlock(&lock);
	real(folder);
}

int closedir(DIR *folder)
{
	int (*real)(DIR *) = next("closedir");

	pthread_mutex_lock(&lock);
	forget(folder);
	pthread_mutex_unlock(&lock);
	return real(folder);
}
