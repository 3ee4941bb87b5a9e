/* The machine under the checks: console, interruptions, I/O instructions.
 *
 * Layouts, codes and bits are those of the z/Architecture Principles of Operation: chapter 4
 * (PSW, interruptions), 14 (instructions, SCHIB), 15 (ORB, CCW), 16 (IRB).
 */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

struct ccw {                    /* format 1 */
        u8 code, flags;
        u16 count;
        u32 data;
} __attribute__((aligned(8)));

#define CD 0x80                 /* chain data */
#define CC 0x40                 /* chain command */
#define SLI 0x20                /* suppress length indication */
#define SKIP 0x10
#define PCI 0x08                /* program-controlled interruption */
#define IDA 0x04                /* indirect data addressing */
#define SUSPEND 0x02
#define MIDA 0x01               /* modified indirect data addressing */

struct orb {
        u32 parameter;
        u16 ctrl0;
        u8 lpm, ctrl1;
        u32 cpa;
        u32 extension[5];
} __attribute__((aligned(4)));

/* ORB and, in the same places, SCSW. */
#define KEY(key) ((key) << 12)
#define S 0x0800                /* suspend control */
#define F 0x0080                /* format 1 */
#define P 0x0040                /* prefetch */
#define I 0x0020                /* initial-status interruption */
#define U 0x0008                /* suppress suspended interruption */
/* ORB only. */
#define H 0x0002                /* format-2 IDAWs */
#define T 0x0001                /* of 2K */
/* SCSW only. */
#define Z 0x0004                /* zero condition code */

struct scsw {
        u16 flags, ctrl;
        u32 cpa;
        u8 dstat, cstat;
        u16 count;
};

#define F_START 0x4000          /* function control */
#define F_HALT 0x2000
#define F_CLEAR 0x1000
#define RESUME_PENDING 0x0800   /* activity control */
#define START_PENDING 0x0400
#define SUBCHANNEL_ACTIVE 0x0080
#define DEVICE_ACTIVE 0x0040
#define SUSPENDED 0x0020
#define ALERT 0x0010            /* status control */
#define INTERMEDIATE 0x0008
#define PRIMARY 0x0004
#define SECONDARY 0x0002
#define PENDING 0x0001

#define CE 0x08                 /* device status */
#define DE 0x04
#define UC 0x02
#define UX 0x01
#define C_PCI 0x80              /* subchannel status */
#define C_LENGTH 0x40
#define C_PROGRAM 0x20
#define C_PROTECTION 0x10

struct irb {
        struct scsw scsw;
        u32 esw[5];
        u32 ecw[8];
        u32 emw[8];
} __attribute__((aligned(4)));

struct schib {
        u32 parameter;
        u16 flags;
        u16 device;
        u8 lpm, pnom, lpum, pim;
        u16 mbi;
        u8 pom, pam;
        u8 chpid[8];
        u32 characteristics;
        struct scsw scsw;
        u8 dependent[12];
} __attribute__((aligned(4)));

#define ISC(isc) ((isc) << 11)
#define LIMIT_RESERVED 0x0060   /* limit mode 3 */
#define ENABLED 0x0080
#define VALID 0x0001            /* device number valid */

/* What an instruction gives besides its condition code: minus the program-interruption code. */
#define ADDRESSING (-5)
#define SPECIFICATION (-6)
#define OPERAND (-21)

int ssch(u32 sch, const struct orb *orb);
int tsch(u32 sch, struct irb *irb);
int stsch(u32 sch, struct schib *schib);
int msch(u32 sch, const struct schib *schib);
int hsch(u32 sch);
int csch(u32 sch);
int rsch(u32 sch);
int xsch(u32 sch);

struct interruption {           /* as stored at 184 */
        u32 sch, parameter, word;
};

/* Take the I/O interruption that is pending or comes within *milliseconds*; whether one did. */
bool interrupted(struct interruption *code, u32 milliseconds);

void machine_begins(void);
void print(const char *text);
void print_hex(u32 value, int digits);
void print_decimal(u32 value);
/* Wait until a line was typed. */
void await_line(void);
_Noreturn void stop(void);

extern const char parameters[];

#endif
