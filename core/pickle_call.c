#include "core/pickle_private.h"

#include <stdlib.h>
#include <string.h>

/* A name from the file as it may appear in a message. */
static void printable(const char *s, size_t n, char out[static 64])
{
	size_t i;

	for (i = 0; i < n && i < 63; i++)
		out[i] = (unsigned char)s[i] < 32 || (unsigned char)s[i] > 126 ? '?' : s[i];
	out[i] = 0;
}

static int push_global(struct kc_pickle_reader *r, const char *module, size_t n, const char *name,
		       size_t m)
{
	char shown_module[64], shown_name[64], *full;
	struct kc_pickle_value *v;
	int code, rc;

	printable(module, n, shown_module);
	printable(name, m, shown_name);
	if (!r->hooks->global || n > 62 || m > 62)
		return KC_FAIL(KC_EFORMAT, "refuses to call %s.%s", shown_module, shown_name);
	rc = r->hooks->global(r->hooks->user, shown_module, shown_name, &code);
	if (rc < 0)
		return rc;
	full = kc_format("%s.%s", shown_module, shown_name);
	if (!full)
		return KC_ENOMEM;
	rc = kc_pickle_push_text(r, KC_PICKLE_GLOBAL, full, strlen(full));
	free(full);
	if (rc >= 0) {
		KC_TRY(kc_pickle_peek(r, 0, &v));
		v->code = code;
	}
	return rc;
}

static int read_global(struct kc_pickle_reader *r)
{
	const char *module, *name;
	size_t n, m;

	KC_TRY(kc_pickle_read_line(r, &module, &n));
	KC_TRY(kc_pickle_read_line(r, &name, &m));
	return push_global(r, module, n, name, m);
}

static int read_stack_global(struct kc_pickle_reader *r)
{
	struct kc_pickle_value *module, *name;

	KC_TRY(kc_pickle_pop(r, &name));
	KC_TRY(kc_pickle_pop(r, &module));
	if (module->type != KC_PICKLE_TEXT || name->type != KC_PICKLE_TEXT)
		return KC_FAIL(KC_EFORMAT, "the name of a global is not text");
	return push_global(r, module->text, module->n, name->text, name->n);
}

/* INST names what it calls in the file, whatever lies on the stack. */
static int refuse_inst(struct kc_pickle_reader *r)
{
	const char *module, *name;
	char shown_module[64], shown_name[64];
	size_t n, m;

	KC_TRY(kc_pickle_read_line(r, &module, &n));
	KC_TRY(kc_pickle_read_line(r, &name, &m));
	printable(module, n, shown_module);
	printable(name, m, shown_name);
	return KC_FAIL(KC_EFORMAT, "refuses to call %s.%s", shown_module, shown_name);
}

static int read_reduce(struct kc_pickle_reader *r)
{
	struct kc_pickle_value *callee, *args, *out = NULL;

	KC_TRY(kc_pickle_pop(r, &args));
	KC_TRY(kc_pickle_pop(r, &callee));
	if (callee->type != KC_PICKLE_GLOBAL)
		return KC_FAIL(KC_EFORMAT, "refuses to call %s",
			       kc_pickle_type_name(callee->type));
	if (args->type != KC_PICKLE_TUPLE)
		return KC_FAIL(KC_EFORMAT, "a tuple of arguments expected");
	if (!r->hooks->reduce)
		return KC_FAIL(KC_EFORMAT, "refuses to call %s", callee->text);
	KC_TRY(r->hooks->reduce(r->hooks->user, r->p, callee, args, &out));
	return kc_pickle_push(r, out);
}

static int read_build(struct kc_pickle_reader *r)
{
	struct kc_pickle_value *object, *state, *out = NULL;

	KC_TRY(kc_pickle_pop(r, &state));
	KC_TRY(kc_pickle_pop(r, &object));
	if (!r->hooks->build)
		return KC_FAIL(KC_EFORMAT, "refuses to set the state of %s",
			       kc_pickle_type_name(object->type));
	KC_TRY(r->hooks->build(r->hooks->user, r->p, object, state, &out));
	return kc_pickle_push(r, out);
}

static int read_persistent(struct kc_pickle_reader *r, bool in_line)
{
	struct kc_pickle_value *id, *out = NULL;
	const char *line;
	size_t n;

	if (in_line) {
		KC_TRY(kc_pickle_read_line(r, &line, &n));
		KC_TRY(kc_pickle_push_text(r, KC_PICKLE_TEXT, line, n));
	}
	KC_TRY(kc_pickle_pop(r, &id));
	if (!r->hooks->persistent)
		return KC_FAIL(KC_EFORMAT, "refuses a persistent id: this file has no storages");
	KC_TRY(r->hooks->persistent(r->hooks->user, r->p, id, &out));
	return kc_pickle_push(r, out);
}

int kc_pickle_read_call(struct kc_pickle_reader *r, unsigned char op)
{
	switch (op) {
	case 'c': return read_global(r);
	case 0x93: return read_stack_global(r);
	case 'R': case 0x81: return read_reduce(r);
	case 'b': return read_build(r);
	case 'P': return read_persistent(r, true);
	case 'Q': return read_persistent(r, false);

	case 'i': return refuse_inst(r);
	case 'o': return KC_FAIL(KC_EFORMAT, "refuses to make an object");
	case 0x92: return KC_FAIL(KC_EFORMAT, "refuses to call with keyword arguments");
	case 0x82: case 0x83: case 0x84:
		return KC_FAIL(KC_EFORMAT, "refuses a code of the extension registry");
	case 0x8f: case 0x90: case 0x91: return KC_FAIL(KC_EFORMAT, "refuses a set");
	case 0x96: return KC_FAIL(KC_EFORMAT, "refuses a bytearray");
	case 0x97: case 0x98: return KC_FAIL(KC_EFORMAT, "refuses an out-of-band buffer");
	}
	return KC_FAIL(KC_EFORMAT, "byte 0x%02x is no opcode of a pickle", op);
}
