/* The one table of keys: grouped and named as in the authors' file, with our own beside. */
#include "train/config.h"

#include <math.h>

#define AT(member) offsetof(struct kc_config, member)
#define R KC_OPT_RESULT
#define LATER (KC_OPT_RESULT | KC_OPT_LATER)

/* key, member, default[, bounds or choices][, flags, unit], help */
#define BOOL(k, m, d, f, h) {k, KC_OPT_BOOL, AT(m), d, 0, 0, f, NULL, NULL, h},
#define INT(k, m, d, lo, hi, f, u, h) {k, KC_OPT_INT, AT(m), d, lo, hi, f, NULL, u, h},
#define REAL(k, m, d, lo, hi, f, h) {k, KC_OPT_REAL, AT(m), d, lo, hi, f, NULL, NULL, h},
#define TEXT(k, m, d, f, h) {k, KC_OPT_TEXT, AT(m), d, 0, 0, f, NULL, NULL, h},
#define ENUM(k, m, d, c, f, h) {k, KC_OPT_ENUM, AT(m), d, 0, 0, f, c, NULL, h},
#define INTS(k, m, d, lo, hi, f, u, h) {k, KC_OPT_INTS, AT(m), d, lo, hi, f, NULL, u, h},
#define REALS(k, m, d, lo, hi, f, h) {k, KC_OPT_REALS, AT(m), d, lo, hi, f, NULL, NULL, h},
#define UNUSED(k, type, c, h) {k, type, 0, "~", 0, 0, KC_OPT_NOEFFECT, c, NULL, h},

