/*
 * The configuration of a training run: YAML in the BasicSR dialect, as TCVC's authors use
 * it, into one typed struct.  The rows in train/options.c name every key, its default and
 * its bounds; this header names the members.
 *
 *	struct kc_config c;
 *	KC_TRY(kc_config_init(&c));                           defaults
 *	rc = kc_config_load(&c, "configs/train.yml");         the file
 *	rc = kc_config_set(&c, "train.lr_G=1e-4");            --set, any number of times
 *	rc = kc_config_resolve(&c);                           do the keys fit together?
 *	kc_config_release(&c);
 */
#ifndef KC_TRAIN_CONFIG_H
#define KC_TRAIN_CONFIG_H

#include "core/option.h"
#include "losses/pixel.h"
#include "models/tcvc.h"
#include "train/schedule.h"

enum kc_recipe_kind { KC_RECIPE_TCVC, KC_RECIPE_IDC, KC_RECIPE_CIC };
enum kc_precision_choice { KC_CHOOSE_FLOAT32, KC_CHOOSE_BF16, KC_CHOOSE_AUTO };
enum kc_flow_source { KC_FLOW_FLOWNET2, KC_FLOW_DIS, KC_FLOW_PACK };
enum kc_augment_on { KC_AUGMENT_AUTO, KC_AUGMENT_HOST, KC_AUGMENT_DEVICE };
enum kc_network { KC_NETWORK_TCVC, KC_NETWORK_SIGGRAPH17, KC_NETWORK_ECCV16 };
enum kc_initial { KC_INITIAL_PRETRAINED, KC_INITIAL_FORMULA, KC_INITIAL_RANDOM };
enum kc_optimizer_kind { KC_OPTIMIZER_ADAM, KC_OPTIMIZER_ADAMW, KC_OPTIMIZER_SGD };
enum kc_criterion { KC_CRITERION_L1, KC_CRITERION_MSE, KC_CRITERION_SMOOTH_L1,
		    KC_CRITERION_CHARBONNIER };
enum kc_reg_loss { KC_REG_L1, KC_REG_HUBER };
enum kc_class_bins { KC_CLASS_HARD_529, KC_CLASS_SOFT_313 };
enum kc_hint_place { KC_HINT_NORMAL, KC_HINT_UNIFORM };
enum kc_discriminator { KC_DISCRIMINATOR_NONE, KC_DISCRIMINATOR_PATCHGAN, KC_DISCRIMINATOR_PIXEL,
			KC_DISCRIMINATOR_SN_PATCH, KC_DISCRIMINATOR_TEMPORAL };
enum kc_discriminator_norm { KC_NORM_AUTO, KC_NORM_BATCH, KC_NORM_INSTANCE, KC_NORM_NONE };
enum kc_gan_choice { KC_GAN_OFF, KC_GAN_BY_VANILLA, KC_GAN_BY_LSGAN, KC_GAN_BY_HINGE,
		     KC_GAN_WGANGP, KC_GAN_BY_RALSGAN };
enum kc_gan_space { KC_SPACE_AB, KC_SPACE_LAB };
enum kc_nan_policy { KC_NAN_SKIP, KC_NAN_ROLLBACK, KC_NAN_STOP };

/* Members of type int64_t with an enum in their comment hold its values. */

struct kc_config_train_data {
	char *name;                     /* chooses what published data do, and names the set */
	char *root;                     /* folder of clips, or a pack file; may be NULL */
	char *keys;                     /* list of "clip_start_last" keys; may be NULL */
	struct kc_ints intervals;       /* frame distances a window may have */
	int64_t keyframe_interval;      /* a window is that + 2 frames */
	int64_t workers, batch_size;    /* the batch counts over all ranks */
	int64_t size;                   /* side of the square crop, pixels */
	bool reverse, shuffle, flip, rotate;
	int64_t augment;                /* enum kc_augment_on */
};

struct kc_config_val_data {
	char *name, *root;              /* root NULL: no validation */
	int64_t keyframe_interval;      /* frames between anchors */
	int64_t size;                   /* side to which luma is resized */
	int64_t max_clips, max_frames;  /* 0: all */
};

struct kc_config_network {
	int64_t kind;                   /* enum kc_network */
	int64_t key_net;                /* enum kc_tcvc_key */
	bool train_key_net;
	double width;                   /* factor on all channel counts */
	int64_t initial;                /* enum kc_initial */
	double mask_cent;               /* subtracted from the hint mask */
	double temperature;             /* of eccv16's annealed mean */
	bool global_hints, distribution; /* parts of siggraph17 */
	int64_t class_bins;             /* enum kc_class_bins, of siggraph17 */
};

struct kc_config_path {
	char *root;                     /* experiments/, tb_logger/ lie below */
	char *experiments_root;         /* the run's folder; NULL: root/experiments/name */
	char *pretrain_model, *pretrain_key_net, *pretrain_flow, *pretrain_vgg;
	bool strict_load;
	char *resume_state;             /* "auto", a state file, or NULL */
};

struct kc_config_optimizer {
	int64_t kind;                   /* enum kc_optimizer_kind */
	double momentum, beta1, beta2, eps, weight_decay;
	bool clear_state;               /* forget the moments at restarts */
	double clip_norm, ema_decay;    /* 0: off */
	int64_t accumulate;             /* batches per step */
};

