/*
 * YAML files as a flat list of "section.key" and value text, in the order of the file.
 *
 * What configurations need and no more: nested mappings, scalars, lists of scalars,
 * comments, and the tags of the core schema (!!float 5e-5).  Refused: anchors and aliases,
 * other tags, duplicate keys, lists of lists or mappings, several documents, more than
 * KC_YAML_DEPTH levels, KC_YAML_ENTRIES keys or KC_YAML_BYTES bytes.
 */
#ifndef KC_TRAIN_YAML_H
#define KC_TRAIN_YAML_H

#include "core/base.h"

enum { KC_YAML_DEPTH = 8, KC_YAML_ENTRIES = 1000, KC_YAML_BYTES = 1 << 20 };

struct kc_yaml_entry {
	char *key;      /* "datasets.train.name" */
	char *text;     /* the scalar, or "[a, b]" for a list; "~" where nothing stands */
	size_t line;    /* of the key, from 1 */
};

struct kc_yaml {
	struct kc_yaml_entry *v;
	size_t n;
};

/*
 * KC_EFORMAT with "name:line: what is wrong".  On success the caller releases; on failure
 * nothing is held.
 */
int kc_yaml_parse(const char *name, const char *text, size_t len, struct kc_yaml *);
int kc_yaml_load(const char *path, struct kc_yaml *);
void kc_yaml_release(struct kc_yaml *);

#endif
