/* What must end the process: run in a child of the test. */
#ifndef KC_TESTS_FAULT_H
#define KC_TESTS_FAULT_H

#include "tests/test.h"

/* f must end its process with a status that is not 0, and say those words on stderr. */
void kc_test_fault(void (*f)(void), const char *words);

#endif
