/* What a program sees of one subchannel, from before it is enabled until it is disabled again.
 *
 * What is wanted is what the Principles of Operation say: chapter 14 (instructions), 15 (functions,
 * CCWs), 16 (interruptions, IRB). Where something between us and the device has its own way, `by`
 * says which function it is.
 */
#include "machine.h"
#include "report.h"

static struct {
        const char *name;
        u8 sense_id[7];
        u16 sense_id_size;      /* how much there is of it */
        u16 sense_size;         /* of Basic Sense */
        u8 read;                /* a command that gives the data of the parameters */
        u16 read_count;         /* how much of it */
} kinds[] = {
        {"fba", {0xff, 0x63, 0x10, 0x01, 0x93, 0x36, 0x00}, 7, 24, 0x02, 24},
        {"3390", {0xff, 0x21, 0x07, 0xe8, 0x33, 0x90, 0x0c}, 24, 32, 0x02, 24},
        {"tape", {0xff, 0x34, 0x90, 0x50, 0x34, 0x90, 0x50}, 7, 32, 0x02, 24},
        {"virtio", {0xff, 0x38, 0x32, 0x01, 0x00, 0x00, 0x00}, 256, 32, 0x22, 6},
}, *kind;

#define NUMBER 0x1234           /* of the device */
#define FIRST 0x00010000        /* subchannel 0 of set 0 */
static u32 sch;

/* fctl, actl and stctl of the SCHIB. */
static void state_is(const char *what, u16 ctrl)
{
        struct schib schib;

        stsch(sch, &schib);
        check(what, schib.scsw.ctrl, ctrl);
}

#define ENDED (F_START | PRIMARY | SECONDARY | PENDING)

/* --- programs -------------------------------------------------------------------------------- */

static struct ccw program[8];
static u8 data[8192] __attribute__((aligned(4096)));
static u8 wanted_data[24];
static void *const nowhere = (void *)0x70000000;        /* no storage so far up */
static u32 parameter = 0xc0ffee00;
static struct irb irb;
static union {
        u32 narrow[2];
        u64 wide[2];
} list;                         /* of IDAWs */

static u32 at(const void *place)
{
        return (u32)(u64)place;
}

static void fill(u8 value)
{
        for (u32 i = 0; i < sizeof data; i++)
                data[i] = value;
}

static struct orb orb_of(u16 ctrl0, u32 cpa)
{
        return (struct orb){.parameter = ++parameter, .ctrl0 = ctrl0, .lpm = 0xff, .cpa = cpa};
}

static int start(u16 ctrl0, u32 cpa)
{
        struct orb orb = orb_of(ctrl0, cpa);

        asm volatile("" : : : "memory");
        return ssch(sch, &orb);
}

static void nop(int place, u8 flags)
{
        program[place] = (struct ccw){0x03, flags | SLI, 1, at(data)};
}

static void sense_id(int place, u8 flags, u16 count)
{
        program[place] = (struct ccw){0xe4, flags, count, at(data)};
}

/* --- interruptions --------------------------------------------------------------------------- */

enum { LONG = 30000, SHORT = 20 };      /* milliseconds: what must come; what must not */
static u8 isc = 3;

static void interruption_comes(const char *what)
{
        struct interruption got, wanted = {sch, parameter, (u32)isc << 27};

        if (interrupted(&got, LONG))
                same(what, (u8 *)&got, (u8 *)&wanted, sizeof got);
        else {
                begin_check(what, false);
                print(": none came\n");
        }
}

static void nothing_comes(const char *what)
{
        struct interruption got;

        check(what, interrupted(&got, SHORT), false);
}

/* Interruption, TSCH, and nothing behind it. */
static void ends(struct status wanted)
{
        const char *reason = because;   /* it is the status that has it */

        because = NULL;
        interruption_comes("interruption");
        answers("tsch", tsch(sch, &irb), 0);
        because = reason;
        status_is("scsw", &irb.scsw, wanted);
        answers("tsch again", tsch(sch, &irb), 1);
        nothing_comes("no second interruption");
}

/* What halt and clear end with: nothing else means something. */
static struct status after(u16 functions)
{
        return (struct status){{.ctrl = functions | PENDING}, ANY_FLAGS, ANY_CPA, ANY_COUNT};
}

/* CSCH, and the subchannel is idle again. */
static void cleared(void)
{
        answers("csch", csch(sch), 0);
        ends(after(F_CLEAR));
        state_is("idle after clear", 0);
}

/* What the flags of a SCSW are while *ctrl0* of the ORB holds. */
static u16 flags_of(u16 ctrl0)
{
        return by(VIRTUAL, "sch_handle_start_func_virtual sets F alone") ? ctrl0 & F : ctrl0;
}

/* What all programs end with that end well: *last* is the last CCW, *count* the residual count. */
static struct status well(u16 ctrl0, const struct ccw *last, u16 count)
{
        return (struct status){{flags_of(ctrl0), ENDED, at(last + 1), CE | DE, 0, count}, {}};
}

