#include "layers/devices.h"

#include "core/plan.h"
#include "core/plugin.h"
#include "layers/cpu/cpu.h"
#include "layers/layers.h"

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

/* Seconds of the fastest of some products of square matrices. */
static int time_product(struct kc_device *d, bool low, int64_t n, double *seconds)
{
	enum { RUNS = 6 };
	const struct kc_plan_opts opts = {.real = KC_F32, .low = low};
	struct kc_graph *g = kc_graph_new(&kc_layers);
	struct kc_plan *plan = NULL;
	struct kc_tensor *y;
	int rc;

	if (!g)
		return KC_ENOMEM;
	y = kc_matmul(g, kc_input(g, "a", KC_TYPE(KC_REAL, n, n)),
		      kc_input(g, "b", KC_TYPE(KC_REAL, n, n)));
	rc = kc_plan_build(&plan, g, d, &y, 1, &opts);
	*seconds = 1e9;
	for (int i = 0; !rc && i < RUNS; i++) {
		double start = kc_now();

		rc = kc_plan_run(plan);
		if (!rc && d->memory)
			rc = d->memory->wait(d);
		*seconds = KC_MIN(*seconds, kc_now() - start);
	}
	kc_plan_free(plan);
	kc_graph_free(g);
	return rc;
}

double kc_device_peak(struct kc_device *d, bool low)
{
	enum { SIDE = 8192 };
	double seconds;

	if (!d->memory)
		return kc_cpu_peak(low);
	if (time_product(d, low, SIDE, &seconds) < 0)
		return 0;
	return 2.0 * SIDE * SIDE * SIDE / seconds;
}
