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

static double number(const struct kc_json *line, const char *name)
{
	const struct kc_json *x = kc_json_get(line, name);

	return x && x->kind == KC_JSON_NUMBER ? x->number : (double)NAN;
}

/* By the weights of now, whatever they were when the line was written. */
static double score_of(const struct kc_config *c, const struct kc_json *line)
{
	double values[KC_MEASURED], score;

	for (int i = 0; i < KC_MEASURED; i++)
		values[i] = number(line, kc_measured_names[i]);
	return kc_best_score(c, values, &score) ? score : (double)NAN;
}

/* The score of a line of metrics, and its iteration; NAN when it has none. */
static double read_score(const struct kc_config *c, const char *text, size_t n, int64_t *iter)
{
	const char *validated = kc_measured_names[KC_MEASURED_PSNR];
	const struct kc_json *at;
	struct kc_json *line;
	double score = NAN;

	if (!memmem(text, n, validated, strlen(validated)) || kc_json_parse(text, n, &line) < 0)
		return NAN;
	at = kc_json_get(line, "iter");
	if (at && at->kind == KC_JSON_NUMBER && at->is_int) {
		*iter = at->integer;
		score = score_of(c, line);
	}
	kc_json_free(line);
	return score;
}

int64_t kc_best_iter(const struct kc_config *c, const char *metrics_path)
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
		double score = read_score(c, p, n, &iter);

		if (isfinite(score) && !(score <= highest)) {
			highest = score;
			best = iter;
		}
		p += n;
	}
	kc_map_close(&map);
	return best;
}
