#include "weights/seal.h"

#include "core/hash.h"
#include "core/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEAL "xxh64"

static uint64_t hash_text(const char *s, uint64_t seed)
{
	return kc_hash64(s, strlen(s), seed);
}

static uint64_t hash_entry(const char *key, const char *value)
{
	return hash_text(value, hash_text(key, 0));
}

static uint64_t hash_shape(const char *name, enum kc_st_dtype dtype, int ndim, const int64_t *dim)
{
	uint64_t seed = hash_text(kc_st_dtype_name(dtype), hash_text(name, 0));

	return kc_hash64(dim, (size_t)ndim * sizeof *dim, seed);
}

/* Metadata with the seal's entries behind the caller's n_meta. */
struct sealed {
	struct kc_st_pair *pairs;
	size_t n, borrowed;
	uint64_t digest;
};

static void sealed_release(struct sealed *s)
{
	for (size_t i = s->borrowed; i < s->n; i++) {
		free((void *)(uintptr_t)s->pairs[i].key);
		free((void *)(uintptr_t)s->pairs[i].value);
	}
	free(s->pairs);
}

static int add_sum(struct sealed *s, const char *key, uint64_t sum)
{
	struct kc_st_pair *p = &s->pairs[s->n++];

	p->key = kc_strdup(key);
	p->value = kc_format("%016llx", (unsigned long long)sum);
	return p->key && p->value ? 0 : KC_ENOMEM;
}

static int add_item(struct sealed *s, const struct kc_st_item *t, bool with_sums)
{
	char *key = kc_format(SEAL ".%s", t->name);
	size_t bytes = 0;
	int rc = key ? kc_st_item_bytes(t, &bytes) : KC_ENOMEM;

	if (rc >= 0)
		rc = add_sum(s, key, with_sums ? kc_hash64(t->data, bytes, 0) : 0);
	if (rc >= 0)
		s->digest += hash_shape(t->name, t->dtype, t->ndim, t->dim);
	free(key);
	return rc;
}

static int sealed_init(struct sealed *s, const struct kc_st_item *items, size_t n,
		       const struct kc_st_pair *meta, size_t n_meta, bool with_sums)
{
	*s = (struct sealed){.n = n_meta, .borrowed = n_meta};
	s->pairs = kc_calloc(n_meta + n + 1, sizeof *s->pairs);
	if (!s->pairs) {
		s->n = s->borrowed = 0;
		return KC_ENOMEM;
	}
	if (n_meta)
		memcpy(s->pairs, meta, n_meta * sizeof *meta);
	for (size_t i = 0; i < n; i++)
		KC_TRY(add_item(s, &items[i], with_sums));
	for (size_t i = 0; i < s->n; i++)
		s->digest += hash_entry(s->pairs[i].key, s->pairs[i].value);
	return add_sum(s, SEAL, s->digest);
}

int kc_seal_save(const char *path, const struct kc_st_item *items, size_t n,
		 const struct kc_st_pair *meta, size_t n_meta, uint64_t *digest)
{
	struct sealed s;
	int rc = sealed_init(&s, items, n, meta, n_meta, true);

	if (rc >= 0)
		rc = kc_st_save(path, items, n, s.pairs, s.n);
	if (rc >= 0 && digest)
		*digest = s.digest;
	sealed_release(&s);
	return rc;
}

int kc_seal_measure(const struct kc_st_item *items, size_t n, const struct kc_st_pair *meta,
		    size_t n_meta, uint64_t *bytes)
{
	struct sealed s;
	int rc = sealed_init(&s, items, n, meta, n_meta, false);

	if (rc >= 0)
		rc = kc_st_measure(items, n, s.pairs, s.n, bytes);
	sealed_release(&s);
	return rc;
}

static bool is_sum(const char *text, uint64_t sum)
{
	char expected[17];

	snprintf(expected, sizeof expected, "%016llx", (unsigned long long)sum);
	return text && !strcmp(text, expected);
}

static int check_tensor(const struct kc_st *f, const struct kc_st_tensor *t)
{
	char *key = kc_format(SEAL ".%s", t->name);
	bool good;

	if (!key)
		return KC_ENOMEM;
	good = is_sum(kc_st_meta(f, key), kc_hash64(t->data, t->bytes, 0));
	free(key);
	kc_map_forget(&f->map, t->data, t->bytes);
	if (!good)
		return KC_FAIL(KC_EFORMAT, "%s: tensor \"%s\" is damaged: its checksum differs",
			       f->path, t->name);
	return 0;
}

int kc_seal_check(const struct kc_st *f, uint64_t *digest)
{
	const char *seal = kc_st_meta(f, SEAL);
	uint64_t sum = 0;

	if (!seal)
		return 0;
	for (size_t i = 0; i < f->n; i++) {
		const struct kc_st_tensor *t = &f->tensors[i];

		KC_TRY(check_tensor(f, t));
		sum += hash_shape(t->name, t->dtype, t->ndim, t->dim);
	}
	for (const struct kc_json *v = f->meta->first; v; v = v->next)
		if (strcmp(v->key, SEAL))
			sum += hash_entry(v->key, v->text);
	if (!is_sum(seal, sum))
		return KC_FAIL(KC_EFORMAT, "%s: the header is damaged: its checksum differs",
			       f->path);
	if (digest)
		*digest = sum;
	return 1;
}
