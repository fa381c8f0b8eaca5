#include "core/pickle_private.h"

#include <ctype.h>
#include <string.h>

static int hex_value(const char *s, size_t n, unsigned *value)
{
	*value = 0;
	for (size_t i = 0; i < n; i++) {
		if (!isxdigit((unsigned char)s[i]))
			return KC_FAIL(KC_EFORMAT, "a bad escape in a string");
		*value = *value * 16 + (unsigned)(isdigit((unsigned char)s[i])
			 ? s[i] - '0' : (s[i] | 32) - 'a' + 10);
	}
	return 0;
}

static size_t put_utf8(char *out, unsigned c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | (c >> 18 & 7));
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* Protocol 0 text: Latin-1 with \uXXXX and \UXXXXXXXX.  UTF-8 never needs more than 2x. */
int kc_pickle_decode_unicode(const char *s, size_t n, char *out, size_t *out_n)
{
	*out_n = 0;
	for (size_t i = 0; i < n; i++) {
		unsigned c = (unsigned char)s[i];
		size_t digits = 0;

		if (c == '\\' && i + 1 < n)
			digits = s[i + 1] == 'u' ? 4 : s[i + 1] == 'U' ? 8 : 0;
		if (digits) {
			if (n - i < 2 + digits)
				return KC_FAIL(KC_EFORMAT, "a bad escape in a string");
			KC_TRY(hex_value(s + i + 2, digits, &c));
			i += 1 + digits;
		}
		*out_n += put_utf8(out + *out_n, c);
	}
	return 0;
}

/* Protocol 0 string: a quoted Python literal. */
int kc_pickle_decode_quoted(const char *s, size_t n, char *out, size_t *out_n)
{
	static const char from[] = "nrtabfv\\'\"", to[] = "\n\r\t\a\b\f\v\\'\"";

	if (n < 2 || (*s != '\'' && *s != '"') || s[n - 1] != *s)
		return KC_FAIL(KC_EFORMAT, "a string without its quotes");
	*out_n = 0;
	for (size_t i = 1; i < n - 1; i++) {
		const char *known;
		unsigned c = (unsigned char)s[i];

		if (c == '\\') {
			i++;
			known = i < n - 1 && s[i] ? strchr(from, s[i]) : NULL;
			if (known) {
				c = (unsigned char)to[known - from];
			} else if (n - 1 - i >= 3 && i < n - 1 && s[i] == 'x') {
				KC_TRY(hex_value(s + i + 1, 2, &c));
				i += 2;
			} else {
				return KC_FAIL(KC_EFORMAT, "a bad escape in a string");
			}
		}
		out[(*out_n)++] = (char)c;
	}
	return 0;
}
