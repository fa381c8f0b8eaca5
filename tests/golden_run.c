#include "tests/golden_run.h"

#include "layers/cpu/cpu.h"
#include "layers/devices.h"

#include <string.h>

static struct kc_buf dense(double *data, const struct kc_type *like)
{
	struct kc_type t = *like;

	t.dtype = KC_F64;
	return kc_buf_of(data, &t, KC_PLAIN);
}

int test_feed_all(struct kc_plan *plan, const struct test_feed *feed, int n_feed)
{
	for (int i = 0; i < n_feed; i++) {
		struct kc_buf b = dense(feed[i].data, &feed[i].input->type);

		KC_TRY(kc_plan_feed(plan, feed[i].input, &b));
	}
	return 0;
}

int test_read(struct kc_plan *plan, const struct kc_tensor *t, double *out)
{
	struct kc_buf b = dense(out, &t->type);

	return kc_plan_read(plan, t, &b);
}

int test_run(struct kc_graph *g, struct kc_device *device, const struct kc_plan_opts *opts,
	     const struct test_feed *feed, int n_feed, struct kc_tensor *const *fetch, int n,
		     double **out)
{
	struct kc_plan *plan = NULL;
	int rc = kc_plan_build(&plan, g, device, fetch, n, opts);

	if (!rc)
		rc = test_feed_all(plan, feed, n_feed);
	if (!rc)
		rc = kc_plan_run(plan);
	for (int i = 0; !rc && i < n; i++)
		rc = test_read(plan, fetch[i], out[i]);
	kc_plan_free(plan);
	return rc;
}

int test_device(const char *name, struct kc_device *device)
{
	if (!strcmp(name, "reference"))
		kc_device_reference(device);
	else if (!strcmp(name, "cpu"))
		return kc_device_cpu(device, 0);
	else if (!strncmp(name, "cuda", 4))
		return kc_device_open(device, &(struct kc_device_choice){.name = name});
	else
		return KC_FAIL(KC_ENOENT, "no device \"%s\" (reference, cpu, cuda:N)", name);
	return 0;
}