struct kc_config_loss {
	int64_t criterion;              /* enum kc_criterion */
	double pixel_weight;
	int64_t reduction;              /* enum kc_reduction, of the pixel criterion */
	struct kc_ints srl_steps;       /* self-regularization: frame distances */
	double srl_weight, srl_alpha;
};

struct kc_config_idc {
	double hint_p;                  /* parameter of the geometric number of hints; 1: none */
	int64_t hint_count;             /* above 0: so many hints in every image */
	int64_t hint_place;             /* enum kc_hint_place */
	double hint_reveal;             /* probability that all of an image is a hint */
	double drop_grey;               /* Lab units; below them an image has no loss; 0: off */
	double dist_weight;             /* of the distribution head's loss */
	double class_weight, reg_weight;
	bool classification;            /* which loss trains the trunk */
	int64_t reg_loss;               /* enum kc_reg_loss */
};

struct kc_config_classes {
	double weight;                  /* of the class loss in TCVC; 0: off */
	char *prior;                    /* file of pack --prior; may be NULL */
	bool rebalance;
	double lambda, alpha;           /* of kc_rebalance */
};

struct kc_config_discriminator {
	int64_t kind;                   /* enum kc_discriminator */
	int64_t nf, n_layers;
	int64_t norm;                   /* enum kc_discriminator_norm */
	bool spectral, attention;
	double width;
};

enum kc_perceptual_network { KC_PERCEPTUAL_VGG16, KC_PERCEPTUAL_VGG19 };
enum kc_feature_criterion { KC_FEATURES_L1, KC_FEATURES_MSE };

struct kc_config_perceptual {
	double weight, style_weight;    /* 0: off */
	int64_t network;                /* enum kc_perceptual_network */
	struct kc_ints layers;          /* features.N of VGG, rising */
	struct kc_reals layer_weights;  /* as many, or none for 1 each */
	int64_t criterion;              /* enum kc_feature_criterion */
};

struct kc_config_gan {
	int64_t kind;                   /* enum kc_gan_choice */
	double weight;                  /* of the generator's adversarial loss */
	double lr, beta1, beta2;        /* of the discriminator */
	int64_t d_steps;                /* its updates per step */
	int64_t start_iter;             /* through which the generator is trained without it */
	double gp_weight, r1_weight, feature_weight;
	bool condition;                 /* luma beside what it judges */
	int64_t space;                  /* enum kc_gan_space */
};

/* Weights of a validation's numbers in its score; all 0: no checkpoint is best. */
struct kc_config_best { double psnr, cdc, colour, colour_gap, warp; };

struct kc_config_logger {
	int64_t print_freq, save_freq;  /* iterations; save_freq 0: at the end only */
	int64_t keep;                   /* newest checkpoints kept; 0: all */
	int64_t milestone_freq;         /* multiples of it are never removed; 0: none */
};

struct kc_config {
	char *name;
	int64_t recipe;                 /* enum kc_recipe_kind */
	bool published, tensorboard, save_images, deterministic;
	int64_t precision;              /* enum kc_precision_choice */
	int64_t threads;                /* 0: one per core */
	char *device;                   /* layers/devices.h */
	double memory_cap;              /* MB that a step may take; 0: what there is */
	bool tf32, cuda_graph, autotune;
	int64_t flow;                   /* enum kc_flow_source */

	struct kc_config_train_data data;
	struct kc_config_val_data val;
	struct kc_config_network network;
	struct kc_config_discriminator discriminator;
	struct kc_config_gan gan;
	struct kc_config_perceptual perceptual;
	struct kc_config_path path;

	struct kc_schedule schedule;    /* train.lr_* and what belongs to them */
	struct kc_config_optimizer optimizer;
	struct kc_config_loss loss;
	struct kc_config_idc idc;
	struct kc_config_classes classes;
	int64_t niter;                  /* iterations in all */
	double max_seconds;             /* stop, saved, after that long; 0: never */
	int64_t val_freq;               /* iterations; 0: never */
	int64_t seed;
	int64_t nan_policy;             /* enum kc_nan_policy */
	int64_t nan_limit;              /* non-finite steps in a row that end the run */

	struct kc_config_logger logger;
	struct kc_config_best best;

	char *ignored;                  /* keys of the file without effect, "a, b"; or NULL */
};

/* The table of all keys. */
const struct kc_opt *kc_config_rows(size_t *n);

int kc_config_init(struct kc_config *);

/* Reads a file over what is there.  Errors name file, line and key. */
int kc_config_load(struct kc_config *, const char *path);
/* The same from memory; name stands for the file in messages. */
int kc_config_parse(struct kc_config *, const char *name, const char *text, size_t len);

/* One override "a.b=c". */
int kc_config_set(struct kc_config *, const char *assignment);

/*
 * Checks what one row cannot, and applies `published`: the public code always trains with
 * the mean squared error, whatever pixel_criterion says.  Call it after the last set.
 */
int kc_config_resolve(struct kc_config *);

void kc_config_release(struct kc_config *);

/* Whether eccv16 is trained, or is the keyframe network of TCVC. */
bool kc_config_uses_eccv16(const struct kc_config *);

/* The resolved configuration as YAML that loads again. */
int kc_config_dump(const struct kc_config *, FILE *);
/* Equal for configurations that compute the same bits. */
uint64_t kc_config_hash(const struct kc_config *);

#endif