/* The end that QEMU makes up where the mount answers EINVAL or EFAULT. */
static struct status made_up(u32 cpa)
{
        because = "sch_gen_unit_exception";
        return (struct status){{.ctrl = ENDED | ALERT | START_PENDING, .cpa = cpa, .dstat = UX},
                               ANY_FLAGS, ANY_COUNT, .open.cstat = 0xff};
}

static void run(u16 ctrl0)
{
        answers("ssch", start(ctrl0, at(program)), 0);
}

/* --- the checks, in the order of a subchannel's life ----------------------------------------- */

static const char *const names[] = {"ssch", "tsch", "hsch", "csch", "rsch", "xsch"};

static int execute(int instruction, u32 on)
{
        static struct orb orb;

        switch (instruction) {
        case 0:
                orb = orb_of(F, at(program));
                return ssch(on, &orb);
        case 1:
                return tsch(on, &irb);
        case 2:
                return hsch(on);
        case 3:
                return csch(on);
        case 4:
                return rsch(on);
        default:
                return xsch(on);
        }
}

static void all_answer(u32 on, int wanted)
{
        for (int i = 0; i < 6; i++)
                answers(names[i], execute(i, on), wanted);
}

static void finding(void)
{
        struct schib schib;

        topic = "finding";
        /* Channel subsystem fe is the one that a program sees which asks for no other. */
        for (sch = FIRST; stsch(sch, &schib) == 0; sch++)
                if (schib.flags & VALID && schib.device == NUMBER)
                        break;
        check("device number", schib.device, NUMBER);
        answers("stsch", stsch(sch, &schib), 0);
        check("not enabled", schib.flags & ENABLED, 0);
        check("available paths are installed", schib.pam & ~schib.pim, 0);
        check("a path is available", schib.pam != 0, true);
        check("no function", schib.scsw.ctrl, 0);
        answers("stsch behind the last", stsch(sch + 1, &schib), 3);
}

static void not_there(void)
{
        struct schib schib = {.flags = ENABLED};

        topic = "subchannel that is not there";
        all_answer(FIRST | 0xffff, 3);
        answers("stsch", stsch(FIRST | 0xffff, &schib), 3);
        answers("msch", msch(FIRST | 0xffff, &schib), 3);
}

static void operands(void)
{
        struct schib schib;
        struct orb orb = orb_of(F, at(program));
        u8 *odd = (u8 *)&schib + 2;

        topic = "subchannel id without a one in bit 47";
        all_answer(0, OPERAND);
        answers("stsch", stsch(0, &schib), OPERAND);
        answers("msch", msch(0, &schib), OPERAND);
        topic = "operand not on a word boundary";
        answers("ssch", ssch(sch, (void *)((u8 *)&orb + 2)), SPECIFICATION);
        answers("tsch", tsch(sch, (void *)((u8 *)&irb + 2)), SPECIFICATION);
        answers("stsch", stsch(sch, (void *)odd), SPECIFICATION);
        answers("msch", msch(sch, (void *)odd), SPECIFICATION);
        topic = "operand not in storage";
        answers("ssch", ssch(sch, nowhere), ADDRESSING);
        answers("tsch", tsch(sch, nowhere), ADDRESSING);
        answers("stsch", stsch(sch, nowhere), ADDRESSING);
        answers("msch", msch(sch, nowhere), ADDRESSING);
        topic = "orb";
        orb.cpa |= 0x80000000;
        answers("cpa with a one in bit 0", ssch(sch, &orb), OPERAND);
        orb = orb_of(F, at(program));
        orb.ctrl1 = 0x20;
        answers("one in a reserved bit", ssch(sch, &orb), OPERAND);
        topic = "schib";
        stsch(sch, &schib);
        schib.flags |= 0x8000;
        answers("one in a reserved bit", msch(sch, &schib), OPERAND);
        stsch(sch, &schib);
        schib.flags |= LIMIT_RESERVED;
        answers("limit mode 3", msch(sch, &schib),
                by(VIRTUAL | PASSED, "ioinst_schib_valid") ? 0 : OPERAND);
}

static void modify(u16 flags, u32 characteristics)
{
        struct schib schib;

        stsch(sch, &schib);
        schib.parameter = parameter = 0x11223344;
        schib.flags = flags;
        schib.lpm = 0xff;
        schib.characteristics = characteristics;
        answers("msch", msch(sch, &schib), 0);
        stsch(sch, &schib);
        check("flags", schib.flags, flags | VALID);
        check("interruption parameter", schib.parameter, parameter);
        check("logical-path mask", schib.lpm, 0xff);
}

static void enabling(void)
{
        topic = "not enabled";
        all_answer(sch, 3);
        topic = "enabling";
        modify(ENABLED | ISC(isc), 0);
}

