/*
 * What the reading process may ask of the system.  Fuzzing finds ways to damage the memory of
 * libhdf5 within minutes, so whoever made a file may run code in there; such code can then read
 * files and fill the pipe, whose records are checked, and nothing else: no program is started,
 * no file written, no connection made, no page made executable.
 */
#include "weights/h5_private.h"

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#ifdef __x86_64__
#define ARCHITECTURE AUDIT_ARCH_X86_64
#else
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

/* Harmless calls; what else a library may try fails with EPERM. */
static const unsigned harmless[] = {
	SYS_read, SYS_pread64, SYS_readv, SYS_close, SYS_lseek, SYS_fstat, SYS_newfstatat,
	SYS_statx, SYS_flock, SYS_getcwd, SYS_readlinkat, SYS_faccessat, SYS_brk, SYS_munmap,
	SYS_mremap, SYS_madvise, SYS_futex, SYS_getrandom, SYS_clock_gettime, SYS_gettimeofday,
	SYS_getpid, SYS_gettid, SYS_getuid, SYS_geteuid, SYS_uname, SYS_sysinfo,
	SYS_sched_getaffinity, SYS_sched_yield, SYS_rt_sigaction, SYS_rt_sigprocmask,
	SYS_rt_sigreturn, SYS_sigaltstack, SYS_restart_syscall, SYS_exit, SYS_exit_group,
#ifdef SYS_open
	SYS_stat, SYS_lstat, SYS_readlink, SYS_access,
#endif
};

enum {
	ROOM = 128,
	WRITES = O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND
};

struct program {
	struct sock_filter v[ROOM];
	unsigned short n;
};

static void put(struct program *p, struct sock_filter op)
{
	KC_ASSERT(p->n < ROOM);
	p->v[p->n++] = op;
}

static void load(struct program *p, size_t offset)
{
	put(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offset));
}

/* The low half of an argument, which is the first one on these machines. */
static void load_argument(struct program *p, int i)
{
	load(p, offsetof(struct seccomp_data, args) + 8 * (size_t)i);
}

static void allow(struct program *p)
{
	put(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
}

static void refuse(struct program *p)
{
	put(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
}

/* Allowed when argument i has none of the bits. */
static void allow_without(struct program *p, unsigned call, int i, unsigned bits)
{
	put(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 4));
	load_argument(p, i);
	put(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1));
	refuse(p);
	allow(p);
}

/* Allowed on one file. */
static void allow_on(struct program *p, unsigned call, int fd)
{
	put(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 4));
	load_argument(p, 0);
	put(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)fd, 1, 0));
	refuse(p);
	allow(p);
}

bool kc_h5_confine(int fd)
{
	struct program p = {.n = 0};
	struct sock_fprog whole = {.filter = p.v};

	load(&p, offsetof(struct seccomp_data, arch));
	put(&p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0));
	refuse(&p);
	load(&p, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < KC_COUNT(harmless); i++) {
		put(&p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, harmless[i], 0, 1));
		allow(&p);
	}
	allow_on(&p, SYS_write, fd);
	allow_without(&p, SYS_mmap, 2, PROT_EXEC);
	allow_without(&p, SYS_mprotect, 2, PROT_EXEC);
	allow_without(&p, SYS_openat, 2, WRITES);
#ifdef SYS_open
	allow_without(&p, SYS_open, 1, WRITES);
#endif
	refuse(&p);
	whole.len = p.n;
	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole);
}

#else

bool kc_h5_confine(int fd)
{
	(void)fd;
	return false;
}

#endif
