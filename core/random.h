/*
 * Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random
 * numbers: as easy as 1, 2, 3", SC 2011).  A draw depends on its key and counter
 * alone, never on what was drawn before, so samples do not depend on the worker
 * count, and a resumed run draws what an undisturbed one would have drawn.
 */
#ifndef KC_CORE_RANDOM_H
#define KC_CORE_RANDOM_H

#include <stdint.h>

/* out[4] = Philox4x32-10 of counter c[4] under key k[2]. */
void kc_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* What a stream is for: keeps draws of different purposes apart. */
enum kc_stream {
	KC_STREAM_ORDER = 1,    /* order of samples in an epoch */
	KC_STREAM_SAMPLE,       /* start, crop, symmetry of one training sample */
	KC_STREAM_INIT,         /* initial parameters */
	KC_STREAM_HINTS,        /* simulated user hints */
	KC_STREAM_NOISE,        /* random nodes of a graph */
	KC_STREAM_TEST
};

/* A cursor over the numbers of one (seed, stream, a, b): up to 2^32 draws of 32 bits. */
struct kc_random {
	uint32_t key[2], counter[4], block[4];
	unsigned used;
};

void kc_random_init(struct kc_random *, uint64_t seed, enum kc_stream, uint64_t a, uint32_t b);
uint32_t kc_random_u32(struct kc_random *);
double kc_random_unit(struct kc_random *);                        /* in [0, 1), 53 bits */
uint64_t kc_random_below(struct kc_random *, uint64_t n);         /* in 0..n-1, unbiased; n > 0 */
double kc_random_normal(struct kc_random *);                      /* mean 0, variance 1 */

/*
 * The i-th element (0 <= i < n) of a pseudo-random permutation of 0..n-1 chosen by
 * (seed, epoch): a Feistel network with cycle walking, so an epoch's order needs no memory.
 */
uint64_t kc_random_permute(uint64_t seed, uint64_t epoch, uint64_t n, uint64_t i);

#endif
