/*
 * NCCL for emulated devices (layers/cuda/nccl.h): processes of one machine, which meet in shared
 * memory and add in the order of the ranks.
 */
#include "layers/cuda/nccl.h"

#include "tests/emulator/emulator.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST_RANKS = 4, ROOM = 1 << 16 };        /* elements that travel at once */

struct shared {
	atomic_int arrived, lost;
	atomic_uint round;
	float part[MOST_RANKS][ROOM];
};

struct kc_nccl {
	struct shared *shared;
	int rank, ranks, fd;
	char name[KC_NCCL_ID];
};

/* What a script says of it (tests/emulator/emulator.h). */
static const char *kind(void)
{
	const char *text = getenv("KC_EMULATED_NCCL");

	return text && *text && strcmp(text, "broken") ? text : "emulated NCCL";
}

int kc_nccl_id_make(struct kc_nccl_id *id)
{
	static int made;

	memset(id, 0, sizeof *id);
	snprintf(id->bytes, sizeof id->bytes, "/kc-emulated-nccl-%d-%d", (int)getpid(), made++);
	return 0;
}

int kc_nccl_version(char *text, size_t size)
{
	if (!strcmp(kind(), "none"))
		return KC_FAIL(KC_ENOSUP, "training on several GPUs needs NCCL");
	snprintf(text, size, "%s", kind());
	return 0;
}

/* Each rank keeps a lock on one byte of the file, which only its end takes away. */
static int lock(int fd, int rank, int command)
{
	struct flock f = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = rank, .l_len = 1};

	KC_ASSERT(fcntl(fd, command, &f) == 0);
	return f.l_type;
}

static bool is_dead(struct kc_nccl *c)
{
	for (int r = 0; r < c->ranks; r++)
		if (r != c->rank && lock(c->fd, r, F_OFD_GETLK) == F_UNLCK)
			return true;
	return false;
}

/* Everybody, or false when one is lost; all of them are there when `met`. */
static bool barrier(struct kc_nccl *c, bool met)
{
	unsigned round = atomic_load(&c->shared->round);

	if (atomic_fetch_add(&c->shared->arrived, 1) == c->ranks - 1) {
		atomic_store(&c->shared->arrived, 0);
		atomic_fetch_add(&c->shared->round, 1);
		return true;
	}
	while (atomic_load(&c->shared->round) == round) {
		if (met && is_dead(c))
			atomic_store(&c->shared->lost, 1);
		if (atomic_load(&c->shared->lost))
			return false;
		sched_yield();
	}
	return true;
}

int kc_nccl_open(struct kc_nccl **out, const struct kc_nccl_id *id, int rank, int ranks)
{
	struct kc_nccl *c = kc_calloc(1, sizeof *c);
	const char *kill = getenv("KC_EMULATED_KILL"), *script = getenv("KC_EMULATED_NCCL");
	int fd;

	KC_ASSERT(c && ranks <= MOST_RANKS);
	if (kill && !strcmp(kill, "0"))
		raise(SIGKILL);
	if (script && !strcmp(script, "broken")) {
		free(c);
		return KC_FAIL(KC_EBACKEND, "nccl: no such interface");
	}
	*c = (struct kc_nccl){.rank = rank, .ranks = ranks};
	snprintf(c->name, sizeof c->name, "%s", id->bytes);
	fd = shm_open(c->name, O_RDWR | O_CREAT, 0600);
	KC_ASSERT(fd >= 0 && ftruncate(fd, sizeof *c->shared) == 0);
	c->shared = mmap(NULL, sizeof *c->shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	KC_ASSERT(c->shared != MAP_FAILED);
	c->fd = fd;
	lock(fd, rank, F_OFD_SETLK);
	barrier(c, false);
	shm_unlink(c->name);
	*out = c;
	return 0;
}

void kc_nccl_close(struct kc_nccl *c)
{
	if (c) {
		munmap(c->shared, sizeof *c->shared);
		close(c->fd);
	}
	emu_foreign_over();
	free(c);
}

void kc_nccl_abort(struct kc_nccl *c)
{
	if (c)
		atomic_store(&c->shared->lost, 1);
	kc_nccl_close(c);
}

struct sum { struct kc_nccl *c; float *data; size_t n; };

static void add_up(const void *argument)
{
	const struct sum *s = argument;
	struct kc_nccl *c = s->c;

	for (size_t first = 0; first < s->n; first += ROOM) {
		size_t n = KC_MIN((size_t)ROOM, s->n - first);

		memcpy(c->shared->part[c->rank], s->data + first, n * sizeof(float));
		if (!barrier(c, true))
			return;
		for (size_t i = 0; i < n; i++) {
			float sum = 0;

			for (int r = 0; r < c->ranks; r++)
				sum += c->shared->part[r][i];
			s->data[first + i] = sum;
		}
		if (!barrier(c, true))
			return;
	}
}

int kc_nccl_sum(struct kc_nccl *c, float *data, size_t n, void *stream)
{
	struct sum s = {c, data, n};

	emu_touch(stream, data, n * sizeof *data, 1, "NCCL");
	if (emu_call(add_up, &s, sizeof s, stream))
		return KC_FAIL(KC_EBACKEND, "emulated NCCL");
	emu_foreign(stream);
	return 0;
}

int kc_nccl_check(struct kc_nccl *c)
{
	return atomic_load(&c->shared->lost) ? KC_FAIL(KC_EBACKEND, "nccl: another rank is lost")
					     : 0;
}
