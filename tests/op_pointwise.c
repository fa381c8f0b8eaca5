/* The pointwise operators among the cases: a row of numbers each. */
#include "tests/op_cases.h"

#define REAL(...) KC_TYPE(KC_REAL, __VA_ARGS__)
#define N (b->row->n)

enum kind {
	ANY,                            /* uniform */
	SIGNED,                         /* away from 0 */
	WHOLE                           /* integers */
};

static const struct pointwise {
	enum kc_pw pw;
	double p, q, low, high;
	enum kind kind;
} formulas[] = {
	[KC_PW_neg] = {KC_PW_neg, 0, 0, -2, 2, ANY},
	[KC_PW_affine] = {KC_PW_affine, 1.5, -0.5, -2, 2, ANY},
	[KC_PW_square] = {KC_PW_square, 0, 0, -2, 2, ANY},
	[KC_PW_recip] = {KC_PW_recip, 0, 0, 0.5, 2, SIGNED},
	[KC_PW_sqrt] = {KC_PW_sqrt, 0, 0, 0.2, 2, ANY},
	[KC_PW_rsqrt] = {KC_PW_rsqrt, 0, 0, 0.2, 2, ANY},
	[KC_PW_pow] = {KC_PW_pow, 2.4, 0, 0.2, 2, ANY},
	[KC_PW_exp] = {KC_PW_exp, 0, 0, -2, 2, ANY},
	[KC_PW_log] = {KC_PW_log, 0, 0, 0.2, 2, ANY},
	[KC_PW_abs] = {KC_PW_abs, 0, 0, 0.1, 2, SIGNED},
	[KC_PW_sign] = {KC_PW_sign, 0, 0, 0.1, 2, SIGNED},
	[KC_PW_clamp] = {KC_PW_clamp, -1, 1, -2, 2, ANY},
	[KC_PW_inside] = {KC_PW_inside, -1, 1, -2, 2, ANY},
	[KC_PW_step] = {KC_PW_step, 0.1, 0.3, -2, 2, ANY},
	[KC_PW_floor] = {KC_PW_floor, 0, 0, -4, 4, ANY},
	[KC_PW_round] = {KC_PW_round, 0, 0, -4, 4, ANY},
	[KC_PW_relu] = {KC_PW_relu, 0, 0, 0.1, 2, SIGNED},
	[KC_PW_leaky] = {KC_PW_leaky, 0.1, 0, 0.1, 2, SIGNED},
	[KC_PW_elu] = {KC_PW_elu, 1, 0, 0.1, 2, SIGNED},
	[KC_PW_elu_slope] = {KC_PW_elu_slope, 1, 0, 0.1, 0.9, SIGNED},
	[KC_PW_sigmoid] = {KC_PW_sigmoid, 0, 0, -4, 4, ANY},
	[KC_PW_tanh] = {KC_PW_tanh, 0, 0, -2, 2, ANY},
	[KC_PW_softplus] = {KC_PW_softplus, 0, 0, -4, 4, ANY},
	[KC_PW_add] = {KC_PW_add, 0, 0, -2, 2, ANY},
	[KC_PW_sub] = {KC_PW_sub, 0, 0, -2, 2, ANY},
	[KC_PW_mul] = {KC_PW_mul, 0, 0, -2, 2, ANY},
	[KC_PW_div] = {KC_PW_div, 0, 0, 0.5, 2, SIGNED},
	[KC_PW_min] = {KC_PW_min, 0, 0, -2, 2, ANY},
	[KC_PW_max] = {KC_PW_max, 0, 0, -2, 2, ANY},
	[KC_PW_above] = {KC_PW_above, 0.5, 0, 0, 3, WHOLE},
	[KC_PW_equal] = {KC_PW_equal, 0, 0, 0, 3, WHOLE},
	[KC_PW_fma] = {KC_PW_fma, 0, 0, -2, 2, ANY},
	[KC_PW_blend] = {KC_PW_blend, 0, 0, -2, 2, ANY},
	[KC_PW_select] = {KC_PW_select, 0, 0, -2, 2, ANY},
};

static struct kc_tensor *argument(struct op_build *b, const struct pointwise *f, int i)
{
	struct kc_type t = REAL(2, 17, 3, 5);

	if (f->kind == WHOLE || (f->pw == KC_PW_select && !i))
		return op_integers(b, f->kind == WHOLE ? (int)f->high : 2, t);
	if (f->kind == SIGNED)
		return op_signed(b, f->low, f->high, t);
	return op_real(b, f->low, f->high, t);
}

static void pointwise(struct op_build *b)
{
	const struct pointwise *f = &formulas[N[0]];
	struct kc_tensor *x[3];

	KC_ASSERT((int)f->pw == N[0]);
	for (int i = 0; i < kc_pw_ops[f->pw].n_in_min; i++)
		x[i] = argument(b, f, i);
	switch (kc_pw_ops[f->pw].n_in_min) {
	case 1: op_give(b, kc_pw1(b->g, f->pw, f->p, f->q, x[0])); break;
	case 2: op_give(b, kc_pw2(b->g, f->pw, f->p, f->q, x[0], x[1])); break;
	default: op_give(b, kc_pw3(b->g, f->pw, f->p, f->q, x[0], x[1], x[2]));
	}
}

/* A chain with repeated inputs and a value that is used twice. */
static void chain(struct op_build *b)
{
	struct kc_tensor *x = op_real(b, -1, 1, REAL(2, 5, 3, 7));
	struct kc_tensor *scale = op_real(b, 0.5, 1, REAL(5, 1, 1)), *map = op_real(b, -1, 1,
										   REAL(2, 1, 3,
											7));
	struct kc_tensor *y = kc_add(b->g, kc_mul(b->g, x, scale), map);

	y = kc_mul(b->g, kc_sigmoid(b->g, y), kc_tanh(b->g, y));
	op_give(b, kc_sub(b->g, kc_exp(b->g, y), kc_square(b->g, x)));
	op_give(b, y);
}

const struct op_row op_pointwise_rows[] = {
#define KC_PW1(name_, ...) {#name_, "", pointwise, {KC_PW_##name_}, 0},
#define KC_PW2(name_, ...) {#name_, "", pointwise, {KC_PW_##name_}, 0},
#define KC_PW3(name_, ...) {#name_, "", pointwise, {KC_PW_##name_}, 0},
#include "layers/pointwise.def"
#undef KC_PW1
#undef KC_PW2
#undef KC_PW3
	{"add", "chain", chain, {0}, 0}, {0}};
