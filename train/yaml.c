#include "train/yaml.h"

#include "core/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct reader {
	yaml_parser_t parser;
	yaml_event_t event;     /* the current one */
	bool has_event;
	const char *name;
	struct kc_yaml *out;
	int depth;
};

static int fail(const struct reader *in, size_t line, const char *what)
{
	return KC_FAIL(KC_EFORMAT, "%s:%zu: %s", in->name, line, what);
}

static size_t line_of(const struct reader *in)
{
	return in->event.start_mark.line + 1;
}

static int fail_here(const struct reader *in, const char *what)
{
	return fail(in, line_of(in), what);
}

static int next_event(struct reader *in)
{
	const yaml_parser_t *p = &in->parser;

	if (in->has_event)
		yaml_event_delete(&in->event);
	in->has_event = yaml_parser_parse(&in->parser, &in->event);
	if (in->has_event)
		return 0;
	if (p->error == YAML_MEMORY_ERROR)
		return KC_FAIL(KC_ENOMEM, "%s: out of memory", in->name);
	if (p->error == YAML_READER_ERROR)
		return KC_FAIL(KC_EFORMAT, "%s: byte %zu: %s", in->name, p->problem_offset,
			       p->problem ? p->problem : "unreadable");
	return fail(in, p->problem_mark.line + 1, p->problem ? p->problem : "not YAML");
}

static bool is_plain_tag(const yaml_char_t *tag)
{
	static const char *const known[] = {"float", "int", "str", "bool", "null", "seq", "map"};
	static const char prefix[] = "tag:yaml.org,2002:";
	const char *text = (const char *)tag;

	if (strncmp(text, prefix, sizeof prefix - 1) != 0)
		return false;
	for (size_t i = 0; i < KC_COUNT(known); i++)
		if (strcmp(text + sizeof prefix - 1, known[i]) == 0)
			return true;
	return false;
}

/* Anchors, aliases and foreign tags have no place in a configuration. */
static int check_event(const struct reader *in)
{
	const yaml_event_t *e = &in->event;
	const yaml_char_t *anchor = NULL, *tag = NULL;

	switch (e->type) {
	case YAML_ALIAS_EVENT:
		return fail_here(in, "aliases (*name) are not supported");
	case YAML_SCALAR_EVENT:
		anchor = e->data.scalar.anchor;
		tag = e->data.scalar.tag;
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = e->data.sequence_start.anchor;
		tag = e->data.sequence_start.tag;
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = e->data.mapping_start.anchor;
		tag = e->data.mapping_start.tag;
		break;
	default:
		return 0;
	}
	if (anchor)
		return fail_here(in, "anchors (&name) are not supported");
	if (tag && !is_plain_tag(tag))
		return fail_here(in, "unknown tag");
	return 0;
}

static int next_checked(struct reader *in)
{
	KC_TRY(next_event(in));
	return check_event(in);
}