static void idle(void)
{
        topic = "idle";
        answers("tsch", tsch(sch, &irb), 1);
        check("no function, activity or status", irb.scsw.ctrl, 0);
        answers("rsch", rsch(sch), 2);
        answers("xsch", xsch(sch), 2);
        nothing_comes("no interruption");
        topic = "halt of an idle subchannel";
        answers("hsch", hsch(sch), 0);
        struct status wanted = after(F_HALT);
        if (by(VIRTUAL, "sch_handle_halt_func"))
                wanted.scsw.dstat = DE;
        ends(wanted);
        state_is("idle after it", 0);
        topic = "clear of an idle subchannel";
        cleared();
}

static void no_operation(void)
{
        struct schib schib;
        struct status wanted;

        topic = "no-operation";
        nop(0, 0);
        run(F);
        interruption_comes("interruption");
        stsch(sch, &schib);
        wanted = well(F, program, 1);
        if (by(VIRTUAL, "css_interpret_ccw leaves the count"))
                wanted.open.count = 0xffff;
        status_is("scsw of stsch", &schib.scsw, wanted);
        check("interruption parameter of stsch", schib.parameter, parameter);
        check("last-path-used mask of stsch", schib.lpum, 0x80);
        topic = "status pending";
        answers("ssch", start(F, at(program)), 1);
        answers("hsch", hsch(sch), 1);
        answers("rsch", rsch(sch), 1);
        answers("xsch", xsch(sch), 1);
        answers("msch", msch(sch, &schib), 1);
        nothing_comes("no second interruption");
        parameter--;            /* of the ORB that was not accepted */
        topic = "test subchannel";
        answers("tsch that cannot store", tsch(sch, nowhere), ADDRESSING);
        answers("tsch", tsch(sch, &irb), 0);
        if (by(VIRTUAL, "css_interpret_ccw leaves the count"))
                wanted.open.count = 0xffff;
        status_is("scsw", &irb.scsw, wanted);
        check("last-path-used mask and format 1 of the esw", irb.esw[0], 0x00800000);
        check("extended-report word", irb.esw[1], 0);
        answers("tsch again", tsch(sch, &irb), 1);
        check("nothing is left", irb.scsw.ctrl, 0);
        nothing_comes("no second interruption");
        state_is("idle after it", 0);
}

static void clear_of_pending_status(void)
{
        topic = "clear while status is pending";
        nop(0, 0);
        run(F);
        interruption_comes("interruption of the start");
        answers("csch", csch(sch), 0);
        struct status wanted = after(F_CLEAR);
        if (by(VIRTUAL, "sch_handle_clear_func leaves the status control"))
                wanted.scsw.ctrl |= PRIMARY | SECONDARY;
        ends(wanted);
        state_is("idle after it", 0);
}

static void storage_key(u8 key)
{
        for (u32 page = 0; page < sizeof data; page += 4096)
                asm volatile("sske %0,%1" : : "d"(key << 4), "a"(data + page) : "memory");
}

/* The bits of the ORB that come back in the SCSW. */
static void orb_bits(void)
{
        u16 ctrl0 = KEY(5) | S | F | P | U;
        struct status wanted;

        topic = "prefetch";
        sense_id(0, SLI, 7);
        run(F | P);
        ends(well(F | P, program, 0));
        topic = "key, suspend control, prefetch, suppression";
        storage_key(5);
        run(ctrl0);
        ends(well(ctrl0, program, 0));
        topic = "key that is not the storage's";
        storage_key(6);
        run(F | KEY(5));
        wanted = well(F | KEY(5), program, 0);
        if (!by(VIRTUAL | PASSED, "no storage keys outside of the machine")) {
                wanted.scsw.ctrl |= ALERT;
                wanted.scsw.cstat = C_PROTECTION;
                wanted.scsw.count = 7;
        }
        ends(wanted);
        storage_key(0);
        topic = "format 0";
        *(u64 *)program = 0xe4000000ull << 32 | (u64)at(data) << 32 | 0x20000007;
        run(0);
        wanted = well(0, program, 0);
        if (by(ASYNC, "cp_get_orb"))
                wanted.scsw.flags = F;
        if (by(VIRTUAL, "sch_handle_start_func_virtual never takes F away"))
                wanted.scsw.flags = F;
        ends(wanted);
}

static struct status incorrect_length(u16 count)
{
        struct status wanted = well(F, program, count);

        wanted.scsw.ctrl |= ALERT;
        wanted.scsw.cstat = C_LENGTH;
        if (by(VIRTUAL, "css_interpret_ccw")) {
                wanted.scsw.cstat = C_PROGRAM;
                wanted.open.dstat = 0xff;
                wanted.open.count = 0xffff;
        }
        return wanted;
}

