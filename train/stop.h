/*
 * When a run is asked to end: SIGTERM, SIGUSR1 and the first SIGINT let the step finish and
 * a checkpoint be written; a second SIGINT ends the process at once.
 */
#ifndef KC_TRAIN_STOP_H
#define KC_TRAIN_STOP_H

/* Exit statuses of programs. */
enum {
	KC_EXIT_FAILED = 1,
	KC_EXIT_RETRY = 2,              /* stopped by the system, saved: start again to go on */
	KC_EXIT_INTERRUPTED = 130
};

void kc_stop_install(void);
/* 0 while nobody asked; else the exit status to end with. */
int kc_stop_asked(void);

#endif
