#include "weights/zip.h"

#include <pthread.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are read as little endian");

/*
 * Sixteen bytes a step: table[k][b] is the remainder of byte b with k zero bytes behind it
 * (M. Kounavis, F. Berry, "A systematic approach to building high performance software-based
 * CRC generators", 2005).
 */
static uint32_t table[16][256];

static void fill_table(void)
{
	for (uint32_t b = 0; b < 256; b++) {
		uint32_t r = b;

		for (int i = 0; i < 8; i++)
			r = r >> 1 ^ (r & 1 ? 0xEDB88320u : 0);
		table[0][b] = r;
	}
	for (int k = 1; k < 16; k++)
		for (int b = 0; b < 256; b++)
			table[k][b] = table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 255];
}

/* The share of four bytes that have `behind` bytes of the step behind them. */
static uint32_t share(uint32_t word, int behind)
{
	return table[behind + 3][word & 255] ^ table[behind + 2][word >> 8 & 255] ^
	       table[behind + 1][word >> 16 & 255] ^ table[behind][word >> 24];
}

uint32_t kc_zip_crc(uint32_t crc, const void *data, size_t size)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const unsigned char *p = data;
	uint32_t w[4];

	pthread_once(&once, fill_table);
	crc = ~crc;
	for (; size >= 16; p += 16, size -= 16) {
		memcpy(w, p, sizeof w);
		crc = share(w[0] ^ crc, 12) ^ share(w[1], 8) ^ share(w[2], 4) ^ share(w[3], 0);
	}
	for (; size; size--)
		crc = crc >> 8 ^ table[0][(crc ^ *p++) & 255];
	return ~crc;
}