static void reads(void)
{
        u16 size = kind->sense_id_size < 255 ? kind->sense_id_size : 255;
        struct status wanted;

        topic = "sense id";
        fill(0xee);
        sense_id(0, SLI, 7);
        run(F);
        ends(well(F, program, 0));
        same("data", data, kind->sense_id, 6);
        check("nothing behind the data", data[7], 0xee);

        topic = "sense id with a longer count";
        fill(0xee);
        sense_id(0, SLI, 255);
        run(F);
        ends(well(F, program, 255 - size));
        same("data", data, kind->sense_id, 6);
        check("nothing behind the data", data[size], 0xee);

        topic = "incorrect length, longer";
        sense_id(0, 0, 255);
        run(F);
        ends(incorrect_length(255 - size));

        topic = "incorrect length, shorter";
        fill(0xee);
        sense_id(0, 0, 4);
        run(F);
        ends(incorrect_length(0));
        check("nothing behind the data", data[4], 0xee);

        topic = "incorrect length ends the chain";
        sense_id(0, CC, 4);
        nop(1, 0);
        run(F);
        ends(incorrect_length(0));

        u16 count = kind->read_count;

        topic = "read";
        fill(0xee);
        program[0] = (struct ccw){kind->read, SLI, count, at(data)};
        run(F);
        ends(well(F, program, 0));
        same("data", data, wanted_data, count);
        check("nothing behind the data", data[count], 0xee);

        topic = "command chain";
        fill(0xee);
        program[0] = (struct ccw){kind->read, SLI | CC, count, at(data)};
        nop(1, 0);
        run(F);
        wanted = well(F, program + 1, 1);
        if (by(VIRTUAL, "css_interpret_ccw leaves the count"))
                wanted.scsw.count = 0;
        ends(wanted);
        same("data", data, wanted_data, count);

        topic = "transfer in channel";
        fill(0xee);
        nop(0, CC);
        program[1] = (struct ccw){0x08, 0, 0, at(program + 4)};
        sense_id(4, SLI, 7);
        run(F);
        ends(well(F, program + 4, 0));
        same("data", data, kind->sense_id, 6);

        if (place == VIRTUAL)
                return;         /* css_interpret_ccw knows no data chain, virtio_ccw_cb no skip */
        topic = "skip";
        fill(0xee);
        program[0] = (struct ccw){kind->read, SLI | SKIP, count, at(data)};
        run(F);
        ends(well(F, program, 0));
        check("nothing was stored", data[0], 0xee);

        topic = "data chain";
        fill(0xee);
        program[0] = (struct ccw){kind->read, CD, 10, at(data)};
        program[1] = (struct ccw){0, SLI, 14, at(data + 10)};
        run(F);
        ends(well(F, program + 1, 0));
        same("data", data, wanted_data, 24);
        check("nothing behind the data", data[24], 0xee);
}

static void indirect(void)
{
        if (place == VIRTUAL)
                return;         /* ccw_dstream_rw_ida stores the first bytes for each IDAW */
        for (int i = 0; i < 3; i++) {
                u16 ctrl0 = F | (const u16[]){0, H, H | T}[i];
                u32 page = i == 1 ? 4096 : 2048;        /* how much an IDAW stands for */
                u8 *first = data + page - 3;
                u8 *second = data + (i == 1 ? 0 : 4096);

                topic = (const char *[]){"format-1 idaws", "format-2 idaws",
                                         "format-2 idaws of 2k"}[i];
                fill(0xee);
                if (i)
                        list.wide[0] = at(first), list.wide[1] = at(second);
                else
                        list.narrow[0] = at(first), list.narrow[1] = at(second);
                program[0] = (struct ccw){0xe4, SLI | IDA, 7, at(&list)};
                run(ctrl0);
                ends(well(ctrl0 & ~(H | T), program, 0));
                same("data of the first", first, kind->sense_id, 3);
                same("data of the second", second, kind->sense_id + 3, 3);
                check("nothing behind the data of the first", data[page], 0xee);
                check("nothing behind the data of the second", second[4], 0xee);
        }
}

/* Whether a device that refuses a command says that it has ended, too, is its matter. */
static struct status rejected(u16 flags)
{
        struct status wanted = {{flags_of(flags), ENDED | ALERT, at(program + 1), UC, 0, 24},
                                .open.dstat = CE | DE};

        if (by(VIRTUAL, "sch_handle_start_func_virtual leaves the count"))
                wanted.open.count = 0xffff;
        return wanted;
}

static void unit_check(void)
{
        topic = "unit check";
        program[0] = (struct ccw){0xff, SLI, 24, at(data)};
        run(F);
        ends(rejected(F));
        check("extended-report word", irb.esw[1], 0);
        topic = "basic sense";
        fill(0xee);
        program[0] = (struct ccw){0x04, SLI, 64, at(data)};
        run(F);
        ends(well(F, program, 64 - kind->sense_size));
        check("command reject", data[0], 0x80);
        check("nothing behind the data", data[kind->sense_size], 0xee);
        topic = "basic sense again";
        run(F);
        ends(well(F, program, 64 - kind->sense_size));
        check("the sense data was taken", data[0], 0);
        topic = "unit check ends the chain";
        program[0] = (struct ccw){0xff, SLI | CC, 24, at(data)};
        nop(1, 0);
        run(F);
        ends(rejected(F));
}

