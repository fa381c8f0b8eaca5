/*
 * Colours to suggest at a pixel, from a distribution over bins of the ab plane.
 *
 * Source: Zhang et al., SIGGRAPH 2017, section 3.4.  The public code draws 25,000 samples from
 * the softened distribution and clusters them with k-means.  Here every bin takes part with its
 * probability, which is what samples tend to, and k-means starts at the likeliest bin, then at
 * the bins that add most to the sum of p d^2; so equal logits give equal colours.
 */
#ifndef KC_MODELS_SUGGEST_H
#define KC_MODELS_SUGGEST_H

#include "core/base.h"

enum {
	KC_SUGGESTIONS = 5,             /* as published */
	KC_SUGGESTIONS_MOST = 32
};

struct kc_suggestion {
	double a, b;                    /* Lab units: the mean of its cluster */
	double probability;             /* of its cluster; all sum to 1 */
};

/* Softens the logits before the softmax, as published. */
extern const double kc_suggestion_scale;

/*
 * logits: n of them, of bins at (a[q], b[q]).  Fills out with at most `most` (1 to
 * KC_SUGGESTIONS_MOST) clusters, the likeliest first, and returns how many there are: fewer when
 * fewer bins have any probability.  KC_ENUMERIC: a logit is not finite.
 */
int kc_suggest(const double *logits, const double *a, const double *b, int n, double scale,
	       struct kc_suggestion *out, int most);

#endif
