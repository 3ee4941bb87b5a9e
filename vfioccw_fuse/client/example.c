/*
 * example: the smallest VMM there is. It gives a subchannel memory of its own, reads the Sense ID of
 * the device there, and halts and clears a program that does not end.
 *
 *     gcc -std=c11 -o example example.c && ./example /tmp/m/0.0.0313
 */
#include "vfioccw.h"

#include <stdlib.h>

enum { SIZE = 1 << 20, PROGRAM = 0x1000, DATA = 0x2000, COUNT = 20, WITHIN_MS = 5000 };
enum { SENSE_ID = 0xe4, SLI = 0x20, CHANNEL_AND_DEVICE_END = 0x0c };

static struct vfioccw sch;

static int fail(void)
{
    fprintf(stderr, "example: %s\n", sch.error);
    vfioccw_close(&sch);
    return 1;
}

int main(int argc, char **argv)
{
    static uint8_t memory[SIZE] __attribute__((aligned(4096)));
    uint8_t orb[VFIOCCW_ORB];
    struct vfioccw_irb irb;
    int within = argc > 2 ? atoi(argv[2]) : WITHIN_MS, found;

    if (argc < 2) {
        fprintf(stderr, "example: name a subchannel, such as /tmp/m/0.0.0313\n");
        return 2;
    }
    if (vfioccw_open(&sch, argv[1]) || vfioccw_map(&sch, 0, SIZE, memory))
        return fail();
    vfioccw_ccw(memory + PROGRAM, SENSE_ID, SLI, COUNT, DATA);
    vfioccw_orb(orb, PROGRAM);
    if (vfioccw_start(&sch, orb))
        return fail();
    found = vfioccw_conclude(&sch, VFIOCCW_FCTL_START, &irb, within);
    if (found == 0) {
        printf("no interruption within %d ms: it is halted\n", within);
        if (vfioccw_halt(&sch) && vfioccw_clear(&sch))
            return fail();
        found = vfioccw_conclude(&sch, VFIOCCW_FCTL_HALT, &irb, WITHIN_MS);
    }
    if (found < 0)
        return fail();
    printf("dstat %02x cstat %02x:", irb.dstat, irb.cstat);
    for (int at = 0; irb.dstat == CHANNEL_AND_DEVICE_END && at < COUNT - irb.count; at++)
        printf(" %02x", memory[DATA + at]);
    printf("\n");
    vfioccw_close(&sch);
    return irb.dstat != CHANNEL_AND_DEVICE_END || irb.cstat;
}
