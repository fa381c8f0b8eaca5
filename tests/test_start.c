/* What training starts from: files of single networks, and one file that holds them all. */
#include "tests/test.h"
#include "train/start.h"
#include "weights/pth_write.h"

#include <stdlib.h>
#include <string.h>

static const float heads[] = {1, 2}, key[] = {3, 4}, flow[] = {5, 6};
static const char *const names[] = {"weigting.w", "fea_key.model1", "flow.flownetc"};

static void say(void *own, const char *text)
{
	(void)own;
	(void)text;
}

static const char *write_file(const char *file, const char *prefix, size_t first, size_t n)
{
	static const float *const values[] = {heads, key, flow};
	struct kc_st_item items[3];
	const char *path = kc_test_path(file);
	char *full[3];

	for (size_t i = 0; i < n; i++) {
		full[i] = kc_format("%s%s", prefix, names[first + i]);
		items[i] = (struct kc_st_item){full[i], KC_ST_F32, 1, {2}, values[first + i]};
	}
	KC_CHECK_OK(kc_pth_save(path, items, n, NULL, 0));
	for (size_t i = 0; i < n; i++)
		free(full[i]);
	return path;
}

static struct kc_params *make_params(size_t n)
{
	const struct kc_param like = {.type = {.dtype = KC_REAL, .ndim = 1, .dim = {2}},
				      .kind = KC_PARAM_BIAS, .fan = 1, .stride = 1};
	struct kc_params *p = kc_params_new(KC_F32);

	for (size_t i = 0; i < n; i++)
		KC_CHECK(kc_params_get(p, names[i], &like) != NULL);
	KC_CHECK_OK(kc_params_alloc(p, false, false));
	return p;
}

static bool holds(const struct kc_params *p, const char *name, const float *x)
{
	return !memcmp(kc_param_master(kc_params_find(p, name)).data, x, 2 * sizeof *x);
}

/* TCVC's own file holds all networks: no other file is needed or looked at. */
static void test_whole(void)
{
	struct kc_config c = {.recipe = KC_RECIPE_TCVC};
	struct kc_params *p = make_params(3), *q = make_params(2);

	c.path.strict_load = true;
	c.path.pretrain_model = (char *)write_file("80000_G.pth", "module.", 0, 3);
	c.path.pretrain_key_net = c.path.pretrain_flow = (char *)kc_test_path("none.pth");
	if (KC_CHECK_OK(kc_start(&c, p, say, NULL)))
		KC_CHECK(holds(p, names[0], heads) && holds(p, names[1], key) &&
			 holds(p, names[2], flow));
	/* With optical flow from elsewhere the file's FlowNet 2.0 is passed over. */
	if (KC_CHECK_OK(kc_start(&c, q, say, NULL)))
		KC_CHECK(holds(q, names[0], heads) && holds(q, names[1], key));
	kc_params_free(p);
	kc_params_free(q);
}

/* A model file of this program lacks FlowNet 2.0, which comes from a file of TCVC. */
static void test_parts(void)
{
	struct kc_config c = {.recipe = KC_RECIPE_TCVC};
	struct kc_params *p = make_params(3);

	c.path.strict_load = true;
	c.path.pretrain_model = (char *)write_file("own.pth", "", 0, 2);
	c.path.pretrain_key_net = (char *)kc_test_path("none.pth");
	c.path.pretrain_flow = (char *)write_file("tcvc.pth", "", 0, 3);
	if (KC_CHECK_OK(kc_start(&c, p, say, NULL)))
		KC_CHECK(holds(p, names[0], heads) && holds(p, names[2], flow));
	c.path.pretrain_flow = (char *)kc_test_path("none.pth");
	KC_CHECK_ERR(kc_start(&c, p, say, NULL), KC_ENOENT, "FlowNet2: ");
	c.path.pretrain_model = (char *)write_file("key.pth", "", 1, 2);
	KC_CHECK_ERR(kc_start(&c, p, say, NULL), KC_EFORMAT, "start weights: ");
	KC_CHECK(strstr(kc_errmsg(), "missing: weigting.w") != NULL);
	kc_params_free(p);
}

/* The frozen keyframe network must see the mask that it was trained with. */
static void test_mask(void)
{
	static const struct kc_st_pair told = {"mask_cent", "0.5"};
	const struct kc_st_item item = {"model1", KC_ST_F32, 1, {2}, key};
	struct kc_config c = {.recipe = KC_RECIPE_TCVC};
	struct kc_params *p = make_params(2);

	KC_CHECK_OK(kc_pth_save(kc_test_path("key.pth"), &item, 1, &told, 1));
	c.path.strict_load = true;
	c.path.pretrain_key_net = (char *)kc_test_path("key.pth");
	KC_CHECK_ERR(kc_start(&c, p, say, NULL), KC_ECONFIG, "trained with mask_cent 0.5");
	c.network.key_net = KC_TCVC_ECCV16;     /* it has no mask, whatever its file says */
	KC_CHECK_OK(kc_start(&c, p, say, NULL));
	c.network.key_net = KC_TCVC_SIGGRAPH17;
	c.network.mask_cent = 0.5;
	if (KC_CHECK_OK(kc_start(&c, p, say, NULL)))
		KC_CHECK(holds(p, names[1], key));
	kc_params_free(p);
}

const struct kc_test kc_tests_start[] = {
	{"a file that holds all networks", test_whole},
	{"files of single networks", test_parts},
	{"a keyframe network that was trained with another mask", test_mask},
	{0}};
