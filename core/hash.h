/*
 * Checksums of bytes.  They find damage, not malice.
 */
#ifndef KC_CORE_HASH_H
#define KC_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>

/*
 * XXH64 (Y. Collet, "xxHash fast digest algorithm", XXH64 section): a 64-bit
 * non-cryptographic hash that runs at memory speed.  Checksum of tensors on disk.
 */
uint64_t kc_hash64(const void *data, size_t size, uint64_t seed);

/*
 * CRC-32C (Castagnoli, reflected polynomial 0x82F63B78; RFC 3720, appendix B.4).
 * Start with crc 0; crc of a ++ b = kc_crc32c(kc_crc32c(0, a, n), b, m).
 */
uint32_t kc_crc32c(uint32_t crc, const void *data, size_t size);

#endif
