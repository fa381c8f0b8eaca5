#include "core/hash.h"

#include <string.h>

static const uint64_t P1 = 0x9E3779B185EBCA87u, P2 = 0xC2B2AE3D27D4EB4Fu,
		      P3 = 0x165667B19E3779F9u, P4 = 0x85EBCA77C2B2AE63u,
		      P5 = 0x27D4EB2F165667C5u;

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are read as little endian");

static uint64_t rotate(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static uint64_t read64(const unsigned char *p)
{
	uint64_t x;

	memcpy(&x, p, sizeof x);
	return x;
}

static uint32_t read32(const unsigned char *p)
{
	uint32_t x;

	memcpy(&x, p, sizeof x);
	return x;
}

static uint64_t mix_lane(uint64_t lane, uint64_t word)
{
	return rotate(lane + word * P2, 31) * P1;
}

static uint64_t merge_lane(uint64_t h, uint64_t lane)
{
	return (h ^ mix_lane(0, lane)) * P1 + P4;
}

/* Hashes the whole stripes of 32 bytes and moves *p behind them. */
static uint64_t hash_stripes(const unsigned char **p, const unsigned char *end, uint64_t seed)
{
	uint64_t a = seed + P1 + P2, b = seed + P2, c = seed, d = seed - P1, h;

	for (; end - *p >= 32; *p += 32) {
		a = mix_lane(a, read64(*p));
		b = mix_lane(b, read64(*p + 8));
		c = mix_lane(c, read64(*p + 16));
		d = mix_lane(d, read64(*p + 24));
	}
	h = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
	return merge_lane(merge_lane(merge_lane(merge_lane(h, a), b), c), d);
}

uint64_t kc_hash64(const void *data, size_t size, uint64_t seed)
{
	static const unsigned char nothing[1];
	const unsigned char *p = size ? data : nothing, *end = p + size;
	uint64_t h = size < 32 ? seed + P5 : hash_stripes(&p, end, seed);

	h += size;
	for (; end - p >= 8; p += 8)
		h = rotate(h ^ mix_lane(0, read64(p)), 27) * P1 + P4;
	if (end - p >= 4) {
		h = rotate(h ^ read32(p) * P1, 23) * P2 + P3;
		p += 4;
	}
	for (; p < end; p++)
		h = rotate(h ^ *p * P5, 11) * P1;
	h = (h ^ h >> 33) * P2;
	h = (h ^ h >> 29) * P3;
	return h ^ h >> 32;
}

uint32_t kc_crc32c(uint32_t crc, const void *data, size_t size)
{
	/* Entry i is the remainder of the four bits i. */
	static const uint32_t table[16] = {
		0x00000000, 0x105EC76F, 0x20BD8EDE, 0x30E349B1, 0x417B1DBC, 0x5125DAD3,
		0x61C69362, 0x7198540D, 0x82F63B78, 0x92A8FC17, 0xA24BB5A6, 0xB21572C9,
		0xC38D26C4, 0xD3D3E1AB, 0xE330A81A, 0xF36E6F75,
	};
	const unsigned char *p = data;

	crc = ~crc;
	for (size_t i = 0; i < size; i++) {
		crc ^= p[i];
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return ~crc;
}
