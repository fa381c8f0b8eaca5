#include "models/suggest.h"

#include <math.h>
#include <stdlib.h>

const double kc_suggestion_scale = 0.2;

enum { ROUNDS = 100 };

struct cluster { double a, b, p; };

static int softmax(const double *logits, int n, double scale, double *p)
{
	double most = -INFINITY, sum = 0;

	for (int q = 0; q < n; q++) {
		if (!isfinite(logits[q]))
			return KC_FAIL(KC_ENUMERIC, "logit %d of the colours is not finite", q);
		most = fmax(most, logits[q]);
	}
	for (int q = 0; q < n; q++)
		sum += p[q] = exp(scale * (logits[q] - most));
	for (int q = 0; q < n; q++)
		p[q] /= sum;
	return 0;
}

static double distance(const struct cluster *c, double a, double b)
{
	return (c->a - a) * (c->a - a) + (c->b - b) * (c->b - b);
}

/* Of equally near ones the first. */
static int nearest(const struct cluster *c, int k, double a, double b)
{
	int best = 0;

	for (int i = 1; i < k; i++)
		if (distance(&c[i], a, b) < distance(&c[best], a, b))
			best = i;
	return best;
}

static int start(const double *p, const double *a, const double *b, int n, struct cluster *c,
		 int most)
{
	int k = 0;

	while (k < most) {
		double largest = 0;
		int best = -1;

		for (int q = 0; q < n; q++) {
			double cost = p[q];

			if (k)
				cost *= distance(&c[nearest(c, k, a[q], b[q])], a[q], b[q]);
			if (cost > largest) {
				largest = cost;
				best = q;
			}
		}
		if (best < 0)
			break;
		c[k++] = (struct cluster){a[best], b[best], 0};
	}
	return k;
}

/* One round of k-means; whether a mean has moved. */
static bool improve(const double *p, const double *a, const double *b, int n, struct cluster *c,
		    int k)
{
	struct cluster sum[KC_SUGGESTIONS_MOST] = {{0}};
	bool moved = false;

	for (int q = 0; q < n; q++) {
		struct cluster *s = &sum[nearest(c, k, a[q], b[q])];

		s->a += p[q] * a[q];
		s->b += p[q] * b[q];
		s->p += p[q];
	}
	for (int i = 0; i < k; i++) {
		double x = sum[i].p > 0 ? sum[i].a / sum[i].p : c[i].a;
		double y = sum[i].p > 0 ? sum[i].b / sum[i].p : c[i].b;

		moved |= fabs(x - c[i].a) + fabs(y - c[i].b) > 1e-9;
		c[i] = (struct cluster){x, y, sum[i].p};
	}
	return moved;
}

static int by_probability(const void *x, const void *y)
{
	const struct kc_suggestion *s = x, *t = y;

	if (s->probability != t->probability)
		return s->probability < t->probability ? 1 : -1;
	return s->a != t->a ? (s->a > t->a ? 1 : -1) : (s->b > t->b) - (s->b < t->b);
}

int kc_suggest(const double *logits, const double *a, const double *b, int n, double scale,
	       struct kc_suggestion *out, int most)
{
	struct cluster c[KC_SUGGESTIONS_MOST];
	double *p;
	int k, rc;

	KC_ASSERT(most > 0 && most <= KC_SUGGESTIONS_MOST && n > 0);
	p = kc_calloc((size_t)n, sizeof *p);
	if (!p)
		return KC_ENOMEM;
	rc = softmax(logits, n, scale, p);
	if (rc < 0) {
		free(p);
		return rc;
	}
	k = start(p, a, b, n, c, most);
	for (int i = 0; i < ROUNDS && improve(p, a, b, n, c, k); i++)
		;
	free(p);
	for (int i = 0; i < k; i++)
		out[i] = (struct kc_suggestion){c[i].a, c[i].b, c[i].p};
	qsort(out, (size_t)k, sizeof *out, by_probability);
	return k;
}