/* A program check with the CPA of *at_fault*; what the device said depends on when it was found. */
static struct status program_check(u32 at_fault)
{
        return (struct status){{flags_of(F), ENDED | ALERT, at_fault + 8, 0, C_PROGRAM, 0},
                               ANY_DSTAT, ANY_COUNT};
}

static void program_checks(void)
{
        topic = "command code 0";
        program[0] = (struct ccw){0x00, SLI, 1, at(data)};
        run(F);
        ends(program_check(at(program)));
        topic = "command code 18";
        program[0] = (struct ccw){0x18, SLI, 1, at(data)};
        run(F);
        ends(program_check(at(program)));
        topic = "command code 0 behind a command";
        nop(0, CC);
        program[1] = (struct ccw){0x00, SLI, 1, at(data)};
        run(F);
        ends(program_check(at(program + 1)));
        topic = "transfer to a transfer in channel";
        nop(0, CC);
        program[1] = (struct ccw){0x08, 0, 0, at(program + 2)};
        program[2] = (struct ccw){0x08, 0, 0, at(program + 3)};
        nop(3, 0);
        run(F);
        ends(program_check(at(program + 2)));
        topic = "transfer in channel with a count";
        nop(0, CC);
        program[1] = (struct ccw){0x08, 0, 1, at(program + 3)};
        run(F);
        ends(program_check(at(program + 1)));
        topic = "midaw flag without midaw control";
        sense_id(0, SLI | MIDA, 7);
        run(F);
        ends(program_check(at(program)));
        topic = "suspend flag without suspend control";
        nop(0, CC);
        nop(1, SUSPEND);
        run(F);
        ends(program_check(at(program + 1)));
        topic = "data address not in storage";
        program[0] = (struct ccw){0xe4, SLI, 7, at(nowhere)};
        run(F);
        ends(place == ASYNC ? made_up(at(program + 1)) : program_check(at(program)));
        topic = "cpa not in storage";
        answers("ssch", start(F, at(nowhere)), 0);
        ends(place == ASYNC ? made_up(at(nowhere) + 8) : program_check(at(nowhere)));
        /* What may be prefetched is looked at before SSCH, in Linux and on full. */
        topic = "data address not in storage, with prefetch";
        program[0] = (struct ccw){0xe4, SLI, 7, at(nowhere)};
        run(F | P);
        ends(place & PASSED ? made_up(at(program + 1)) : program_check(at(program)));
        topic = "cpa not in storage, with prefetch";
        answers("ssch", start(F | P, at(nowhere)), 0);
        ends(place & PASSED ? made_up(at(nowhere) + 8) : program_check(at(nowhere)));
        topic = "cpa not on a doubleword boundary";
        struct ccw *odd = (void *)((u8 *)program + 4);
        nop(1, 0);
        __builtin_memmove(odd, program + 1, sizeof *odd);
        answers("ssch", start(F, at(odd)), 0);
        ends(by(ASYNC, "cp_get_orb") ? well(F, odd, 1) : program_check(at(odd)));
        state_is("idle after it", 0);
}

static void paths(void)
{
        struct orb orb = orb_of(F, at(program));
        struct status deferred = {{.flags = F | 3 << 8, .ctrl = F_START | START_PENDING | ALERT |
                                   PENDING}, ANY_CPA, ANY_DSTAT, ANY_COUNT, .open.cstat = 0xff};

        topic = "no path that is there";
        nop(0, 0);
        orb.lpm = 0x20;
        answers("ssch", ssch(sch, &orb), by(VIRTUAL, "sch_handle_start_func_virtual") ? 0 : 3);
        if (place == VIRTUAL)
                ends(deferred);
        state_is("idle after it", 0);
        topic = "no path at all";
        orb = orb_of(F, at(program));
        orb.lpm = 0;
        /* Linux's driver takes all paths for none, and so does the mount. */
        answers("ssch", ssch(sch, &orb),
                by(VIRTUAL, "sch_handle_start_func_virtual") || by(PASSED, "cp_get_orb") ? 0
                                                                                            : 3);
        ends(place == VIRTUAL ? deferred : well(F, program, 1));
        state_is("idle after it", 0);
}

/* Intermediate status and what follows it before TSCH are one status. QEMU takes the mount's when
   it is signalled, and that is not before the program has ended: nothing in it waits. */
