#include "weights/names.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME = 128 };

/* --- wrappers ------------------------------------------------------------------------- */

const char *kc_weights_bare(const char *name)
{
	static const char *const wrappers[] = {"module.", "_orig_mod.", "netG."};

	for (size_t i = 0; i < KC_COUNT(wrappers); i++) {
		size_t n = strlen(wrappers[i]);

		if (!strncmp(name, wrappers[i], n)) {
			name += n;
			i = (size_t)-1;
		}
	}
	return name;
}

/* --- FlowNet 2.0 ---------------------------------------------------------------------- */

static const char flownet2_sign[] = "flownetfusion.conv0.0.weight";

/* The name of a part as it is here; NULL when it is none. */
static const char *flownet2_part(const char *name, size_t n)
{
	static const char *const parts[][2] = {
		{"c", "flownetc"}, {"s1", "flownets_1"}, {"s2", "flownets_2"},
		{"sd", "flownets_d"}, {"fusion", "flownetfusion"},
	};
	char plain[NAME];
	const char *at = plain;
	size_t k = 0;

	for (size_t i = 0; i < n && k < sizeof plain - 1; i++)
		if (name[i] != '_')
			plain[k++] = (char)tolower((unsigned char)name[i]);
	plain[k] = 0;
	if (!strncmp(at, "flow", 4))
		at += 4;
	if (!strncmp(at, "net", 3))
		at += 3;
	for (size_t i = 0; i < KC_COUNT(parts); i++)
		if (!strcmp(at, parts[i][0]))
			return parts[i][1];
	return NULL;
}

/* Whether a layer is a convolution alone, without an activation; -1 when it is no layer. */
static int flownet2_is_alone(const char *layer)
{
	static const struct { const char *begin; int alone; } kinds[] = {
		{"conv", 0}, {"deconv", 0}, {"inter_conv", 0}, {"predict_flow", 1},
		{"upsampled_flow", 1},
	};

	for (size_t i = 0; i < KC_COUNT(kinds); i++)
		if (!strncmp(layer, kinds[i].begin, strlen(kinds[i].begin)))
			return kinds[i].alone;
	return -1;
}

/* "FlowNetS1.conv1.weight" becomes "flownets_1.conv1.0.weight"; false: it is no such name. */
static bool flownet2_rename(const char *name, char out[NAME])
{
	const char *dot = strchr(name, '.'), *end = dot ? strchr(dot + 1, '.') : NULL, *part, *last;
	int alone = end ? flownet2_is_alone(dot + 1) : -1;

	part = end ? flownet2_part(name, (size_t)(dot - name)) : NULL;
	if (!part || alone < 0)
		return false;
	last = strncmp(end, ".0.", 3) ? end + 1 : end + 3;
	if (strcmp(last, "weight") && strcmp(last, "bias"))
		return false;
	return snprintf(out, NAME, "%s%.*s%s.%s", part, (int)(end - dot), dot, alone ? "" : ".0",
			last) < NAME;
}

/* --- a whole file --------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
	const struct kc_st_tensor *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* Of a file that has the sign already, nothing is renamed. */
static bool is_foreign(const struct kc_st_tensor *tensors, size_t n)
{
	char name[NAME];
	bool found = false;

	for (size_t i = 0; i < n; i++) {
		const char *bare = kc_weights_bare(tensors[i].name);

		if (!strcmp(bare, flownet2_sign))
			return false;
		found |= flownet2_rename(bare, name) && !strcmp(name, flownet2_sign);
	}
	return found;
}

static int rename_one(const struct kc_st_tensor *from, struct kc_st_tensor *to, char **owned)
{
	char name[NAME];

	*to = *from;
	if (!flownet2_rename(kc_weights_bare(from->name), name))
		return 0;
	*owned = kc_strdup(name);
	to->name = *owned;
	return *owned ? 0 : KC_ENOMEM;
}

static int rename_all(const struct kc_st_tensor *tensors, size_t n, struct kc_renamed *r)
{
	r->tensors = kc_calloc(n, sizeof *r->tensors);
	r->names = kc_calloc(n, sizeof *r->names);
	r->n = n;
	if (!r->tensors || !r->names)
		return KC_ENOMEM;
	for (size_t i = 0; i < n; i++) {
		KC_TRY(rename_one(&tensors[i], &r->tensors[i], &r->names[i]));
		if (r->names[i] && !strcmp(r->names[i], flownet2_sign) && !r->about)
			r->about = kc_format("FlowNet 2.0 by structure, \"%s\" as \"%s\"",
					     tensors[i].name, flownet2_sign);
	}
	qsort(r->tensors, n, sizeof *r->tensors, compare_names);
	return r->about ? 0 : KC_ENOMEM;
}

int kc_names_adapt(const struct kc_st_tensor *tensors, size_t n, struct kc_renamed *r)
{
	int rc;

	*r = (struct kc_renamed){0};
	if (!is_foreign(tensors, n))
		return 0;
	rc = rename_all(tensors, n, r);
	if (rc < 0)
		kc_renamed_release(r);
	return rc;
}

void kc_renamed_release(struct kc_renamed *r)
{
	for (size_t i = 0; r->names && i < r->n; i++)
		free(r->names[i]);
	free(r->names);
	free(r->tensors);
	free(r->about);
	*r = (struct kc_renamed){0};
}
