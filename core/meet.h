/*
 * How processes find each other over TCP: rank 0 listens at an address that all know, hears from
 * every other one where it listens, and tells all of them; then each pair has a connection.
 */
#ifndef KC_CORE_MEET_H
#define KC_CORE_MEET_H

/*
 * fd[i] becomes the connection to rank i, -1 for the caller itself; they are its to close.  host
 * and port are rank 0's.  KC_EBACKEND when the others do not come within 60 s, or the port is
 * taken; KC_ECONFIG when they were started with other numbers.
 */
int kc_meet(int rank, int size, const char *host, const char *port, int *fd);

#endif