static void intermediate(void)
{
        struct status wanted;

        for (int i = 0; i < 4; i++) {
                u16 ctrl0 = i & 2 ? F | I : F;
                u8 pci = i != 2 ? PCI : 0;

                topic = (const char *[]){"pci", "pci in two ccws", "initial status",
                                         "initial status and pci"}[i];
                sense_id(0, SLI | CC | pci, 7);
                sense_id(1, SLI | CC | (i == 1 ? pci : 0), 7);
                sense_id(2, SLI, 7);
                run(ctrl0);
                wanted = well(ctrl0, program + 2, 0);
                if (!by(VIRTUAL, "css_interpret_ccw knows no intermediate status")) {
                        wanted.scsw.ctrl |= INTERMEDIATE;
                        wanted.scsw.flags |= i & 2 ? Z : 0;
                        wanted.scsw.cstat |= pci ? C_PCI : 0;
                }
                ends(wanted);
                state_is("idle after it", 0);
        }
}

static void interruption_code(void)
{
        u64 cr6 = 0x10000000;   /* of subclass 3 alone */

        topic = "interruption subclass";
        modify(ENABLED | ISC(isc = 5), 0);
        nop(0, 0);
        run(F);
        asm volatile("lctlg 6,6,%0" : : "Q"(cr6));
        nothing_comes("nothing of a subclass that is masked");
        cr6 = 0xff000000;
        asm volatile("lctlg 6,6,%0" : : "Q"(cr6));
        struct status wanted = well(F, program, 1);
        if (by(VIRTUAL, "css_interpret_ccw leaves the count"))
                wanted.open.count = 0xffff;
        ends(wanted);
        isc = 3;
        topic = "another subclass";
        modify(ENABLED | ISC(isc), 0);
}

/* TSCH before the interruption: it takes the interruption, too. */
static void polled(void)
{
        struct interruption got;
        int cc;
        u64 begin, now;

        topic = "status taken before its interruption";
        sense_id(0, SLI, 7);
        run(F);
        asm volatile("stck %0" : "=Q"(begin) : : "cc");
        do {
                cc = tsch(sch, &irb);
                asm volatile("stck %0" : "=Q"(now) : : "cc");
        } while (cc == 1 && now - begin < (u64)LONG * 4096000);
        answers("tsch", cc, 0);
        status_is("scsw", &irb.scsw, well(F, program, 0));
        /* One that is queued is never taken back. */
        check("no interruption is left", interrupted(&got, SHORT),
              by(VIRTUAL | PASSED, "qemu_s390_inject_io") ? true : false);
        answers("tsch again", tsch(sch, &irb), 1);
}

/* --- suspension ------------------------------------------------------------------------------ */

#define IS_SUSPENDED (F_START | SUSPENDED)

static void suspendable(u8 first)
{
        nop(0, CC | first);
        nop(1, CC | SUSPEND);
        sense_id(2, SLI, 7);
        run(F | S);
}

static struct status suspended(u8 cstat)
{
        return (struct status){{flags_of(F | S), IS_SUSPENDED | INTERMEDIATE | PENDING,
                                at(program + 2), 0, cstat, 0}, ANY_COUNT};
}

static void suspension_of_virtual(void)
{
        topic = "suspension";
        suspendable(0);
        interruption_comes("interruption");
        answers("tsch", tsch(sch, &irb),
                by(VIRTUAL, "sch_handle_start_func_virtual makes no status") ? 1 : 0);
        state_is("suspended after it", IS_SUSPENDED);
        topic = "suspended";
        answers("ssch", start(F, at(program)), 2);
        answers("tsch", tsch(sch, &irb), 1);
        topic = "resumption";
        parameter--;
        nop(1, CC);
        answers("rsch", rsch(sch), 0);
        ends(well(F | S, program + 2, 0));
        state_is("idle after it", 0);
        topic = "cancel of a suspended program";
        suspendable(0);
        interruption_comes("interruption");
        answers("xsch", xsch(sch), 0);
        state_is("idle after it", 0);
}