static const struct kc_opt rows[] = {
TEXT("name", name, "~", 0, "name of the run and of its folder; required")
ENUM("model", recipe, "video_colorization_warp2", "video_colorization_warp2|idc|cic", R,
     "what is trained: TCVC's propagation, or a colorizer of single frames: siggraph17 (idc) or "
     "eccv16 (cic)")
BOOL("published", published, "false", R,
     "bring back the quirks of the public TCVC code that change results")
BOOL("use_tb_logger", tensorboard, "true", 0, "write TensorBoard events under tb_logger/")
BOOL("save_img", save_images, "true", 0, "write the frames of validations to val_images/")
BOOL("deterministic", deterministic, "true", R, "fixed orders of summation: same bits every time")
ENUM("precision", precision, "float32", "float32|bf16|auto", R,
     "of convolutions and products; auto: bf16 where the hardware is fast at it")
INT("threads", threads, "0", 0, 1024, R, NULL,
    "threads of the CPU, of each process; 0: one per core, which processes share")
ENUM("flow", flow, "flownet2", "flownet2|dis|pack", R,
     "optical flow: the network, the classical method, or fields stored in the pack file")
TEXT("device", device, "cpu", 0,
     "cpu, cuda or cuda:N; --device is the same; several processes: cuda is a GPU for each")
REAL("memory_cap", memory_cap, "0", 0, 1e9, R | KC_OPT_LATER,
     "MB that a step may take: batches are split into parts, whose gradients are added up, until "
     "it fits; 0: no cap")
BOOL("tf32", tf32, "false", R | KC_OPT_LATER,
     "CUDA: float32 convolutions and products may round their factors to TF32")
BOOL("cuda_graph", cuda_graph, "true", 0, "CUDA: record the step once and replay it")
BOOL("autotune", autotune, "true", 0,
     "CUDA, without deterministic: time the library's candidates when the plan is built, for up "
     "to 40 s; the choices are kept, and the next run goes on with the rest")
UNUSED("distortion", KC_OPT_TEXT, NULL, "a label of the authors' framework")
UNUSED("gpu_ids", KC_OPT_INTS, NULL, "devices are chosen by --device and the launcher")
{"manual_seed", KC_OPT_INT, AT(seed), "0", 0, 0x1p53, KC_OPT_ALIAS, NULL, NULL,
 "the same as train.manual_seed"},

TEXT("datasets.train.name", data.name, "~", R,
     "name of the set; the authors' names matter with published: true")
UNUSED("datasets.train.mode", KC_OPT_ENUM, "video_train", "windows of video are all there is")
TEXT("datasets.train.dataroot_GT", data.root, "~", R, "folder of clips, or a pack file")
TEXT("datasets.train.cache_keys", data.keys, "~", R,
     "list of windows, keys \"clip_start_last\"; where it is missing the clips are listed")
INTS("datasets.train.interval_list", data.intervals, "[1]", 1, 1000, R, "frames",
     "distances between the frames of a window; one is drawn per window")
BOOL("datasets.train.random_reverse", data.reverse, "false", R,
     "play half of the windows backwards")
INT("datasets.train.keyframe_interval", data.keyframe_interval, "10", 1, 1000, R, "frames",
    "frames between the two anchors of a window")
BOOL("datasets.train.use_shuffle", data.shuffle, "true", R, "draw the windows in random order")
INT("datasets.train.n_workers", data.workers, "3", 0, 256, 0, NULL,
    "loader threads per process; 0: load in the training thread")
INT("datasets.train.batch_size", data.batch_size, "4", 1, 65536, R, "windows",
    "per step over all processes")
INT("datasets.train.GT_size", data.size, "256", 16, 4096, R, "pixels", "side of the square crop")
BOOL("datasets.train.use_flip", data.flip, "true", R, "mirror at random")
BOOL("datasets.train.use_rot", data.rotate, "true", R, "turn by 90 degrees at random")
ENUM("datasets.train.augment_on", data.augment, "auto", "auto|host|device", 0,
     "where crops and mirrors are made, of the same pixels: by the loader's threads or by the "
     "step; auto: on a GPU, when all frames have one size, at most twice the crop's")
UNUSED("datasets.train.color", KC_OPT_ENUM, "LAB", "training is in CIE Lab")
UNUSED("datasets.train.N_frames", KC_OPT_INT, NULL, "the window follows from keyframe_interval")

TEXT("datasets.val.name", val.name, "~", 0, "name of the set, for the log")
TEXT("datasets.val.dataroot_GT", val.root, "~", 0, "folder of clips; ~: no validation")
INT("datasets.val.keyframe_interval", val.keyframe_interval, "17", 1, 1000, 0, "frames",
    "frames between two anchors")
INT("datasets.val.GT_size", val.size, "256", 16, 4096, 0, "pixels",
    "side to which luma is resized for the network")
INT("datasets.val.max_clips", val.max_clips, "0", 0, INFINITY, 0, "clips", "0: all")
INT("datasets.val.max_frames", val.max_frames, "0", 0, INFINITY, 0, "frames", "per clip; 0: all")

ENUM("network_G.which_model_G", network.kind, "TCVC_IDC", "TCVC_IDC|siggraph17|eccv16", R,
     "the network that is trained")
ENUM("network_G.key_net", network.key_net, "sig17", "sig17=siggraph17|eccv16", R,
     "the colorizer of anchor frames, whose features travel")
BOOL("network_G.train_flow_keyNet", network.train_key_net, "false", R,
     "train the colorizer of anchor frames too")
REAL("network_G.width", network.width, "1", 0.0625, 1, R,
     "factor on the channel counts, for small experiments: 1, 0.5, 0.25")
ENUM("network_G.init", network.initial, "pretrained", "pretrained|formula|random", R,
     "frozen networks from their files, or filled by formula or at random without files")
REAL("network_G.mask_cent", network.mask_cent, "0", 0, 1, R,
     "subtracted from the mask of hints: 0 for siggraph17-df00044c, 0.5 for colorization-pytorch")
REAL("network_G.temperature", network.temperature, "0.38", 0.01, 1, LATER,
     "eccv16: divides the logits in the annealed mean; 0.38 for weights trained here, 1 for "
     "colorization_release_v2-9b330a0b, which contains it")
BOOL("network_G.global_hints", network.global_hints, "false", LATER,
     "siggraph17 is told the histogram and the mean saturation of half of the images")
BOOL("network_G.distribution", network.distribution, "false", LATER,
     "siggraph17 has the head of 313 bins that colours are suggested from")
ENUM("network_G.cls_bins", network.class_bins, "529", "529|313-soft", LATER,
     "classes of siggraph17: the nearest of 529, or the soft encoding in 313, rebalanced")
UNUSED("network_G.nf", KC_OPT_INT, NULL, "the authors' code does not use it")
UNUSED("network_G.N_RBs", KC_OPT_INT, NULL, "the authors' code does not use it")
UNUSED("network_G.dataset", KC_OPT_TEXT, NULL, "the authors' code does not use it")
UNUSED("network_G.channel_reduction", KC_OPT_TEXT, NULL, "the authors' code does not use it")

ENUM("network_D.which_model_D", discriminator.kind, "none",
     "none|patchgan|pixel|sn_patch|temporal", R | KC_OPT_LATER,
     "the discriminator of gan.type: over patches, over pixels, over patches under spectral norm, "
     "or over windows of frames (six 3-D convolutions under spectral norm)")
INT("network_D.nf", discriminator.nf, "64", 1, 1024, R | KC_OPT_LATER, "channels",
    "of its first layer")
INT("network_D.n_layers", discriminator.n_layers, "3", 1, 7, R | KC_OPT_LATER, "layers",
    "patchgan, sn_patch: that halve the size; 3 see 70 pixels")
ENUM("network_D.norm", discriminator.norm, "auto", "auto|batch|instance|none", R | KC_OPT_LATER,
     "between its layers; auto: batch for patchgan and pixel, instance for sn_patch and with a "
     "penalty, none for temporal")
BOOL("network_D.spectral", discriminator.spectral, "false", R | KC_OPT_LATER,
     "spectral norm for patchgan and pixel too")
BOOL("network_D.attention", discriminator.attention, "false", R | KC_OPT_LATER,
     "self-attention where its picture is smallest; not for pixel")
REAL("network_D.width", discriminator.width, "1", 0.0625, 1, R | KC_OPT_LATER,
     "factor on its channel counts")

ENUM("gan.type", gan.kind, "none", "none|vanilla|lsgan|hinge|wgangp=wgan|ralsgan",
     R | KC_OPT_LATER, "adversarial losses besides the model's own; needs network_D")
REAL("gan.weight", gan.weight, "0.1", 0, INFINITY, R | KC_OPT_LATER,
     "of the generator's adversarial loss")
REAL("gan.lr_D", gan.lr, "1e-4", 0, 1000, R | KC_OPT_LATER,
     "the discriminator's learning rate, on the schedule of train.lr_G")
REAL("gan.beta1_D", gan.beta1, "0.5", 0, 1, R | KC_OPT_LATER, "of the discriminator's adam")
REAL("gan.beta2_D", gan.beta2, "0.999", 0, 1, R | KC_OPT_LATER, "of the discriminator's adam")
INT("gan.d_steps", gan.d_steps, "1", 1, 100, R | KC_OPT_LATER, "updates",
    "of the discriminator per update of the generator, each on a batch of its own")
INT("gan.start_iter", gan.start_iter, "0", 0, 1e12, R | KC_OPT_LATER, "iterations",
    "through which the generator is trained without a discriminator")
REAL("gan.gp_weight", gan.gp_weight, "10", 0, INFINITY, R | KC_OPT_LATER,
     "wgangp: of the gradient penalty; 0: none, spectral norm is wanted then")
REAL("gan.r1_weight", gan.r1_weight, "0", 0, INFINITY, R | KC_OPT_LATER,
     "of the penalty on the discriminator's gradient at real samples (R1)")
REAL("gan.feature_matching", gan.feature_weight, "0", 0, INFINITY, R | KC_OPT_LATER,
     "weight of the distance between the discriminator's features of output and truth")
BOOL("gan.condition", gan.condition, "true", R | KC_OPT_LATER,
     "the discriminator sees luma beside what it judges")
ENUM("gan.space", gan.space, "ab", "ab|Lab", R | KC_OPT_LATER,
     "what it judges: chroma, or all of CIE Lab")

REAL("perceptual.weight", perceptual.weight, "0", 0, INFINITY, R | KC_OPT_LATER,
     "of the distance between VGG's features of output and truth; 0: off")
REAL("perceptual.style_weight", perceptual.style_weight, "0", 0, INFINITY, R | KC_OPT_LATER,
     "of the distance between their Gram matrices; 0: off")
ENUM("perceptual.network", perceptual.network, "vgg16", "vgg16|vgg19", R | KC_OPT_LATER,
     "whose weights path.pretrain_vgg names")
INTS("perceptual.layers", perceptual.layers, "[3, 8, 15, 22]", 1, 35, R | KC_OPT_LATER, NULL,
     "numbers of the ReLUs whose features count, rising")
REALS("perceptual.layer_weights", perceptual.layer_weights, "[]", 0, INFINITY, R | KC_OPT_LATER,
      "of these layers; []: 1 each")
ENUM("perceptual.criterion", perceptual.criterion, "l1", "l1|mse", R | KC_OPT_LATER,
     "distance of features and of Gram matrices")

TEXT("path.root", path.root, ".", 0, "folder of experiments/ and tb_logger/")
TEXT("path.experiments_root", path.experiments_root, "~", 0,
     "folder of this run; ~: root/experiments/name")
TEXT("path.pretrain_model_G", path.pretrain_model, "~", R, "weights to start from")
TEXT("path.pretrain_key_net", path.pretrain_key_net,
     "experiments/pretrained_models/siggraph17-df00044c.pth", R,
     "weights of the colorizer of anchor frames; with key_net: eccv16 the default is "
     "colorization_release_v2-9b330a0b.pth in the same folder")
TEXT("path.pretrain_flow", path.pretrain_flow,
     "experiments/pretrained_models/FlowNet2_checkpoint.pth.tar", R, "weights of FlowNet2")
TEXT("path.pretrain_vgg", path.pretrain_vgg, "~", R | KC_OPT_LATER,
     "weights of VGG16 or VGG19; ~: the perceptual losses are left out")
BOOL("path.strict_load", path.strict_load, "true", 0,
     "refuse weights with missing or superfluous names")
TEXT("path.resume_state", path.resume_state, "~", 0,
     "state to go on from; auto: the newest valid one of this name; ~: a new run")

REAL("train.lr_G", schedule.lr, "5e-5", 0, 1000, R, "learning rate")
ENUM("train.lr_scheme", schedule.kind, "MultiStepLR",
     "MultiStepLR=MultiStepLR_Restart|CosineAnnealingLR_Restart|LinearLR|OneCycleLR", R,
     "how the rate changes")
INT("train.warmup_iter", schedule.warmup, "-1", -1, 1e12, R, "iterations",
    "over which the rate rises; -1 or 0: none")
INTS("train.lr_steps", schedule.steps, "~", 1, 1e12, R, "iterations",
     "MultiStepLR: behind which the rate is multiplied by lr_gamma")
REAL("train.lr_gamma", schedule.gamma, "0.5", 0, 1, R, "MultiStepLR: factor at each of lr_steps")
INTS("train.restarts", schedule.restarts, "~", 1, 1e12, R, "iterations",
     "behind which the rate starts again")
REALS("train.restart_weights", schedule.restart_weights, "~", 0, 1000, R,
      "factor on lr_G of each restart")
INTS("train.T_period", schedule.periods, "~", 1, 1e12, R, "iterations",
     "CosineAnnealingLR_Restart: length of each cycle; OneCycleLR: the total")
REAL("train.eta_min", schedule.eta_min, "1e-7", 0, 1000, R,
     "CosineAnnealingLR_Restart: least rate")
INT("train.lr_decay_start", schedule.decay_start, "0", 0, 1e12, R, "iterations",
    "LinearLR: behind which the rate falls")
INT("train.lr_decay_iter", schedule.decay_iter, "100000", 1, 1e12, R, "iterations",
    "LinearLR: until it is 0")
REAL("train.pct_start", schedule.peak_at, "0.3", 0, 1, R,
     "OneCycleLR: share of the iterations before the peak")
REAL("train.div_factor", schedule.div_start, "25", 1, INFINITY, R, "OneCycleLR: lr_G / first rate")
REAL("train.final_div_factor", schedule.div_end, "1e4", 1, INFINITY, R,
     "OneCycleLR: first / last rate")
INT("train.lr_decay_every", schedule.decay_every, "1", 1, 1e12, LATER, "iterations",
    "LinearLR: between changes of the rate, which are once per epoch in colorization-pytorch")
ENUM("train.optimizer", optimizer.kind, "adam", "adam|adamw|sgd", R, "update rule")
REAL("train.momentum", optimizer.momentum, "0.9", 0, 1, R, "of sgd")
REAL("train.beta1", optimizer.beta1, "0.9", 0, 1, R, "of adam and adamw")
REAL("train.beta2", optimizer.beta2, "0.99", 0, 1, R, "of adam and adamw")
REAL("train.eps", optimizer.eps, "1e-8", 0, 1, R, "of adam and adamw")
REAL("train.weight_decay_G", optimizer.weight_decay, "0", 0, 1000, R,
     "added to the gradient; of adamw, to the update")
BOOL("train.clear_state", optimizer.clear_state, "false", R, "forget the moments at restarts")
REAL("train.clip_grad_norm", optimizer.clip_norm, "0", 0, INFINITY, R,
     "greatest norm of the gradient; 0: not clipped")
REAL("train.ema_decay", optimizer.ema_decay, "0", 0, 1, R,
     "of the moving average of the weights; 0: none")
INT("train.accumulate", optimizer.accumulate, "1", 1, 65536, R, "batches", "summed into one step")
ENUM("train.pixel_criterion", loss.criterion, "mse",
     "l1|mse=l2|smooth_l1=SmoothL1Loss|charbonnier=cb", R,
     "distance to the true chroma; published: true always takes mse")
REAL("train.pixel_weight", loss.pixel_weight, "0", 0, INFINITY, R, "of the pixel criterion")
ENUM("train.reduction", loss.reduction, "mean", "mean|sum", R, "of the pixel criterion")
INTS("train.srl_steps", loss.srl_steps, "[1, 2]", 1, 1000, R, "frames",
     "self-regularization: distances of the compared frames")
REAL("train.srl_weight", loss.srl_weight, "1", 0, INFINITY, R, "of the self-regularization")
REAL("train.srl_alpha", loss.srl_alpha, "50", 0, INFINITY, R,
     "self-regularization: how fast trust falls with the warping error of luma")
REAL("train.hint_p", idc.hint_p, "0.125", 0.001, 1, R,
     "idc: the number of hints is geometric with this parameter; 1: none")
INT("train.hint_count", idc.hint_count, "0", 0, 10000, LATER, "hints",
    "idc: in every image; 0: a number drawn with hint_p")
ENUM("train.hint_place", idc.hint_place, "normal", "normal|uniform", LATER,
     "idc: where hints lie, around the centre or anywhere")
REAL("train.hint_reveal", idc.hint_reveal, "0", 0, 1, LATER,
     "idc: share of the images all of whose colour is a hint; 0.01 in the paper")
REAL("train.drop_grey", idc.drop_grey, "0", 0, 440, LATER,
     "idc: images whose ranges of a and b sum to less have no loss; 5 as published, 0: none")
REAL("train.dist_weight", idc.dist_weight, "1", 0, INFINITY, LATER,
     "idc: weight of the loss of the head of network_G.distribution, which trains that head alone")
REAL("train.lambda_A", idc.class_weight, "1", 0, INFINITY, R,
     "idc: weight of the classification loss")
REAL("train.reg_weight", idc.reg_weight, "10", 0, INFINITY, R, "idc: weight of the regression loss")
BOOL("train.classification", idc.classification, "false", R,
     "idc: the classification loss trains the trunk, not the regression loss")
ENUM("train.reg_loss", idc.reg_loss, "l1", "l1|huber", R, "idc: regression loss")
REAL("train.class_weight", classes.weight, "0", 0, INFINITY, LATER,
     "of the class loss over 313 bins in TCVC: of eccv16's bins, or of a new head on siggraph17's "
     "features; 0: none")
BOOL("train.rebalance", classes.rebalance, "true", LATER,
     "class loss over 313 bins: rare colours count more, by train.prior")
TEXT("train.prior", classes.prior, "~", LATER,
     "class loss over 313 bins: how common the bins are, a file of pack --prior")
REAL("train.rebalance_lambda", classes.lambda, "0.5", 0, 1, LATER,
     "share of the uniform distribution that is mixed with the prior")
REAL("train.rebalance_alpha", classes.alpha, "1", 0, 10, LATER,
     "the mixture to the power -alpha weights a bin; 0: all alike")
INT("train.niter", niter, "100000", 1, 1e12, 0, "iterations", "in all")
{"train.total_iter", KC_OPT_INT, AT(niter), "100000", 1, 1e12, KC_OPT_ALIAS, NULL, "iterations",
 "the same as train.niter"},
REAL("train.max_seconds", max_seconds, "0", 0, INFINITY, 0,
     "save and stop after that long; 0: never")
INT("train.val_freq", val_freq, "2000", 0, 1e12, 0, "iterations",
    "between validations; 0: none")
INT("train.manual_seed", seed, "0", 0, 0x1p53, R, NULL, "of all random numbers")
ENUM("train.nan_policy", nan_policy, "skip", "skip|rollback|stop", R,
     "on a non-finite loss or gradient: drop the step, go back to the last state, or stop")
INT("train.nan_limit", nan_limit, "10", 1, 1e9, 0, "steps", "non-finite ones in a row end the run")

INT("logger.print_freq", logger.print_freq, "100", 1, 1e12, 0, "iterations", "between log lines")
INT("logger.save_checkpoint_freq", logger.save_freq, "2000", 0, 1e12, 0, "iterations",
    "between checkpoints; 0: at the end only")
INT("logger.keep", logger.keep, "5", 0, 1e6, 0, "checkpoints",
    "the newest that are kept; 0: all")
REAL("best.psnr", best.psnr, "0", -INFINITY, INFINITY, 0,
     "weight of a validation's PSNR in its score; the checkpoint with the highest score is kept")
REAL("best.cdc", best.cdc, "0", -INFINITY, INFINITY, 0, "of CDC (lower is better: negative)")
REAL("best.colour", best.colour, "0", -INFINITY, INFINITY, 0, "of colourfulness")
REAL("best.colour_gap", best.colour_gap, "0", -INFINITY, INFINITY, 0,
     "of its distance from the truth's (negative)")
REAL("best.warp", best.warp, "0", -INFINITY, INFINITY, 0, "of the warp error (negative)")
INT("logger.milestone_freq", logger.milestone_freq, "0", 0, 1e12, 0, "iterations",
    "checkpoints at its multiples are never removed; 0: none")
};

const struct kc_opt *kc_config_rows(size_t *n)
{
	*n = KC_COUNT(rows);
	return rows;
}
