/* Bump allocator: many small objects that live and die together (a graph, a JSON tree). */
#ifndef KC_CORE_ARENA_H
#define KC_CORE_ARENA_H

#include <stddef.h>

struct kc_arena {
	struct kc_arena_block *blocks;
};

/* Zeroed memory aligned for any type, or NULL with the message stored. */
void *kc_arena_alloc(struct kc_arena *, size_t size);
char *kc_arena_strdup(struct kc_arena *, const char *);
void kc_arena_release(struct kc_arena *);

#endif
