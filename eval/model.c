#include "eval/model.h"

#include "models/eccv16.h"
#include "weights/load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what a file holds ---- */

static int number(const struct kc_weights *f, const char *key, double low, double high, double *x)
{
	const char *text = kc_weights_note(f, key);
	char *end;

	if (!text)
		return 0;
	errno = 0;
	*x = strtod(text, &end);
	if (errno || end == text || *end || !(*x >= low && *x <= high))
		return KC_FAIL(KC_EFORMAT,
			       "%s: metadata %s is \"%s\", expected a number from %g to %g",
			       f->path, key, text, low, high);
	return 0;
}

/* What the metadata or the weights inside say; else siggraph17, as published. */
static int find_key_net(const struct kc_weights *f, struct kc_colorizer_args *a,
			struct kc_model_about *about)
{
	const char *note = kc_weights_note(f, "key_net");
	bool inside = kc_weights_has(f, "fea_key.model8.6.weight");

	if (a->network != KC_COLORIZE_TCVC)
		return 0;
	if (note && strcmp(note, "siggraph17") && strcmp(note, "eccv16"))
		return KC_FAIL(KC_EFORMAT, "%s: metadata key_net is \"%s\", expected siggraph17 or "
			       "eccv16", f->path, note);
	a->key = inside || (note && !strcmp(note, "eccv16")) ? KC_TCVC_ECCV16 : KC_TCVC_SIGGRAPH17;
	if (note && kc_weights_has(f, "fea_key.") && inside != !strcmp(note, "eccv16"))
		return KC_FAIL(KC_EFORMAT, "%s: metadata key_net is %s, but the weights are those "
			       "of %s", f->path, note, inside ? "eccv16" : "siggraph17");
	a->class_head = kc_weights_has(f, "class_head.weight");
	if (a->key == KC_TCVC_ECCV16)
		about->network = "TCVC on eccv16";
	return 0;
}

/* The keyframe network's own file knows better than one of TCVC. */
static int find_mask_cent(const struct kc_weights *f, const struct kc_model_files *files,
			  struct kc_colorizer_args *a)
{
	struct kc_weights key;
	int rc;

	KC_TRY(number(f, "mask_cent", 0, 1, &a->mask_cent));
	if (files->key_net && a->network == KC_COLORIZE_TCVC) {
		KC_TRY(kc_weights_open(files->key_net, &key));
		rc = number(&key, "mask_cent", 0, 1, &a->mask_cent);
		kc_weights_close(&key);
		KC_TRY(rc);
	}
	if (files->has_mask_cent)
		a->mask_cent = files->mask_cent;
	return 0;
}

/* What siggraph17 has beside the published layers. */
static int find_parts(const struct kc_weights *f, struct kc_colorizer_args *a)
{
	const struct kc_st_tensor *head;

	if (a->network != KC_COLORIZE_FRAMES)
		return 0;
	a->global_hints = kc_weights_has(f, "global_hist.0.weight");
	a->distribution = kc_weights_has(f, "dist.out.weight");
	KC_TRY(kc_weights_find(f, "model_class.0.weight", &head));
	if (head && head->ndim > 0 && head->dim[0] == KC_BINS)
		a->classes = KC_BINS;
	return 0;
}

static int recognise(const struct kc_weights *f, const struct kc_model_files *files,
		     struct kc_colorizer_args *a, struct kc_model_about *about)
{
	static const char *const names[] = {
		[KC_COLORIZE_TCVC] = "TCVC", [KC_COLORIZE_FRAMES] = "siggraph17",
		[KC_COLORIZE_BINS] = "eccv16",
	};
	double iter = -1;

