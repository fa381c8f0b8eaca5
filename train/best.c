#include "train/best.h"

#include "core/file.h"
#include "core/json.h"

#include <math.h>
#include <string.h>

bool kc_best_score(const struct kc_config *c, const double values[KC_MEASURED], double *score)
{
	const double weights[KC_MEASURED] = {
		[KC_MEASURED_PSNR] = c->best.psnr,
		[KC_MEASURED_CDC] = c->best.cdc,
		[KC_MEASURED_COLOUR] = c->best.colour,
		[KC_MEASURED_COLOUR_GAP] = c->best.colour_gap,
		[KC_MEASURED_WARP] = c->best.warp,
	};
	bool any = false;

	*score = 0;
	for (int i = 0; i < KC_MEASURED; i++) {
		if (weights[i] == 0)
			continue;
		any = true;
		*score += weights[i] * values[i];
	}
	return any;
}

/* The score of a line of metrics, and its iteration; NAN when it has none. */
static double score_of(const char *line, size_t n, int64_t *iter)
{
	const struct kc_json *score, *at;
	struct kc_json *root;
	double value = NAN;

	if (!memmem(line, n, KC_BEST_NAME, strlen(KC_BEST_NAME)) ||
	    kc_json_parse(line, n, &root) < 0)
		return NAN;
	score = kc_json_get(root, KC_BEST_NAME);
	at = kc_json_get(root, "iter");
	if (score && score->kind == KC_JSON_NUMBER && at && at->kind == KC_JSON_NUMBER &&
	    at->is_int) {
		value = score->number;
		*iter = at->integer;
	}
	kc_json_free(root);
	return value;
}

int64_t kc_best_iter(const char *metrics_path)
{
	int64_t best = -1, iter = -1;
	double highest = NAN;
	const char *p, *end;
	struct kc_map map;

	if (!kc_file_exists(metrics_path) || kc_map_open(metrics_path, &map) < 0)
		return -1;
	p = (const char *)map.data;
	end = p + map.size;
	while (p < end) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		size_t n = newline ? (size_t)(newline - p) + 1 : (size_t)(end - p);
		double score = score_of(p, n, &iter);

		if (isfinite(score) && !(score <= highest)) {
			highest = score;
			best = iter;
		}
		p += n;
	}
	kc_map_close(&map);
	return best;
}
