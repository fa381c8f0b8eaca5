#include "tests/gpu_ranks.h"

#include "core/plan.h"
#include "layers/devices.h"
#include "layers/layers.h"
#include "layers/ranks.h"

#include <math.h>
#include <stdlib.h>

enum { N = 1 << 20, ARRAYS = 2, RUNS = 6 };     /* two runs set up, two are recorded */

struct means {
	struct kc_device device;
	struct kc_graph *g;
	struct kc_plan *plan;
	struct kc_tensor *in[ARRAYS], *out[ARRAYS];
	float *numbers;
};

static double value(int rank, int run, int array, int i)
{
	return (double)((i * 31 + 17 * rank + 5 * run + 3 * array) % 101) / 64;
}

static int build(struct means *m, struct kc_ranks *r, const char *device)
{
	const int size = r->size;
	struct kc_tensor *mean[ARRAYS];

	KC_TRY(kc_device_open(&m->device, &(struct kc_device_choice){.name = device}));
	m->g = kc_graph_new(&kc_layers);
	m->numbers = kc_alloc(N * sizeof *m->numbers);
	if (!m->g || !m->numbers)
		return KC_ENOMEM;
	for (int k = 0; k < ARRAYS; k++) {
		m->in[k] = kc_input(m->g, k ? "b" : "a", KC_TYPE(KC_REAL, N));
		mean[k] = kc_scale(m->g, m->in[k], k + 1);
	}
	r->size = KC_MAX(size, 2);      /* a graph for one rank would have no means */
	kc_mean_over_ranks(m->g, r, mean, ARRAYS);
	r->size = size;
	for (int k = 0; k < ARRAYS; k++)
		m->out[k] = kc_scale(m->g, mean[k], 2);
	return kc_plan_build(&m->plan, m->g, &m->device, m->out, ARRAYS,
			     &(struct kc_plan_opts){.ranks = r});
}

static int feed(struct means *m, int rank, int run)
{
	for (int k = 0; k < ARRAYS; k++) {
		struct kc_buf slot;

		KC_TRY(kc_plan_slot(m->plan, m->in[k], &slot));
		for (int i = 0; i < N; i++)
			((float *)slot.data)[i] = (float)value(rank, run, k, i);
	}
	return 0;
}

static int compare(struct means *m, int size, int run)
{
	for (int k = 0; k < ARRAYS; k++) {
		struct kc_buf to = kc_buf_of(m->numbers, &m->out[k]->type, KC_PLAIN);

		KC_TRY(kc_plan_read(m->plan, m->out[k], &to));
		for (int i = 0; i < N; i++) {
			double want = 0;

			for (int rank = 0; rank < size; rank++)
				want += 2 * (k + 1) * value(rank, run, k, i) / size;
			if (!(fabs(m->numbers[i] - want) <= 1e-5))
				return KC_FAIL(KC_ENUMERIC,
					       "run %d, array %d, element %d: %g, expected %g", run,
					       k, i, (double)m->numbers[i], want);
		}
	}
	return 0;
}

static int run_all(struct means *m, struct kc_ranks *r)
{
	for (int run = 0; run < RUNS; run++) {
		KC_TRY(feed(m, r->rank, run));
		KC_TRY(kc_plan_run(m->plan));
		KC_TRY(compare(m, r->size, run));
	}
	if (m->device.unrecorded)
		return KC_FAIL(KC_EBACKEND, "not recorded: %s", m->device.unrecorded);
	return 0;
}

int ranks_check(struct kc_ranks *r, const char *device)
{
	struct means m = {0};
	int rc = build(&m, r, device);

	if (!rc)
		rc = run_all(&m, r);
	kc_plan_free(m.plan);
	kc_graph_free(m.g);
	kc_device_release(&m.device);
	free(m.numbers);
	return rc;
}
