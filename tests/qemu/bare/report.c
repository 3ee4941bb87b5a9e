#include "report.h"

unsigned place, checks, failures;
const char *topic, *because;

bool by(unsigned places, const char *function)
{
        if (!(place & places))
                return false;
        because = function;
        return true;
}

bool begin_check(const char *what, bool passed)
{
        checks++;
        failures += !passed;
        print(passed ? "PASS " : "FAIL ");
        print(topic);
        print(": ");
        print(what);
        if (because) {
                print(" [");
                print(because);
                print("]");
        }
        because = NULL;
        return passed;
}

void check(const char *what, u32 got, u32 wanted)
{
        if (!begin_check(what, got == wanted)) {
                print(": got ");
                print_hex(got, 8);
                print(", wanted ");
                print_hex(wanted, 8);
        }
        print("\n");
}

static void print_answer(int answer)
{
        print(answer < 0 ? "program interruption " : "cc ");
        print_hex(answer < 0 ? -answer : answer, answer < 0 ? 4 : 1);
}

void answers(const char *what, int got, int wanted)
{
        if (!begin_check(what, got == wanted)) {
                print(": got ");
                print_answer(got);
                print(", wanted ");
                print_answer(wanted);
        }
        print("\n");
}

void same(const char *what, const u8 *got, const u8 *wanted, u32 size)
{
        bool equal = true;

        for (u32 i = 0; i < size; i++)
                equal &= got[i] == wanted[i];
        if (!begin_check(what, equal)) {
                print(": got ");
                for (u32 i = 0; i < size; i++)
                        print_hex(got[i], 2);
                print(", wanted ");
                for (u32 i = 0; i < size; i++)
                        print_hex(wanted[i], 2);
        }
        print("\n");
}

static const struct {
        const char *name;
        u8 word, shift;
        u32 mask;
} fields[] = {
        {"key", 0, 28, 0xf}, {"s", 0, 27, 1}, {"l", 0, 26, 1}, {"cc", 0, 24, 3}, {"f", 0, 23, 1},
        {"p", 0, 22, 1}, {"i", 0, 21, 1}, {"a", 0, 20, 1}, {"u", 0, 19, 1}, {"z", 0, 18, 1},
        {"e", 0, 17, 1}, {"n", 0, 16, 1}, {"fctl", 0, 12, 7}, {"actl", 0, 5, 0x7f},
        {"stctl", 0, 0, 0x1f}, {"cpa", 1, 0, 0xffffffff}, {"dstat", 2, 24, 0xff},
        {"cstat", 2, 16, 0xff}, {"count", 2, 0, 0xffff},
};

void status_is(const char *what, const struct scsw *got, struct status wanted)
{
        union {
                struct scsw scsw;
                u32 word[3];
        } is = {*got}, want = {wanted.scsw}, open = {wanted.open};
        bool equal = true;

        for (int i = 0; i < 3; i++)
                equal &= !((is.word[i] ^ want.word[i]) & ~open.word[i]);
        if (!begin_check(what, equal))
                for (u32 i = 0; i < sizeof fields / sizeof *fields; i++) {
                        u32 looked = ~open.word[fields[i].word] >> fields[i].shift & fields[i].mask;
                        u32 one = is.word[fields[i].word] >> fields[i].shift & looked;
                        u32 other = want.word[fields[i].word] >> fields[i].shift & looked;

                        if (one == other)
                                continue;
                        print(": ");
                        print(fields[i].name);
                        print(" got ");
                        print_hex(one, 8);
                        print(", wanted ");
                        print_hex(other, 8);
                }
        print("\n");
}
