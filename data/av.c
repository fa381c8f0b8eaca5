#include "data/av.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <libavutil/error.h>
#include <libavutil/log.h>

static _Thread_local char last_error[256];

static void keep_error(void *context, int level, const char *fmt, va_list args)
{
	size_t n;

	(void)context;
	if (level > AV_LOG_ERROR)
		return;
	vsnprintf(last_error, sizeof last_error, fmt, args);
	for (n = strlen(last_error); n && last_error[n - 1] == '\n'; n--)
		last_error[n - 1] = 0;
}

static void install(void)
{
	av_log_set_callback(keep_error);
}

void kc_av_begin(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, install);
	last_error[0] = 0;
}

int kc_av_fail(int err, int averr, const char *what)
{
	char text[AV_ERROR_MAX_STRING_SIZE];

	if (last_error[0])
		return KC_FAIL(err, "%s: %s", what, last_error);
	av_strerror(averr, text, sizeof text);
	return KC_FAIL(err, "%s: %s", what, text);
}
