#include "core/random.h"

#include "core/base.h"

#include <math.h>
#include <string.h>

void kc_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
	uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
	uint32_t k0 = key[0], k1 = key[1];

	for (int round = 0; round < 10; round++) {
		uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
		uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;

		c0 = n0, c1 = (uint32_t)p1, c2 = n2, c3 = (uint32_t)p0;
		k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
	}
	out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

void kc_random_init(struct kc_random *r, uint64_t seed, enum kc_stream stream, uint64_t a,
		    uint32_t b)
{
	memset(r, 0, sizeof *r);
	r->key[0] = (uint32_t)seed;
	r->key[1] = (uint32_t)(seed >> 32) ^ (uint32_t)stream * 0x9E3779B9u;
	r->counter[1] = b;
	r->counter[2] = (uint32_t)a;
	r->counter[3] = (uint32_t)(a >> 32);
	r->used = 4;
}

uint32_t kc_random_u32(struct kc_random *r)
{
	if (r->used == 4) {
		kc_philox(r->counter, r->key, r->block);
		r->counter[0]++;
		r->used = 0;
	}
	return r->block[r->used++];
}

double kc_random_unit(struct kc_random *r)
{
	uint64_t hi = kc_random_u32(r), lo = kc_random_u32(r);

	return (double)((hi << 32 | lo) >> 11) * 0x1p-53;
}

uint64_t kc_random_below(struct kc_random *r, uint64_t n)
{
	uint64_t limit, x;

	KC_ASSERT(n > 0);
	limit = UINT64_MAX - UINT64_MAX % n;
	do {
		x = (uint64_t)kc_random_u32(r) << 32;
		x |= kc_random_u32(r);
	} while (x >= limit);
	return x % n;
}

double kc_random_normal(struct kc_random *r)
{
	double u = 1 - kc_random_unit(r), v = kc_random_unit(r);

	return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

uint64_t kc_random_permute(uint64_t seed, uint64_t epoch, uint64_t n, uint64_t i)
{
	unsigned half = 1;
	uint64_t mask;
	const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32) ^ KC_STREAM_ORDER};

	KC_ASSERT(i < n);
	while (half < 32 && (uint64_t)1 << (2 * half) < n)
		half++;
	mask = ((uint64_t)1 << half) - 1;
	do {
		uint64_t left = i >> half, right = i & mask;

		for (uint32_t round = 0; round < 8; round++) {
			const uint32_t c[4] = {(uint32_t)right, round, (uint32_t)epoch,
					       (uint32_t)(epoch >> 32)};
			uint32_t f[4];
			uint64_t next;

			kc_philox(c, key, f);
			next = (left ^ f[0]) & mask;
			left = right;
			right = next;
		}
		i = left << half | right;
	} while (i >= n);
	return i;
}
