/* The lines of the checks, one for each: PASS or FAIL, topic, what, and what is wrong. */
#ifndef REPORT_H
#define REPORT_H

#include "machine.h"

/* What stands between the checks and the device that they judge. */
enum {
        VIRTUAL = 1,            /* it is QEMU's own: hw/s390x/css.c interprets the program */
        FULL = 2,               /* QEMU and the mount, whose interface is full */
        ASYNC = 4,              /* or async, which answers as Linux's vfio_ccw does */
        /* QEMU passes the subchannel on: hw/s390x/css.c, hw/vfio/ccw.c, hw/intc/s390_flic.c. Of
           XSCH, RSCH, MSCH, STSCH and TSCH nothing gets beyond them but the paths of STSCH. */
        PASSED = FULL | ASYNC,
};

extern unsigned place;          /* one of them */
extern const char *topic;       /* of the checks that follow */
extern const char *because;     /* of the next check: the function that has its own way */
extern unsigned checks, failures;

/* Whether we are at one of *places*: then *function* has its own way, and the next line names it. */
bool by(unsigned places, const char *function);

/* Begin the line of a check; what is wrong and the end of the line are the caller's. */
bool begin_check(const char *what, bool passed);

void check(const char *what, u32 got, u32 wanted);
/* The answer of an instruction: its condition code, or a program interruption. */
void answers(const char *what, int got, int wanted);
void same(const char *what, const u8 *got, const u8 *wanted, u32 size);

/* What a SCSW must be; what the manual leaves open is not looked at. */
struct status {
        struct scsw scsw;
        struct scsw open;       /* bits that may be anything */
};

#define ANY_FLAGS .open.flags = 0xffff
#define ANY_CPA .open.cpa = 0xffffffff
#define ANY_DSTAT .open.dstat = 0xff
#define ANY_COUNT .open.count = 0xffff

/* Field by field, so that the line names those that differ. */
void status_is(const char *what, const struct scsw *got, struct status wanted);

#endif