	if (kc_weights_has(f, "weigting.conv1.weight"))
		a->network = KC_COLORIZE_TCVC;
	else if (kc_weights_has(f, "model10.1.weight"))
		a->network = KC_COLORIZE_FRAMES;
	else if (kc_weights_has(f, "model_out.weight"))
		a->network = KC_COLORIZE_BINS;
	else
		return KC_FAIL(KC_EFORMAT,
			       "%s: neither TCVC (weigting.conv1.weight) nor siggraph17 "
			       "(model10.1.weight) nor eccv16 (model_out.weight)",
			       f->path);
	a->width = 1;
	KC_TRY(number(f, "width", 0.0625, 1, &a->width));
	KC_TRY(find_mask_cent(f, files, a));
	KC_TRY(find_parts(f, a));
	KC_TRY(number(f, "iter", 0, 1e15, &iter));
	KC_TRY(number(f, "temperature", 0.01, 1, &a->temperature));
	about->network = names[a->network];
	about->width = a->width;
	about->iter = (int64_t)iter;
	KC_TRY(find_key_net(f, a, about));
	if (a->network == KC_COLORIZE_BINS || a->key == KC_TCVC_ECCV16) {
		about->temperature_told = kc_weights_note(f, "temperature");
		about->temperature = a->temperature > 0 ? a->temperature : 1;
	}
	return 0;
}

static int choose_flow(const struct kc_weights *f, const struct kc_model_files *files,
		       struct kc_colorizer_args *a, struct kc_model_about *about)
{
	bool inside = kc_weights_has(f, "flow."), any = inside || files->flow_net;

	if (a->network != KC_COLORIZE_TCVC)
		return 0;
	if (files->flow == KC_MODEL_FLOW_FLOWNET2 && !any)
		return KC_FAIL(KC_ECONFIG,
			       "%s holds no FlowNet2 weights: give them with --flow-net, or take "
			       "--flow dis",
			       files->model);
	a->flownet = files->flow == KC_MODEL_FLOW_FLOWNET2 ||
		     (files->flow == KC_MODEL_FLOW_UNSAID && any);
	if (a->flownet)
		about->flow_source = files->flow_net ? files->flow_net : files->model;
	else
		about->flow_source = "DIS";
	return 0;
}

/* ---- loading ---- */

/* A part of the network's parameters, and how their names begin in its file. */
struct part {
	const char *prefix;             /* of the parameters */
	const char *drop;               /* what the file's names lack of it */
	const char *what;
};

static bool belongs(const struct kc_param *p, const struct part *part)
{
	bool key = !strncmp(p->name, "fea_key.", 8), flow = !strncmp(p->name, "flow.", 5);

	if (part->prefix[0])
		return !strncmp(p->name, part->prefix, strlen(part->prefix));
	return !key && !flow;
}

static int load_part(const struct kc_weights *f, struct kc_params *s, const struct part *part)
{
	struct kc_load_dest *d = kc_calloc(s->n, sizeof *d);
	size_t n = 0;
	int rc;

	if (!d)
		return KC_ENOMEM;
	for (size_t i = 0; i < s->n; i++) {
		const struct kc_param *p = s->v[i];

		if (belongs(p, part))
			d[n++] = (struct kc_load_dest){p->name + strlen(part->drop), p->type.ndim,
						       p->type.dim, kc_param_master(p).data};
	}
	/* Superfluous tensors are other parts of the same file. */
	rc = kc_load_tensors(f, d, n, KC_LOAD_COMPLETE, NULL);
	free(d);
	return rc < 0 ? kc_cause(rc, "as %s", part->what) : rc;
}

static int load_file(const char *path, struct kc_params *s, const struct part *part)
{
	struct kc_weights f;
	int rc;

	KC_TRY(kc_weights_open(path, &f));
	rc = load_part(&f, s, part);
	kc_weights_close(&f);
	return rc;
}

static const char *const key_names[] = {
	[KC_TCVC_SIGGRAPH17] = "siggraph17", [KC_TCVC_ECCV16] = "eccv16",
};

/* The file may be of the keyframe network alone, or of TCVC. */
static bool has_key(const struct kc_weights *f, const char *name)
{
	char inside[64];

	snprintf(inside, sizeof inside, "fea_key.%s", name);
	return kc_weights_has(f, name) || kc_weights_has(f, inside);
}

