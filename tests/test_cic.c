/* Training on colours as classes: eccv16 alone, as TCVC's keyframe network, and class losses. */
#include "core/file.h"
#include "eval/model.h"
#include "layers/cpu/cpu.h"
#include "losses/classes.h"
#include "losses/metrics.h"
#include "tests/clips.h"
#include "tests/colours.h"
#include "tests/runs.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SET(...) ((const char *const[]){__VA_ARGS__, NULL})

enum { COLOURS = KC_TEST_COLOURS, SIDE = 32 };

#define CIC "model=cic", "network_G.which_model_G=eccv16", "network_G.init=random"

/* "train.prior=..." of the clips there are. */
static const char *prior_of_clips(void)
{
	static char set[4096];
	struct kc_prior p;

	KC_CHECK_OK(kc_test_count("clips", 1, &p));
	KC_CHECK_OK(kc_prior_save(&p, kc_test_path("prior.json")));
	snprintf(set, sizeof set, "train.prior=%s", kc_test_path("prior.json"));
	return set;
}

struct scores {
	struct kc_mean psnr, colour;
};

static int take_truth(void *own, int64_t frame, struct kc_picture *p)
{
	struct kc_image *image = own;

	kc_test_flat(image, SIDE, (int)frame);
	*p = (struct kc_picture){SIDE, SIDE, image->rgb};
	return 0;
}

static struct scores *scored;

static int score(void *own, int64_t frame, const struct kc_picture *p)
{
	struct kc_image *image = own;

	kc_test_flat(image, SIDE, (int)frame);
	kc_mean_add(&scored->psnr, kc_psnr_frame(p->rgb, image->rgb, SIDE * SIDE));
	kc_mean_add(&scored->colour, kc_colourfulness(p->rgb, SIDE * SIDE));
	return 0;
}

/* The eight pictures as the weights colorize them now. */
static struct scores colorize(struct kc_run *r)
{
	const struct kc_colorizer_args args = {.network = KC_COLORIZE_BINS, .size = SIDE,
					       .width = r->config->network.width,
					       .temperature = r->config->network.temperature};
	struct kc_image image = {0};
	const struct kc_colorizer_clip clip = {.frames = COLOURS, .source = take_truth,
					       .sink = score, .own = &image};
	struct scores s = {0};
	struct kc_colorizer *c;

	scored = &s;
	if (KC_CHECK_OK(kc_colorizer_open(&c, &args, &r->device, r->training.params))) {
		KC_CHECK_OK(kc_colorizer_run(c, &clip, NULL));
		kc_colorizer_close(c);
	}
	kc_image_release(&image);
	return s;
}

/*
 * One batch of eight pictures.  The loss cannot fall to 0: the soft target of a colour has an
 * entropy of its own, about 1 nat.
 */
static void test_overfit(void)
{
	struct kc_config c;
	struct kc_run r;

	kc_test_flat_clips("clips", SIDE, 0, COLOURS - 1);
	if (KC_CHECK_OK(kc_test_open(&r, &c, SET(CIC, "network_G.width=0.0625", prior_of_clips(),
						 "train.lr_G=3e-3", "datasets.train.batch_size=8",
						 "datasets.train.use_flip=false",
						 "datasets.train.use_rot=false")))) {
		struct scores before = colorize(&r), after;
		double first = 0, loss = 0;

		for (int k = 0; k < 130 && kc_test_step(&r); k++) {
			loss = r.training.terms[0].last;
			first = k ? first : loss;
		}
		after = colorize(&r);
		if (!(loss < 0.3 * first))
			kc_test_fail(__FILE__, __LINE__, "loss from %g to %g", first, loss);
		if (!(kc_mean_get(&after.psnr) > kc_mean_get(&before.psnr) + 3))
			kc_test_fail(__FILE__, __LINE__, "PSNR from %g to %g",
				     kc_mean_get(&before.psnr), kc_mean_get(&after.psnr));
	}
	kc_test_close(&r, &c);
}

