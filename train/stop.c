#include "train/stop.h"

#include "core/base.h"

#include <signal.h>
#include <unistd.h>

static volatile sig_atomic_t asked;

static void on_signal(int sig)
{
	if (sig == SIGINT && asked == KC_EXIT_INTERRUPTED)
		_exit(KC_EXIT_INTERRUPTED);
	asked = sig == SIGINT ? KC_EXIT_INTERRUPTED : KC_EXIT_RETRY;
}

void kc_stop_install(void)
{
	const int signals[] = {SIGINT, SIGTERM, SIGUSR1};
	struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	sigemptyset(&a.sa_mask);
	for (size_t i = 0; i < KC_COUNT(signals); i++)
		sigaction(signals[i], &a, NULL);
}

int kc_stop_asked(void)
{
	return asked;
}