/* Both are looked at, so that the wrong one is named. */
static int load_key_file(const char *path, struct kc_params *s, enum kc_tcvc_key key)
{
	static const struct part beside = {"fea_key.", "fea_key.", "a keyframe network"};
	struct kc_weights f;
	int rc;

	KC_TRY(kc_weights_open(path, &f));
	if (key == KC_TCVC_ECCV16 && has_key(&f, "model10.1.weight"))
		rc = KC_FAIL(KC_ECONFIG, "%s is siggraph17, the model wants eccv16", path);
	else if (key == KC_TCVC_SIGGRAPH17 && has_key(&f, "model8.6.weight"))
		rc = KC_FAIL(KC_ECONFIG, "%s is eccv16, the model wants siggraph17", path);
	else
		rc = load_part(&f, s, &beside);
	kc_weights_close(&f);
	return rc;
}

static int load_key_net(const struct kc_weights *f, struct kc_params *s, enum kc_tcvc_key key,
			const struct kc_model_files *files, struct kc_model_about *about)
{
	static const struct part inside = {"fea_key.", "", "the keyframe network"};

	about->key_source = files->key_net ? files->key_net : files->model;
	if (files->key_net)
		return load_key_file(files->key_net, s, key);
	if (!kc_weights_has(f, "fea_key."))
		return KC_FAIL(KC_ECONFIG,
			       "%s holds no keyframe network (fea_key.*): give %s's weights with "
			       "--key-net",
			       files->model, key_names[key]);
	return load_part(f, s, &inside);
}

static int load_all(const struct kc_weights *f, struct kc_params *s,
		    const struct kc_colorizer_args *a, const struct kc_model_files *files,
		    struct kc_model_about *about)
{
	static const struct part whole[] = {
		[KC_COLORIZE_TCVC] = {"", "", "TCVC"},
		[KC_COLORIZE_FRAMES] = {"", "", "siggraph17"},
		[KC_COLORIZE_BINS] = {"", "", "eccv16"},
	};
	static const struct part flow_inside = {"flow.", "", "FlowNet2"};
	static const struct part flow_beside = {"flow.", "flow.", "FlowNet2"};

	KC_TRY(load_part(f, s, &whole[a->network]));
	if (a->network == KC_COLORIZE_TCVC)
		KC_TRY(load_key_net(f, s, a->key, files, about));
	if (a->flownet)
		KC_TRY(files->flow_net ? load_file(files->flow_net, s, &flow_beside)
				       : load_part(f, s, &flow_inside));
	for (size_t i = 0; i < s->n; i++)
		kc_param_changed(s->v[i]);
	return 0;
}

static int open_from(const struct kc_weights *f, struct kc_colorizer **out,
		     struct kc_colorizer_args *args, struct kc_device *device,
		     const struct kc_model_files *files, struct kc_model_about *about)
{
	struct kc_eccv16_weights imported;
	int rc;

	KC_TRY(recognise(f, files, args, about));
	KC_TRY(choose_flow(f, files, args, about));
	KC_TRY(kc_colorizer_open(out, args, device, NULL));
	rc = load_all(f, kc_colorizer_params(*out), args, files, about);
	if (rc >= 0 && args->network == KC_COLORIZE_BINS)
		rc = kc_eccv16_check(kc_colorizer_params(*out), &imported);
	if (rc < 0)
		kc_colorizer_close(*out);
	return rc;
}

int kc_model_open(struct kc_colorizer **out, struct kc_colorizer_args *args,
		  struct kc_device *device, const struct kc_model_files *files,
		  struct kc_model_about *about)
{
	struct kc_weights f;
	int rc;

	*about = (struct kc_model_about){0};
	KC_TRY(kc_weights_open(files->model, &f));
	rc = open_from(&f, out, args, device, files, about);
	kc_weights_close(&f);
	return rc;
}
