#include "core/pickle_private.h"

#include <stdlib.h>
#include <string.h>

/* Values live in blocks that are freed together. */
struct kc_pickle_block {
	struct kc_pickle_block *next;
	size_t used, size;
	_Alignas(16) unsigned char bytes[];
};

void *kc_pickle_take(struct kc_pickle *p, size_t size)
{
	struct kc_pickle_block *b = p->blocks;
	size_t room;

	size = (size + 15) & ~(size_t)15;
	if (size > KC_PICKLE_MEMORY - p->memory) {
		KC_FAIL(KC_ENOMEM, "a pickle needs more than %d MB", KC_PICKLE_MEMORY >> 20);
		return NULL;
	}
	if (!b || b->size - b->used < size) {
		room = KC_MAX(size, b ? KC_MIN(2 * b->size, (size_t)1 << 20) : 1024);
		b = kc_alloc(sizeof *b + room);
		if (!b)
			return NULL;
		b->next = p->blocks;
		b->used = 0;
		b->size = room;
		p->blocks = b;
	}
	p->memory += size;
	b->used += size;
	return b->bytes + b->used - size;
}

struct kc_pickle_value *kc_pickle_new(struct kc_pickle *p, enum kc_pickle_type type)
{
	struct kc_pickle_value *v = kc_pickle_take(p, sizeof *v);

	if (v) {
		memset(v, 0, sizeof *v);
		v->type = type;
		v->spread = 1;
	}
	return v;
}

bool kc_pickle_holds_items(const struct kc_pickle_value *v)
{
	return v->type == KC_PICKLE_LIST || v->type == KC_PICKLE_TUPLE ||
	       v->type == KC_PICKLE_DICT || v->type == KC_PICKLE_OBJECT;
}

static int grow_items(struct kc_pickle *p, struct kc_pickle_value *v)
{
	size_t room = v->room ? 2 * v->room : 4;
	struct kc_pickle_value **item = kc_pickle_take(p, room * sizeof *item);

	if (!item)
		return KC_ENOMEM;
	if (v->n)
		memcpy(item, v->item, v->n * sizeof *item);
	v->item = item;
	v->room = room;
	return 0;
}

int kc_pickle_append(struct kc_pickle *p, struct kc_pickle_value *v, struct kc_pickle_value *item)
{
	if (!kc_pickle_holds_items(v))
		return KC_FAIL(KC_EFORMAT, "items are added to %s", kc_pickle_type_name(v->type));
	item->frozen = true;
	if (v->frozen)
		return KC_FAIL(KC_EFORMAT, "%s contains itself, or changes after it was used",
			       kc_pickle_type_name(v->type));
	if (item->depth >= KC_PICKLE_DEPTH)
		return KC_FAIL(KC_EFORMAT, "nested more than %d deep", KC_PICKLE_DEPTH);
	v->depth = (uint8_t)KC_MAX(v->depth, item->depth + 1);
	v->spread += item->spread;
	if (v->spread > 4096 + KC_PICKLE_SPREAD * (uint64_t)p->size)
		return KC_FAIL(KC_EFORMAT, "shared parts would unfold to %llu values or more",
			       (unsigned long long)v->spread);
	if (v->n == v->room)
		KC_TRY(grow_items(p, v));
	v->item[v->n++] = item;
	return 0;
}

struct kc_pickle_value *kc_pickle_get(const struct kc_pickle_value *dict, const char *key)
{
	if (dict->type != KC_PICKLE_DICT)
		return NULL;
	for (size_t i = dict->n; i >= 2; i -= 2) {
		const struct kc_pickle_value *k = dict->item[i - 2];

		if (k->type == KC_PICKLE_TEXT && k->n == strlen(key) && !memcmp(k->text, key, k->n))
			return dict->item[i - 1];
	}
	return NULL;
}

const char *kc_pickle_type_name(enum kc_pickle_type type)
{
	static const char *const names[] = {
		[KC_PICKLE_NONE] = "None", [KC_PICKLE_BOOL] = "a bool",
		[KC_PICKLE_INT] = "an integer", [KC_PICKLE_LONG] = "a long integer",
		[KC_PICKLE_REAL] = "a float", [KC_PICKLE_TEXT] = "text",
		[KC_PICKLE_BYTES] = "bytes", [KC_PICKLE_LIST] = "a list",
		[KC_PICKLE_TUPLE] = "a tuple", [KC_PICKLE_DICT] = "a dict",
		[KC_PICKLE_GLOBAL] = "a global", [KC_PICKLE_OBJECT] = "an object",
	};

	return names[type];
}

struct kc_pickle_value *kc_pickle_root(const struct kc_pickle *p)
{
	return p->root;
}

size_t kc_pickle_size(const struct kc_pickle *p)
{
	return p->end;
}

void kc_pickle_free(struct kc_pickle *p)
{
	if (!p)
		return;
	while (p->blocks) {
		struct kc_pickle_block *next = p->blocks->next;

		free(p->blocks);
		p->blocks = next;
	}
	free(p);
}