static void suspension(void)
{
        struct schib schib;

        if (place == VIRTUAL) {
                suspension_of_virtual();
                return;
        }
        topic = "status of a suspension";
        suspendable(0);
        interruption_comes("interruption");
        answers("ssch again", start(F, at(program)), 1);
        answers("rsch", rsch(sch), 1);
        answers("xsch", xsch(sch), 1);
        parameter--;
        answers("tsch", tsch(sch, &irb), 0);
        status_is("scsw", &irb.scsw, suspended(0));
        nothing_comes("no second interruption");
        topic = "suspended";
        state_is("function and activity", IS_SUSPENDED);
        answers("tsch", tsch(sch, &irb), 1);
        answers("ssch", start(F, at(program)), 2);
        parameter--;
        stsch(sch, &schib);
        answers("msch", msch(sch, &schib), 2);
        topic = "resumption";
        nop(1, CC);
        /* It sends the ORB again, and the mount is busy with it. */
        answers("rsch", rsch(sch), by(PASSED, "sch_handle_start_func_passthrough") ? 2 : 0);
        state_is("resume pending after it", by(PASSED, "css_do_rsch") ?
                 IS_SUSPENDED | RESUME_PENDING : 0);
        answers("rsch again", rsch(sch), 2);
        topic = "clear of a suspended program";
        cleared();
        topic = "halt of a suspended program";
        suspendable(0);
        interruption_comes("interruption of the suspension");
        answers("tsch of the suspension", tsch(sch, &irb), 0);
        answers("hsch", hsch(sch), 0);
        ends(after(F_START | F_HALT));
        state_is("idle after it", 0);
        topic = "cancel of a suspended program";
        suspendable(0);
        interruption_comes("interruption");
        answers("tsch", tsch(sch, &irb), 0);
        answers("xsch", xsch(sch), 0);
        state_is("idle after it", 0);
        nothing_comes("no interruption");
        /* The parameter is the new one all the same. */
        answers("ssch", start(F, at(program)), by(PASSED, "css_do_xsch tells nobody") ? 2 : 0);
        topic = "clear of what was not cancelled";
        cleared();
        topic = "pci and suspension";
        suspendable(PCI);
        ends(suspended(C_PCI));
        state_is("suspended after it", IS_SUSPENDED);
        topic = "clear of a suspended program with pci";
        cleared();
        topic = "suspension without its interruption";
        nop(0, CC);
        nop(1, CC | SUSPEND);
        run(F | S | U);
        nothing_comes("no interruption");
        state_is("suspended after it",
                 by(PASSED, "vfio_ccw_handle_store takes no scsw") ? F_START | START_PENDING :
                                                                    IS_SUSPENDED);
        topic = "clear of a program suspended without interruption";
        cleared();
}

/* --- what the test switches on the device ---------------------------------------------------- */

static void control(const char *words)
{
        print("CONTROL ");
        print(words);
        print("\n");
        await_line();
}

static void start_pending(void)
{
        struct schib schib;

        control("delay=3600s");
        topic = "start pending";
        nop(0, 0);
        run(F);
        state_is("function and activity", F_START | START_PENDING);
        stsch(sch, &schib);
        check("interruption parameter of stsch", schib.parameter, parameter);
        answers("tsch", tsch(sch, &irb), 1);
        check("tsch changes nothing", irb.scsw.ctrl, F_START | START_PENDING);
        answers("ssch again", start(F, at(program)), 2);
        parameter--;
        answers("msch", msch(sch, &schib), 2);
        answers("rsch", rsch(sch), 2);
        nothing_comes("no interruption");
        topic = "halt of a pending start";
        answers("hsch", hsch(sch), 0);
        ends(after(F_START | F_HALT));
        state_is("idle after it", 0);
        topic = "clear of a pending start";
        run(F);
        cleared();
        topic = "start pending with suspend control";
        run(F | S);
        answers("rsch", rsch(sch), by(PASSED, "css_do_rsch") ? 2 : 0);
        state_is("function and activity", F_START | START_PENDING);
        topic = "clear of a pending start with suspend control";
        cleared();
        topic = "cancel of a pending start";
        run(F);
        answers("xsch", xsch(sch), 0);
        state_is("idle after it", 0);
        answers("tsch", tsch(sch, &irb), 1);
        nothing_comes("no interruption");
        /* The parameter is the new one all the same. */
        answers("ssch", start(F, at(program)), by(PASSED, "css_do_xsch tells nobody") ? 2 : 0);
        topic = "clear of a start that was not cancelled";
        cleared();
        control("delay=200ms");
        topic = "start that takes its time";
        run(F);
        ends(well(F, program, 1));
        control("delay=0s");
}

#define IS_ACTIVE (F_START | SUBCHANNEL_ACTIVE | DEVICE_ACTIVE)

/* The first command never ends. */
static void begin_active(u16 ctrl0, u8 flags)
{
        sense_id(0, SLI | flags, 7);
        run(ctrl0);
}

static void active(void)
{
        struct schib schib;
        struct status wanted = {{F, IS_ACTIVE | INTERMEDIATE | PENDING, at(program + 1), 0, C_PCI,
                                 0}, ANY_COUNT};

        control("fault=hang");
        topic = "pci of a program that goes on";
        begin_active(F, PCI);
        ends(wanted);
        topic = "active";
        state_is("function and activity", IS_ACTIVE);
        answers("ssch", start(F, at(program)), 2);
        parameter--;
        stsch(sch, &schib);
        answers("msch", msch(sch, &schib), 2);
        answers("rsch", rsch(sch), 2);
        answers("xsch", xsch(sch), 2);
        nothing_comes("no interruption");
        topic = "halt of an active program";
        answers("hsch", hsch(sch), 0);
        /* Whether the halted device has a status of its own is its matter. */
        wanted = after(F_START | F_HALT);
        wanted.open.ctrl = PRIMARY | SECONDARY;
        wanted.open.dstat = CE | DE;
        ends(wanted);
        state_is("idle after it", 0);
        topic = "clear of an active program";
        begin_active(F, PCI);
        interruption_comes("interruption of the pci");
        answers("tsch of the pci", tsch(sch, &irb), 0);
        cleared();
        topic = "halt over intermediate status";
        begin_active(F, PCI);
        interruption_comes("interruption of the pci");
        answers("hsch", hsch(sch), 0);
        ends(wanted);
        state_is("idle after it", 0);
        topic = "clear over intermediate status";
        begin_active(F, PCI);
        interruption_comes("interruption of the pci");
        cleared();
        topic = "initial status of a program that goes on";
        wanted = (struct status){{F | I | Z, IS_ACTIVE | INTERMEDIATE | PENDING, at(program + 1),
                                  0, 0, 0}, ANY_COUNT};
        begin_active(F | I, 0);
        ends(wanted);
        topic = "clear after initial status";
        cleared();
        control("fault=lost-interruption count=1");
        topic = "interruption that is lost";
        nop(0, 0);
        run(F);
        nothing_comes("no interruption");
        topic = "clear after a lost interruption";
        cleared();
        control("fault=none");
}

