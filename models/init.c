#include "models/init.h"

#include "core/hash.h"
#include "core/random.h"

#include <math.h>

static struct kc_random stream_of(const struct kc_param *p, uint64_t seed)
{
	struct kc_random r;

	kc_random_init(&r, seed, KC_STREAM_INIT, kc_hash64(p->name, strlen(p->name), 0), 0);
	return r;
}

static int write_constant(struct kc_param *p, double value)
{
	struct kc_buf b = kc_param_master(p);

	for (int64_t i = 0; i < kc_numel(&p->type); i++)
		kc_put(&b, i, value);
	return 0;
}

static int write_uniform(struct kc_param *p, uint64_t seed, double bound)
{
	struct kc_random r = stream_of(p, seed);
	struct kc_buf b = kc_param_master(p);

	for (int64_t i = 0; i < kc_numel(&p->type); i++)
		kc_put(&b, i, bound * (2 * kc_random_unit(&r) - 1));
	return 0;
}

static int write_normal(struct kc_param *p, uint64_t seed, double mean, double deviation)
{
	struct kc_random r = stream_of(p, seed);
	struct kc_buf b = kc_param_master(p);

	for (int64_t i = 0; i < kc_numel(&p->type); i++)
		kc_put(&b, i, mean + deviation * kc_random_normal(&r));
	return 0;
}

/* A direction drawn at random. */
static int write_unit(struct kc_param *p, uint64_t seed)
{
	struct kc_random r = stream_of(p, seed);
	struct kc_buf b = kc_param_master(p);
	int64_t n = kc_numel(&p->type);
	double squares = 0;

	for (int64_t i = 0; i < n; i++) {
		kc_put(&b, i, kc_random_normal(&r));
		squares += kc_get(&b, i) * kc_get(&b, i);
	}
	for (int64_t i = 0; i < n; i++)
		kc_put(&b, i, kc_get(&b, i) / sqrt(squares));
	return 0;
}

/* Product of all dimensions but the first: what PyTorch calls the fan in of a weight. */
static double weight_fan(const struct kc_param *p)
{
	return (double)(kc_numel(&p->type) / p->type.dim[0]);
}

int kc_init_default(struct kc_param *p, const struct kc_init *init)
{
	switch (p->kind) {
	case KC_PARAM_CONV:
	case KC_PARAM_DECONV:
	case KC_PARAM_LINEAR:
		return write_uniform(p, init->seed, 1 / sqrt(weight_fan(p)));
	case KC_PARAM_BIAS:
		return write_uniform(p, init->seed, 1 / sqrt((double)KC_MAX(p->fan, 1)));
	case KC_PARAM_NORM_WEIGHT:
	case KC_PARAM_NORM_VAR:
		return write_constant(p, 1);
	case KC_PARAM_UNIT:
		return write_unit(p, init->seed);
	default:
		return write_constant(p, 0);
	}
}

int kc_init_normal(struct kc_param *p, const struct kc_init *init)
{
	switch (p->kind) {
	case KC_PARAM_CONV:
	case KC_PARAM_DECONV:
	case KC_PARAM_LINEAR:
		return write_normal(p, init->seed, 0, 0.02);
	case KC_PARAM_NORM_WEIGHT:
		return write_normal(p, init->seed, 1, 0.02);
	case KC_PARAM_NORM_VAR:
		return write_constant(p, 1);
	case KC_PARAM_UNIT:
		return write_unit(p, init->seed);
	default:
		return write_constant(p, 0);
	}
}

int kc_init_he(struct kc_param *p, const struct kc_init *init)
{
	switch (p->kind) {
	case KC_PARAM_CONV:
	case KC_PARAM_DECONV:
	case KC_PARAM_LINEAR:
		return write_normal(p, init->seed, 0, sqrt(2 / (double)KC_MAX(p->fan, 1)));
	case KC_PARAM_BIAS:
		return write_constant(p, 0);
	default:
		return kc_init_default(p, init);
	}
}

int kc_params_init(struct kc_params *s, const struct kc_init *init)
{
	for (size_t i = 0; i < s->n; i++) {
		int rc = init->write(s->v[i], init);

		if (rc < 0)
			return kc_cause(rc, "initial value of %s", s->v[i]->name);
		kc_param_changed(s->v[i]);
	}
	return 0;
}