/* The decoder stays the table; without a prior the log says so; it is validated on the way. */
static void test_run(void)
{
	const char *said, *prior;
	char val[4096];
	struct kc_config c;
	struct kc_run r;

	kc_test_clips();
	prior = prior_of_clips();
	KC_CHECK_OK(kc_test_train(SET(CIC, prior, "train.weight_decay_G=0.1"), &said));
	KC_CHECK(!strstr(said, "is not rebalanced") && strstr(said, "l_class"));
	if (KC_CHECK_OK(kc_test_open(&r, &c, SET(CIC, prior, "train.weight_decay_G=0.1")))) {
		struct kc_param *out = kc_params_find(r.training.params, "model_out.weight");
		struct kc_buf b;

		KC_CHECK_OK(kc_progress_load(&r.save, 2, r.training.params, &r.progress, NULL));
		b = kc_param_master(out);
		KC_CHECK(!out->trainable && kc_get(&b, 3) == (float)(kc_bins_a[3] / 110));
	}
	kc_test_close(&r, &c);
	snprintf(val, sizeof val, "datasets.val.dataroot_GT=%s", kc_test_path("clips"));
	KC_CHECK_OK(kc_test_train(SET(CIC, "train.rebalance=false", val, "train.val_freq=2",
				      "datasets.val.GT_size=24", "flow=flownet2"), &said));
	KC_CHECK(strstr(said, "the class loss is not rebalanced"));
	KC_CHECK(strstr(said, "validation behind iteration 2: PSNR "));
}

/* The loss has the factors that the keys and the file give, or none. */
static void test_factors(void)
{
	double expected[KC_BINS];
	struct kc_config c;
	struct kc_prior p;
	struct kc_run r;

	kc_test_clips();
	KC_CHECK_OK(kc_test_count("clips", 1, &p));
	kc_rebalance(p.p, KC_BINS, 0.25, 0.5, expected);
	if (KC_CHECK_OK(kc_test_open(&r, &c, SET(CIC, prior_of_clips(),
						 "train.rebalance_lambda=0.25",
						 "train.rebalance_alpha=0.5"))))
		KC_CHECK(!memcmp(r.training.factors, expected, sizeof expected));
	kc_test_close(&r, &c);
	if (KC_CHECK_OK(kc_test_open(&r, &c, SET(CIC, prior_of_clips(), "train.rebalance=false"))))
		for (int q = 0; q < KC_BINS; q++)
			KC_CHECK(r.training.factors[q] == 1);
	kc_test_close(&r, &c);
}

#define WINDOWS "network_G.init=random", "network_G.width=0.0625"
#define WITH_ECCV16 WINDOWS, "network_G.key_net=eccv16"

static const char *at(const char *key, const char *name)
{
	static char set[4][4096];
	static int next;

	next = (next + 1) % 4;
	snprintf(set[next], sizeof set[next], "%s=%s", key, kc_test_path(name));
	return set[next];
}

/* The norm of the first step's gradient in those parameters; -1 when there are none. */
static double moved(const char *const *set, const char *prefix)
{
	struct kc_config c;
	struct kc_run r;
	double sum = -1;

	if (KC_CHECK_OK(kc_test_open(&r, &c, set))) {
		const struct kc_params *s = r.training.params;
		float *before = kc_alloc(s->count * sizeof *before);

		KC_ASSERT(before);
		memcpy(before, s->master, s->count * sizeof *before);
		kc_test_step(&r);
		for (size_t i = 0; i < s->n; i++) {
			struct kc_buf b = kc_param_master(s->v[i]);

			if (strncmp(s->v[i]->name, prefix, strlen(prefix)) || s->v[i]->statistic)
				continue;
			sum = fmax(sum, 0);
			for (int64_t k = 0; k < kc_numel(&b.type); k++)
				sum += fabs(kc_get(&b, k) - before[s->v[i]->offset + (size_t)k]);
		}
		free(before);
	}
	kc_test_close(&r, &c);
	return sum;
}

#define SGD "train.optimizer=sgd", "train.momentum=0", "train.lr_G=1", "train.srl_weight=0"

