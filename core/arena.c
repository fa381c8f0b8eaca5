#include "core/arena.h"

#include "core/base.h"

#include <stdlib.h>
#include <string.h>

struct kc_arena_block {
	struct kc_arena_block *next;
	size_t used, size;
	max_align_t memory[];
};

enum { BLOCK = 1 << 16 };

void *kc_arena_alloc(struct kc_arena *a, size_t size)
{
	struct kc_arena_block *b = a->blocks;
	size_t need = (size + 15) & ~(size_t)15;

	if (need < size || need > SIZE_MAX - sizeof *b) {
		KC_FAIL(KC_ENOMEM, "out of memory: %zu bytes", size);
		return NULL;
	}
	if (!b || b->size - b->used < need) {
		size_t block = KC_MAX(need, (size_t)BLOCK);

		b = kc_calloc(1, sizeof *b + block);
		if (!b)
			return NULL;
		b->size = block;
		b->next = a->blocks;
		a->blocks = b;
	}
	b->used += need;
	return (char *)b->memory + b->used - need;
}

char *kc_arena_strdup(struct kc_arena *a, const char *s)
{
	size_t n = strlen(s) + 1;
	char *copy = kc_arena_alloc(a, n);

	return copy ? memcpy(copy, s, n) : NULL;
}

void kc_arena_release(struct kc_arena *a)
{
	for (struct kc_arena_block *b = a->blocks, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	a->blocks = NULL;
}