/* The scalar of the current event as text; NUL characters cannot be kept. */
static int scalar_text(const struct reader *in, const char **text)
{
	*text = (const char *)in->event.data.scalar.value;
	if (strlen(*text) != in->event.data.scalar.length)
		return fail_here(in, "NUL character in a value");
	if (!**text && in->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		*text = "~";
	return 0;
}

/* Takes key and text, also when it fails. */
static int append(struct reader *in, char *key, char *text, size_t line)
{
	struct kc_yaml *out = in->out;
	struct kc_yaml_entry *more = NULL;
	int rc = KC_ENOMEM;

	if (out->n >= KC_YAML_ENTRIES)
		rc = fail(in, line, "too many keys");
	else
		more = kc_realloc(out->v, out->n + 1, sizeof *more);
	for (size_t i = 0; more && i < out->n; i++)
		if (key && strcmp(more[i].key, key) == 0)
			rc = KC_FAIL(KC_EFORMAT, "%s:%zu: duplicate key '%.100s', first in line "
				     "%zu", in->name, line, key, more[i].line);
	if (more)
		out->v = more;
	if (!more || !key || !text || rc == KC_EFORMAT) {
		free(key);
		free(text);
		return rc;
	}
	out->v[out->n++] = (struct kc_yaml_entry){key, text, line};
	return 0;
}

/* "[a, b]" from the scalars up to the end of the sequence. */
static int read_sequence(struct reader *in, FILE *out)
{
	const char *text, *comma = "";

	fputc('[', out);
	for (;;) {
		KC_TRY(next_checked(in));
		if (in->event.type == YAML_SEQUENCE_END_EVENT)
			break;
		if (in->event.type != YAML_SCALAR_EVENT)
			return fail_here(in, "a list may hold only plain values");
		KC_TRY(scalar_text(in, &text));
		fprintf(out, "%s%s", comma, text);
		comma = ", ";
	}
	fputc(']', out);
	return 0;
}

static int read_list(struct reader *in, char **text)
{
	size_t n;
	FILE *out = open_memstream(text, &n);
	int rc;

	if (!out)
		return KC_FAIL(KC_ENOMEM, "%s: out of memory", in->name);
	rc = read_sequence(in, out);
	if (fclose(out) != 0 && rc == 0)
		rc = KC_FAIL(KC_ENOMEM, "%s: out of memory", in->name);
	if (rc < 0) {
		free(*text);
		*text = NULL;
	}
	return rc;
}

static int read_mapping(struct reader *in, const char *prefix);

/* The value of `key`, which it takes. */
static int read_value(struct reader *in, char *key, size_t line)
{
	const char *text;
	char *copy = NULL;
	int rc = next_checked(in);

	if (rc == 0 && in->event.type == YAML_MAPPING_START_EVENT) {
		rc = read_mapping(in, key);
		free(key);
		return rc;
	}
	if (rc == 0 && in->event.type == YAML_SEQUENCE_START_EVENT) {
		rc = read_list(in, &copy);
	} else if (rc == 0) {
		rc = scalar_text(in, &text);
		copy = rc == 0 ? kc_strdup(text) : NULL;
	}
	if (rc < 0) {
		free(key);
		return rc;
	}
	return append(in, key, copy, line);
}

/* Behind the start of a mapping, up to its end. */
static int read_mapping(struct reader *in, const char *prefix)
{
	const char *text;

	if (++in->depth > KC_YAML_DEPTH)
		return fail_here(in, "nested too deeply");
	for (;;) {
		size_t line;
		char *key;

		KC_TRY(next_checked(in));
		if (in->event.type == YAML_MAPPING_END_EVENT)
			break;
		if (in->event.type != YAML_SCALAR_EVENT)
			return fail_here(in, "a key must be a plain name");
		KC_TRY(scalar_text(in, &text));
		line = line_of(in);
		key = *prefix ? kc_format("%s.%s", prefix, text) : kc_strdup(text);
		if (!key)
			return KC_ENOMEM;
		KC_TRY(read_value(in, key, line));
	}
	in->depth--;
	return 0;
}

static int read_stream(struct reader *in)
{
	KC_TRY(next_event(in));         /* the stream starts */
	KC_TRY(next_event(in));
	if (in->event.type == YAML_STREAM_END_EVENT)
		return 0;
	KC_TRY(next_checked(in));       /* behind the start of the document */
	if (in->event.type == YAML_SCALAR_EVENT && !in->event.data.scalar.length)
		KC_TRY(next_event(in));
	else if (in->event.type != YAML_MAPPING_START_EVENT)
		return fail_here(in, "expected sections and keys");
	else {
		KC_TRY(read_mapping(in, ""));
		KC_TRY(next_event(in)); /* the document ends */
	}
	KC_TRY(next_event(in));
	return in->event.type == YAML_STREAM_END_EVENT ? 0
		: fail_here(in, "a second document is not supported");
}

int kc_yaml_parse(const char *name, const char *text, size_t len, struct kc_yaml *out)
{
	struct reader in = {.name = name, .out = out};
	int rc;

	*out = (struct kc_yaml){0};
	if (!yaml_parser_initialize(&in.parser))
		return KC_FAIL(KC_ENOMEM, "%s: out of memory", name);
	yaml_parser_set_input_string(&in.parser, (const unsigned char *)text, len);
	rc = read_stream(&in);
	if (in.has_event)
		yaml_event_delete(&in.event);
	yaml_parser_delete(&in.parser);
	if (rc < 0)
		kc_yaml_release(out);
	return rc;
}

int kc_yaml_load(const char *path, struct kc_yaml *out)
{
	char *text;
	size_t len;
	int rc;

	*out = (struct kc_yaml){0};
	KC_TRY(kc_file_read(path, KC_YAML_BYTES, &text, &len));
	rc = kc_yaml_parse(path, text, len, out);
	free(text);
	return rc;
}

void kc_yaml_release(struct kc_yaml *yaml)
{
	for (size_t i = 0; i < yaml->n; i++) {
		free(yaml->v[i].key);
		free(yaml->v[i].text);
	}
	free(yaml->v);
	*yaml = (struct kc_yaml){0};
}
