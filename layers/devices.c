#include "layers/devices.h"

#include "core/plugin.h"
#include "layers/cpu/cpu.h"
#include "layers/layers.h"
#include "layers/ops.h"

#include <math.h>
#include <stdlib.h>

static int plugin(const struct kc_cuda_plugin **out)
{
	void *symbol;

	KC_TRY(kc_plugin_symbol("cuda", "kc_cuda_plugin", &symbol));
	*out = symbol;
	if ((*out)->build != kc_plugin_build())
		return KC_FAIL(KC_ENOSUP, "libkc_cuda.so is of another build than this program");
	return 0;
}

/* "cuda" and "cuda:3". */
static int cuda_index(const char *name)
{
	char *end = NULL;
	long n = 0;

	if (strncmp(name, "cuda", 4))
		return KC_FAIL(KC_EINVAL, "device %s: expected cpu, cuda or cuda:N", name);
	if (name[4] == ':' && name[5] >= '0' && name[5] <= '9')
		n = strtol(name + 5, &end, 10);
	if ((name[4] && (!end || *end)) || n > 1023)
		return KC_FAIL(KC_EINVAL, "device %s: expected cpu, cuda or cuda:N", name);
	return (int)n;
}

static int open_cuda(struct kc_device *d, const struct kc_device_choice *c)
{
	const struct kc_cuda_plugin *p;
	int index = cuda_index(c->name), threads = d->threads;

	KC_TRY(index);
	KC_TRY(plugin(&p));
	KC_TRY(p->open(d, index, c));
	d->threads = threads;
	return 0;
}

int kc_device_open(struct kc_device *d, const struct kc_device_choice *c)
{
	int rc;

	KC_TRY(kc_device_cpu(d, c->threads));
	if (!c->name || !strcmp(c->name, "cpu"))
		return 0;
	rc = open_cuda(d, c);
	return rc < 0 ? kc_cause(rc, "device %s", c->name) : 0;
}

const char *kc_device_describe(const struct kc_device *d)
{
	return d->about ? d->about : kc_cpu_describe();
}

char *kc_devices_list(void)
{
	const struct kc_cuda_plugin *p;
	char *cuda = plugin(&p) < 0 ? kc_format("cuda: none: %s\n", kc_errmsg()) : p->list();
	char *all = cuda ? kc_format("cpu: %s\n%s", kc_cpu_describe(), cuda) : NULL;

	free(cuda);
	return all;
}

/* ---- peak ---- */

/* A product of random square matrices, made by a row of the device itself: a plan would send its
 * inputs anew in every run. */
struct product {
	struct kc_buf in[2], out;
	struct kc_matmul_attr attr;
	struct kc_step_info info;
	const struct kc_kernel *kernel;
};

static size_t type_bytes(const struct kc_type *t)
{
	return (size_t)kc_numel(t) * kc_dtype_size((enum kc_dtype)t->dtype);
}

static int fill(struct kc_device *d, const struct kc_buf *b)
{
	size_t bytes = type_bytes(&b->type), n = bytes / sizeof(uint16_t);
	bool low = b->type.dtype == KC_BF16;
	uint16_t *host = kc_alloc(bytes);
	uint32_t x = 1;
	int rc;

	if (!host)
		return KC_ENOMEM;
	/* Signs, and magnitudes from 1/2 to 2: the upper halves of float32, the lower ones any. */
	for (size_t i = 0; i < n; i++) {
		x = x * 1664525 + 1013904223;
		host[i] = (uint16_t)(x >> 16);
		if (low || i % 2)
			host[i] = (uint16_t)((host[i] & 0x80ff) | 0x3f00);
	}
	rc = kc_device_put(d, b->data, host, bytes);
	if (!rc)
		rc = d->memory->wait(d);
	free(host);
	return rc;
}

static int make_buffer(struct kc_device *d, struct kc_buf *b, enum kc_dtype dtype, int64_t n)
{
	struct kc_type type = kc_type_of(dtype, 2, (const int64_t[]){n, n});
	void *data;

	KC_TRY(kc_device_alloc(d, type_bytes(&type), &data));
	*b = kc_buf_of(data, &type, KC_PLAIN);
	return 0;
}

static int open_product(struct product *p, struct kc_device *d, bool low, int64_t n)
{
	*p = (struct product){.info = {.op = &kc_op_matmul, .in = p->in, .out = &p->out,
				       .n_in = 2, .n_out = 1, .device = d}};
	p->info.attr = &p->attr;
	for (int i = 0; i < 2; i++) {
		KC_TRY(make_buffer(d, &p->in[i], low ? KC_BF16 : KC_F32, n));
		KC_TRY(fill(d, &p->in[i]));
	}
	KC_TRY(make_buffer(d, &p->out, KC_F32, n));
	for (int i = 0; d->kernels[i] && !p->kernel; i++)
		if (d->kernels[i]->op == p->info.op && d->kernels[i]->fits(&p->info))
			p->kernel = d->kernels[i];
	if (!p->kernel)
		return KC_FAIL(KC_ENOSUP, "no kernel for matrix products");
	return p->kernel->prepare ? p->kernel->prepare(&p->info) : 0;
}

static void close_product(struct product *p)
{
	struct kc_device *d = p->info.device;

	if (p->kernel && p->kernel->release)
		p->kernel->release(p->info.prepared);
	kc_device_free(d, p->in[0].data);
	kc_device_free(d, p->in[1].data);
	kc_device_free(d, p->out.data);
}

/* Seconds of one of several in a row. */
static int time_product(struct product *p, double *seconds)
{
	enum { RUNS = 8, ROUNDS = 3 };
	struct kc_device *d = p->info.device;
	const struct kc_call call = {.attr = &p->attr, .in = p->in, .out = &p->out, .n_in = 2,
				     .n_out = 1, .prepared = p->info.prepared, .device = d};

	*seconds = INFINITY;
	for (int round = 0; round < ROUNDS; round++) {
		double start = kc_now();

		for (int i = 0; i < RUNS; i++)
			KC_TRY(p->kernel->run(&call));
		KC_TRY(d->memory->wait(d));
		if (round)              /* the first loads what it needs */
			*seconds = KC_MIN(*seconds, (kc_now() - start) / RUNS);
	}
	return 0;
}

/* The larger the matrices, the faster, until one takes long enough to be timed. */
double kc_device_peak(struct kc_device *d, bool low)
{
	enum { SIDE = 128, MOST = 8192 };
	double seconds = 0, best = 0;

	if (!d->memory)
		return kc_cpu_peak(low);
	for (int64_t n = SIDE; n <= MOST && seconds < 5e-3; n *= 2) {
		struct product p;
		int rc = open_product(&p, d, low, n);

		if (!rc)
			rc = time_product(&p, &seconds);
		close_product(&p);
		if (rc < 0)
			break;
		best = KC_MAX(best, 2.0 * (double)(n * n * n) / seconds);
	}
	return best;
}