static void concurrent_sense(void)
{
        struct status wanted;

        control("csense=on");
        topic = "concurrent sense";
        modify(ENABLED | ISC(isc), 1);
        program[0] = (struct ccw){0xff, SLI, 24, at(data)};
        run(F);
        wanted = rejected(F);
        wanted.scsw.flags |= 0x0002;
        ends(wanted);
        topic = "concurrent sense of the irb";
        run(F);
        interruption_comes("interruption");
        answers("tsch", tsch(sch, &irb), 0);
        check("extended-report word", irb.esw[1], 0x01000000 | kind->sense_size << 16);
        check("command reject", irb.ecw[0] >> 24, 0x80);
        topic = "basic sense after concurrent sense";
        fill(0xee);
        program[0] = (struct ccw){0x04, SLI, 64, at(data)};
        run(F);
        ends(well(F, program, 64 - kind->sense_size));
        check("the sense data was taken", data[0], 0);
        control("csense=off");
        topic = "without concurrent sense again";
        modify(ENABLED | ISC(isc), 0);
}

static void unsolicited(void)
{
        topic = "attention";
        modify(ENABLED | ISC(isc), 0);
        control("unsolicited=80");
        ends((struct status){{.ctrl = ALERT | PENDING, .dstat = 0x80}, ANY_FLAGS, ANY_CPA,
                             ANY_COUNT});
        state_is("idle after it", 0);
}

static void not_operational(void)
{
        control("fault=not-operational");
        topic = "device that is not operational";
        answers("ssch", start(F, at(program)), 3);
        answers("hsch", hsch(sch), 3);
        answers("csch", csch(sch), 3);
        state_is("idle after it", 0);
        control("fault=none");
        topic = "device that is operational again";
        nop(0, 0);
        run(F);
        ends(well(F, program, 1));
}

static void disabling(void)
{
        topic = "disabling";
        modify(ISC(isc), 0);
        topic = "disabled";
        all_answer(sch, 3);
}

/* --- parameters: kind, place, data ----------------------------------------------------------- */

static const char *word(const char *text, char *into, u32 size)
{
        while (*text == ' ')
                text++;
        while (*text && *text != ' ' && size-- > 1)
                *into++ = *text++;
        *into = 0;
        return text;
}

static bool equal(const char *one, const char *other)
{
        while (*one && *one == *other)
                one++, other++;
        return *one == *other;
}

static u8 digit(char c)
{
        return c <= '9' ? c - '0' : c - 'a' + 10;
}

static bool read_parameters(void)
{
        char text[80];
        const char *rest = word(parameters, text, sizeof text);

        for (u32 i = 0; i < sizeof kinds / sizeof *kinds; i++)
                if (equal(text, kinds[i].name))
                        kind = kinds + i;
        rest = word(rest, text, sizeof text);
        place = equal(text, "virtual") ? VIRTUAL : equal(text, "full") ? FULL : ASYNC;
        word(rest, text, sizeof text);
        for (u32 i = 0; i < sizeof wanted_data && text[2 * i]; i++)
                wanted_data[i] = digit(text[2 * i]) << 4 | digit(text[2 * i + 1]);
        return kind;
}

void main(void);
void main(void)
{
        machine_begins();
        print("@@ready@@\n");
        if (!read_parameters()) {
                print("FAIL parameters: KIND PLACE DATA\n");
                return;
        }
        finding();
        not_there();
        operands();
        enabling();
        idle();
        no_operation();
        clear_of_pending_status();
        orb_bits();
        reads();
        indirect();
        unit_check();
        program_checks();
        intermediate();
        interruption_code();
        polled();
        suspension();
        if (place != VIRTUAL) {
                start_pending();
                active();
                concurrent_sense();
                unsolicited();
        }
        if (place == FULL)      /* Linux's driver does not go back to a path that it has lost */
                not_operational();
        paths();
        disabling();
        print("CHECKS ");
        print_decimal(checks);
        print(" FAILED ");
        print_decimal(failures);
        print("\n");
}
