#include "layers/cuda/nccl.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

/* Of nccl.h, whose numbers and layouts are part of the library's binary interface. */
typedef struct ncclComm *comm_t;
enum { SUCCESS = 0, IN_PROGRESS = 7, TYPE_FLOAT32 = 7, OP_SUM = 0 };

struct kc_nccl { comm_t comm; };

/* name, result is int unless said, arguments */
#define FUNCTIONS(X) \
	X(GetVersion, int, (int *)) \
	X(GetUniqueId, int, (struct kc_nccl_id *)) \
	X(CommInitRank, int, (comm_t *, int, struct kc_nccl_id, int)) \
	X(CommDestroy, int, (comm_t)) \
	X(CommAbort, int, (comm_t)) \
	X(CommGetAsyncError, int, (comm_t, int *)) \
	X(AllReduce, int, (const void *, void *, size_t, int, int, comm_t, void *)) \
	X(GetErrorString, const char *, (int)) \
	X(GetLastError, const char *, (comm_t))

static struct {
	void *library;
#define X(name, result, arguments) result (*name) arguments;
	FUNCTIONS(X)
#undef X
} nccl;

/* A pointer to a function from one to an object, as dlsym's manual has it. */
static int find(void *function, const char *name)
{
	void *at = dlsym(nccl.library, name);

	if (!at)
		return KC_FAIL(KC_ENOSUP, "libnccl.so.2 has no %s", name);
	*(void **)function = at;
	return 0;
}

static int find_all(void)
{
#define X(name, result, arguments) KC_TRY(find(&nccl.name, "nccl" #name));
	FUNCTIONS(X)
#undef X
	return 0;
}

static int load(void)
{
	int rc;

	if (nccl.library)
		return 0;
	nccl.library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
	if (!nccl.library)
		return KC_FAIL(KC_ENOSUP, "training on several GPUs needs NCCL: %s", dlerror());
	rc = find_all();
	if (rc < 0) {
		dlclose(nccl.library);
		nccl.library = NULL;
	}
	return rc;
}

static int check(int status, comm_t comm, const char *what)
{
	const char *more;

	if (status == SUCCESS)
		return 0;
	more = nccl.GetLastError(comm);
	return KC_FAIL(KC_EBACKEND, "nccl: %s: %s%s%s", what, nccl.GetErrorString(status),
		       more && *more ? ": " : "", more ? more : "");
}

int kc_nccl_version(char *text, size_t size)
{
	int v = 0;

	KC_TRY(load());
	KC_TRY(check(nccl.GetVersion(&v), NULL, "version"));
	snprintf(text, size, "NCCL %d.%d.%d", v / 10000, v / 100 % 100, v % 100);
	return 0;
}

int kc_nccl_id_make(struct kc_nccl_id *id)
{
	KC_TRY(load());
	return check(nccl.GetUniqueId(id), NULL, "address of the first rank");
}

int kc_nccl_open(struct kc_nccl **out, const struct kc_nccl_id *id, int rank, int ranks)
{
	struct kc_nccl *c;
	int rc;

	KC_TRY(load());
	c = kc_calloc(1, sizeof *c);
	if (!c)
		return KC_ENOMEM;
	rc = check(nccl.CommInitRank(&c->comm, ranks, *id, rank), NULL, "meeting of the ranks");
	if (rc < 0) {
		free(c);
		return rc;
	}
	*out = c;
	return 0;
}

void kc_nccl_close(struct kc_nccl *c)
{
	if (c)
		nccl.CommDestroy(c->comm);
	free(c);
}

void kc_nccl_abort(struct kc_nccl *c)
{
	if (c)
		nccl.CommAbort(c->comm);
	free(c);
}

int kc_nccl_sum(struct kc_nccl *c, float *data, size_t n, void *stream)
{
	return check(nccl.AllReduce(data, data, n, TYPE_FLOAT32, OP_SUM, c->comm, stream), c->comm,
		     "sum over the ranks");
}

int kc_nccl_check(struct kc_nccl *c)
{
	int status = SUCCESS;

	KC_TRY(check(nccl.CommGetAsyncError(c->comm, &status), c->comm, "state"));
	return status == IN_PROGRESS ? 0 : check(status, c->comm, "another rank or the network");
}
