/* Hides from a process what its processor has beyond AVX2, or, with HIDE=amx, its AMX alone, so that all runtimes are limited
 * alike:
 *
 *     cc -O2 -shared -fPIC -o hide.so benches/peers/hide.c
 *     HIDE=avx512 LD_PRELOAD=./hide.so python3 ...
 *
 * The kernel lets the instruction CPUID fault (arch_prctl(2), ARCH_CPUID); the handler asks the processor and leaves out what
 * should not be seen. It costs some microseconds for each question, which runtimes ask when they start, and nothing after.
 * A processor, or a virtual one, without this fault ends the process with a message. Threads inherit it; a program that is
 * executed starts anew, by LD_PRELOAD.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_CPUID 0x1012 /* <asm/prctl.h>: ARCH_SET_CPUID */

enum { FEATURES = 7, STATE = 0xD };

static struct sigaction others;
static int amx_alone;

static void allow(unsigned long allowed) {
    if (syscall(SYS_arch_prctl, ARCH_CPUID, allowed) != 0) {
        perror("hide.so: the instruction CPUID cannot be made to fault");
        _exit(1);
    }
}

/* What the processor says, less AMX (leaf 7: BF16, TILE, INT8; leaf 7.1: FP16, COMPLEX; its state), and less AVX-512 (leaf 7:
 * F, DQ, IFMA, PF, ER, CD, BW, VL; VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ; 4VNNIW, 4FMAPS, VP2INTERSECT, FP16; leaf 7.1: BF16,
 * AVX10; its state) and AVX-VNNI (leaf 7.1: itself, IFMA, INT8, INT16). */
static void answer(unsigned leaf, unsigned sub, unsigned *a, unsigned *b, unsigned *c, unsigned *d) {
    __cpuid_count(leaf, sub, *a, *b, *c, *d);
    if (leaf == FEATURES && sub == 0) {
        *d &= ~(1u << 22 | 1u << 24 | 1u << 25);
        if (amx_alone)
            return;
        *b &= ~(1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31);
        *c &= ~(1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14);
        *d &= ~(1u << 2 | 1u << 3 | 1u << 8 | 1u << 23);
    } else if (leaf == FEATURES && sub == 1) {
        *a &= ~(1u << 21);
        *d &= ~(1u << 8);
        if (amx_alone)
            return;
        *a &= ~(1u << 4 | 1u << 5 | 1u << 23);
        *d &= ~(1u << 4 | 1u << 5 | 1u << 10 | 1u << 19);
    } else if (leaf == STATE && sub == 0) {
        *a &= ~(3u << 17);
        if (!amx_alone)
            *a &= ~(7u << 5);
    }
}

static void on_fault(int number, siginfo_t *about, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *instruction = (const unsigned char *)registers[REG_RIP];
    if (about->si_code == SI_KERNEL && instruction[0] == 0x0F && instruction[1] == 0xA2) {
        unsigned a, b, c, d;
        allow(1);
        answer((unsigned)registers[REG_RAX], (unsigned)registers[REG_RCX], &a, &b, &c, &d);
        allow(0);
        registers[REG_RAX] = a, registers[REG_RBX] = b, registers[REG_RCX] = c, registers[REG_RDX] = d;
        registers[REG_RIP] += 2;
        return;
    }
    /* Not ours: what was there before, or the end. */
    if (others.sa_flags & SA_SIGINFO && others.sa_sigaction)
        return others.sa_sigaction(number, about, context);
    signal(number, SIG_DFL);
}

__attribute__((constructor)) static void hide(void) {
    const char *what = getenv("HIDE");
    amx_alone = what && strcmp(what, "amx") == 0;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &others);
    allow(0);
}