/* What the class loss alone teaches: the propagation, and the new head of siggraph17. */
static void test_class_weight(void)
{
	const char *said, *prior;

	kc_test_clips();
	prior = prior_of_clips();
	KC_CHECK(moved(SET(WINDOWS, SGD, prior, "train.class_weight=1"), "class_head.") > 1e-6);
	KC_CHECK(moved(SET(WINDOWS, SGD, prior, "train.class_weight=1"), "feature_ref") > 1e-9);
	KC_CHECK(moved(SET(WINDOWS, SGD, prior, "train.class_weight=1"), "fea_key.") == 0);
	KC_CHECK(moved(SET(WITH_ECCV16, SGD, prior, "train.class_weight=1"), "feature_ref") > 1e-9);
	KC_CHECK(moved(SET(WITH_ECCV16, SGD, prior, "train.class_weight=1"), "fea_key.") == 0);
	KC_CHECK(moved(SET(WITH_ECCV16, SGD, prior, "train.class_weight=1",
			   "network_G.train_flow_keyNet=true"), "fea_key.model8.6") > 1e-6);
	KC_CHECK(moved(SET(WITH_ECCV16, SGD, prior, "train.class_weight=1",
			   "network_G.train_flow_keyNet=true"), "fea_key.model_out") == 0);
	KC_CHECK(moved(SET(WINDOWS), "class_head.") == -1);
	KC_CHECK_OK(kc_test_train(SET(WINDOWS, "train.class_weight=0.5"), &said));
	KC_CHECK(strstr(said, "the class loss is not rebalanced") && strstr(said, "l_class"));
	KC_CHECK_OK(kc_test_train(SET(WINDOWS, "train.class_weight=0.5", prior), &said));
	KC_CHECK(!strstr(said, "is not rebalanced"));
	KC_CHECK_OK(kc_test_train(SET(WINDOWS), &said));
	KC_CHECK(!strstr(said, "rebalanced") && !strstr(said, "l_class"));
}

#define MODEL "experiments/run/models/2_G.safetensors"

static int load(const char *model, const char *key_net, struct kc_colorizer_args *args)
{
	const struct kc_model_files files = {.model = model, .key_net = key_net};
	struct kc_model_about about;
	struct kc_colorizer *c;
	struct kc_device d;
	int rc = kc_device_cpu(&d, 1);

	*args = (struct kc_colorizer_args){.size = 16};
	if (!rc)
		rc = kc_model_open(&c, args, &d, &files, &about);
	if (!rc)
		kc_colorizer_close(c);
	kc_device_release(&d);
	return rc;
}

/* Trained, validated, resumed, opened again; weights of the other kind are named. */
static void test_key_net(void)
{
	struct kc_colorizer_args args;
	const char *said;

	kc_test_clips();
	KC_CHECK_OK(kc_test_train(SET(WITH_ECCV16, at("datasets.val.dataroot_GT", "clips"),
				      "datasets.val.GT_size=24", "train.val_freq=2"), &said));
	KC_CHECK(strstr(said, "validation behind iteration 2: PSNR "));
	KC_CHECK_OK(kc_test_train(SET(WITH_ECCV16, "path.resume_state=auto", "train.niter=3"),
				  &said));
	KC_CHECK(strstr(said, "resumed behind iteration 2"));
	if (KC_CHECK_OK(load(kc_test_path(MODEL), NULL, &args)))
		KC_CHECK(args.network == KC_COLORIZE_TCVC && args.key == KC_TCVC_ECCV16 &&
			 args.temperature == 0.38 && !args.class_head);
	KC_CHECK_OK(kc_test_train(SET("name=wide", WITH_ECCV16, at("path.pretrain_model_G", MODEL)),
				  NULL));
	KC_CHECK_ERR(kc_test_train(SET("name=other", WINDOWS, at("path.pretrain_model_G", MODEL)),
				   NULL), KC_ECONFIG,
		     "the keyframe network is eccv16, network_G.key_net says siggraph17");
	KC_CHECK_OK(kc_test_train(SET("name=sig", WINDOWS, "train.class_weight=1"), NULL));
	if (KC_CHECK_OK(load(kc_test_path("experiments/sig/models/2_G.safetensors"), NULL, &args)))
		KC_CHECK(args.key == KC_TCVC_SIGGRAPH17 && args.class_head && !args.temperature);
	KC_CHECK_ERR(load(kc_test_path("experiments/sig/models/2_G.safetensors"),
			  kc_test_path(MODEL), &args), KC_ECONFIG, "the model wants siggraph17");
	KC_CHECK_ERR(kc_test_train(SET("name=other", "network_G.init=pretrained",
				       "network_G.width=0.0625", "network_G.key_net=eccv16",
				       at("path.pretrain_key_net",
					  "experiments/sig/models/2_G.safetensors")), NULL),
		     KC_ECONFIG, "the keyframe network is siggraph17, network_G.key_net says ecc");
	/* A new head beside weights that were trained without one. */
	KC_CHECK_OK(kc_test_train(SET("name=plain", WINDOWS), NULL));
	KC_CHECK_OK(kc_test_train(SET("name=head", WINDOWS, "train.class_weight=1",
				      at("path.pretrain_model_G",
					 "experiments/plain/models/2_G.safetensors")), NULL));
	KC_CHECK_ERR(kc_test_train(SET("name=none", "network_G.key_net=eccv16",
				       "network_G.init=pretrained"), NULL), KC_ENOENT,
		     "published as colorization_release_v2-9b330a0b.pth");
}

