#include "machine.h"

#define WAIT 0x0002000000000000ull      /* PSW masks */
#define IO 0x0200000000000000ull
#define EXTERNAL 0x0100000000000000ull
#define WIDE 0x0000000180000000ull      /* 64-bit addressing */

#define CLOCK_COMPARATOR 0x0800ull      /* CR0 */
#define SERVICE_SIGNAL 0x0200ull
#define MILLISECOND 4096000ull          /* of the TOD clock */

struct psw {
        u64 mask, address;
};

#define EXTERNAL_NEW 0x1b0
#define PROGRAM_NEW 0x1d0
#define MACHINE_CHECK_NEW 0x1e0
#define IO_NEW 0x1f0

/* Something at an absolute address: the compiler must not know how low it is. */
static void *low(u64 address)
{
        asm("" : "+a"(address));
        return (void *)address;
}

static void control_register_0(u64 value)
{
        asm volatile("lctlg 0,0,%0" : : "Q"(value));
}

/* Load a wait PSW; an interruption goes on behind it: 1 for I/O, 0 for an external one. */
static int wait(u64 mask)
{
        struct psw psw = {mask | WAIT | WIDE, 0};
        int io;

        asm volatile("   larl 1,1f\n"
                     "   stg  1,0x1f8(0)\n"
                     "   larl 1,2f\n"
                     "   stg  1,0x1b8(0)\n"
                     "   lpswe %1\n"
                     "1: lhi  %0,1\n"
                     "   j    3f\n"
                     "2: lhi  %0,0\n"
                     "3:\n"
                     : "=&d"(io) : "Q"(psw) : "1", "cc", "memory");
        return io;
}

bool interrupted(struct interruption *code, u32 milliseconds)
{
        u64 now;

        asm volatile("stck %0" : "=Q"(now) : : "cc");
        now += milliseconds * MILLISECOND;
        asm volatile("sckc %0" : : "Q"(now));
        control_register_0(CLOCK_COMPARATOR);
        if (!wait(IO | EXTERNAL))
                return false;
        *code = *(struct interruption *)low(0xb8);
        return true;
}

/* --- instructions ---------------------------------------------------------------------------- */

/* A program interruption goes on behind the instruction; its code is at 142. */
#define EXECUTE(instruction, ...)                                                               \
        ({                                                                                      \
                register u32 one asm("1") = sch;                                                \
                int cc;                                                                         \
                asm volatile("   larl 2,1f\n"                                                   \
                             "   stg  2,0x1d8(0)\n"                                             \
                             "   " instruction "\n"                                             \
                             "   ipm  %0\n"                                                     \
                             "   srl  %0,28\n"                                                  \
                             "   j    2f\n"                                                     \
                             "1: lh   %0,0x8e(0)\n"                                             \
                             "   lcr  %0,%0\n"                                                  \
                             "2: larl 2,unforeseen\n"                                           \
                             "   stg  2,0x1d8(0)\n"                                             \
                             : "=&d"(cc) : "d"(one) __VA_OPT__(,) __VA_ARGS__                   \
                             : "2", "cc", "memory");                                            \
                cc;                                                                             \
        })

int ssch(u32 sch, const struct orb *orb)
{
        return EXECUTE("ssch 0(%2)", "a"(orb));
}

int tsch(u32 sch, struct irb *irb)
{
        return EXECUTE("tsch 0(%2)", "a"(irb));
}

int stsch(u32 sch, struct schib *schib)
{
        return EXECUTE("stsch 0(%2)", "a"(schib));
}

int msch(u32 sch, const struct schib *schib)
{
        return EXECUTE("msch 0(%2)", "a"(schib));
}

int hsch(u32 sch)
{
        return EXECUTE("hsch");
}

int csch(u32 sch)
{
        return EXECUTE("csch");
}

int rsch(u32 sch)
{
        return EXECUTE("rsch");
}

int xsch(u32 sch)
{
        return EXECUTE("xsch");
}

/* --- console --------------------------------------------------------------------------------- */

#define WRITE_EVENT_DATA 0x00760005
#define READ_EVENT_DATA 0x00770005
#define WRITE_EVENT_MASK 0x00780005
#define ASCII 0x1a              /* event type: data of an ASCII console */
#define ASCII_MASK (1u << (32 - ASCII))

static struct {                 /* SCCB: header, and what the command has behind it */
        u16 length;
        u8 function, control[3];
        u16 response;
        union {
                struct {
                        u16 length;
                        u8 type, flags;
                        u16 reserved;
                        char data[4096 - 14];
                } event;
                struct {
                        u16 reserved, length;
                        u32 receive, send, sclp_receive, sclp_send;
                } mask;
        };
} sccb __attribute__((aligned(4096)));

static void service(u32 command, u16 length)
{
        sccb.length = length;
        sccb.function = 0;
        sccb.control[0] = sccb.control[1] = sccb.control[2] = 0;
        sccb.response = 0;
        asm volatile(".insn rre,0xb2200000,%0,%1"
                     : : "d"(command), "a"(&sccb) : "cc", "memory");
}

static void print_some(const char *text, u16 length)
{
        for (u16 i = 0; i < length; i++)
                sccb.event.data[i] = text[i];
        sccb.event.length = 6 + length;
        sccb.event.type = ASCII;
        sccb.event.flags = 0;
        sccb.event.reserved = 0;
        service(WRITE_EVENT_DATA, 8 + 6 + length);
}

void print(const char *text)
{
        while (*text) {
                u16 length = 0;

                while (text[length] && length < 256)
                        length++;
                print_some(text, length);
                text += length;
        }
}

void print_hex(u32 value, int digits)
{
        char text[8];

        for (int i = digits; i--; value >>= 4)
                text[i] = "0123456789abcdef"[value & 15];
        print_some(text, digits);
}

void print_decimal(u32 value)
{
        char text[10];
        int place = sizeof text;

        do
                text[--place] = '0' + value % 10;
        while (value /= 10);
        print_some(text + place, sizeof text - place);
}

void await_line(void)
{
        for (;;) {
                service(READ_EVENT_DATA, sizeof sccb);
                if (sccb.response == 0x0020)
                        for (u16 i = 0; i < sccb.event.length - 6; i++)
                                if (sccb.event.data[i] == '\n')
                                        return;
                control_register_0(SERVICE_SIGNAL);
                wait(EXTERNAL);
        }
}

/* --- life ------------------------------------------------------------------------------------ */

__attribute__((used)) static void unforeseen(void)
{
        print("FAIL unforeseen program or machine check: code ");
        print_hex(*(u16 *)low(0x8e), 4);
        print(" at ");
        print_hex(*(u64 *)low(0x158), 8);
        print("\n");
        stop();
}

static void new_psw(u64 place)
{
        struct psw *psw = low(place);

        psw->mask = WIDE;
        psw->address = (u64)unforeseen;
}

void machine_begins(void)
{
        u64 all = 0xff000000;

        new_psw(EXTERNAL_NEW);
        new_psw(PROGRAM_NEW);
        new_psw(MACHINE_CHECK_NEW);
        new_psw(IO_NEW);
        asm volatile("lctlg 6,6,%0" : : "Q"(all));
        sccb.mask.reserved = 0;
        sccb.mask.length = 4;
        sccb.mask.receive = sccb.mask.send = ASCII_MASK;
        service(WRITE_EVENT_MASK, 8 + 4 + 16);
}