/* The keyframe network that cic trains serves TCVC; its temperature is compared. */
static void test_from_cic(void)
{
	const char *key = "experiments/run/models/2_G.safetensors", *said;

	kc_test_clips();
	KC_CHECK_OK(kc_test_train(SET(CIC, "network_G.width=0.0625", "train.rebalance=false"),
				  NULL));
	KC_CHECK_OK(kc_test_train(SET("name=tcvc", WITH_ECCV16, "network_G.init=pretrained",
				      at("path.pretrain_key_net", key)), &said));
	KC_CHECK(!strstr(said, "temperature"));
	KC_CHECK_OK(kc_test_train(SET("name=warm", WITH_ECCV16, "network_G.init=pretrained",
				      "network_G.temperature=1", at("path.pretrain_key_net", key)),
				  &said));
	KC_CHECK(strstr(said, "its temperature is 0.38, network_G.temperature takes 1 instead"));
	KC_CHECK_OK(kc_test_train(SET("name=on", CIC, "network_G.width=0.0625",
				      "train.rebalance=false", at("path.pretrain_model_G", key)),
				  &said));
	KC_CHECK(strstr(said, "start weights: ") && !strstr(said, "temperature"));
}

static void test_mistakes(void)
{
	char set[4096];

	kc_test_clips();
	KC_CHECK_ERR(kc_test_train(SET(CIC), NULL), KC_ECONFIG,
		     "train.prior: no file; expected what pack --prior writes");
	snprintf(set, sizeof set, "train.prior=%s", kc_test_path("none.json"));
	KC_CHECK_ERR(kc_test_train(SET(CIC, set), NULL), KC_ENOENT, "none.json");
	kc_test_shares("p.json", KC_TEST_PRIOR_HEAD, 529, NULL);
	snprintf(set, sizeof set, "train.prior=%s", kc_test_path("p.json"));
	KC_CHECK_ERR(kc_test_train(SET(CIC, set), NULL), KC_EFORMAT, "a prior of 529 bins");
	KC_CHECK_ERR(kc_test_train(SET(CIC, "train.rebalance=false", "datasets.train.GT_size=36"),
				   NULL),
		     KC_ECONFIG, "datasets.train.GT_size: 36 is not a multiple of 8");
	KC_CHECK_ERR(kc_test_train(SET(WITH_ECCV16, "datasets.train.GT_size=36"), NULL),
		     KC_ECONFIG, "datasets.train.GT_size: 36 is not a multiple of 8");
	KC_CHECK_ERR(kc_test_train(SET(WITH_ECCV16, at("datasets.val.dataroot_GT", "clips"),
				       "datasets.val.GT_size=20", "train.val_freq=2"), NULL),
		     KC_ECONFIG, "datasets.val.GT_size: 20 is not a multiple of 8");
	KC_CHECK_ERR(kc_test_train(SET(WITH_ECCV16, at("datasets.val.dataroot_GT", "clips"),
				       "datasets.val.GT_size=96", "train.val_freq=2",
				       "flow=flownet2"), NULL),
		     KC_ECONFIG, "datasets.val.GT_size: 96 is not a multiple of 64");
	KC_CHECK_ERR(kc_test_train(SET("model=cic"), NULL), KC_ECONFIG,
		     "network_G.which_model_G: expected eccv16");
}

const struct kc_test kc_tests_cic[] = {
	{"one batch of eight pictures is learnt", test_overfit},
	{"a run: fixed decoder, with and without prior", test_run},
	{"TCVC: the class loss, with both keyframe networks", test_class_weight},
	{"TCVC on eccv16: trained, resumed, opened, mismatched", test_key_net},
	{"TCVC on what cic trained", test_from_cic},
	{"the factors of the rebalanced loss", test_factors},
	{"settings that do not fit are named", test_mistakes},
	{0},
};
