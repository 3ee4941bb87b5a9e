"""The words for people, on requests and answers that QEMU and Linux really send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfioccw_fuse.devices.catalog import DECODED, TYPES, words_of
from vfioccw_fuse.regions import codec
from vfioccw_fuse.regions import descriptions as d
from vfioccw_fuse.regions.layouts import BITS, Ccw0, Ccw1, Crw, Irb, Orb, Scsw

DEVICES = ["", *TYPES, *DECODED]


def words(rows: list[d.Row]) -> dict[str, str]:
    return {row.field: row.meaning for row in rows}


def shown(rows: list[d.Row]) -> dict[str, str]:
    return {row.field: row.value for row in rows}


GOOD_IRB = codec.IRB.build(
    scsw_flags=0x00C0,
    scsw_ctrl=0x4007,
    scsw_cpa=0x1010,
    scsw_dstat=0x0C,
    esw_logout=0x00800000,
)

REJECT = bytes([0x80, 0, 0, 0, 0, 0, 0, 0x01]) + bytes(19) + b"\x80" + bytes(4)

UNIT_CHECK_IRB = codec.IRB.build(
    scsw_flags=0x00C0 | 0x0402,
    scsw_ctrl=0x4017,
    scsw_cpa=0x1008,
    scsw_dstat=0x0E,
    esw_logout=0x00800000,
    esw_erw=0x01200000,
    ecw=REJECT,
)


class TestOrb:
    raw = codec.ORB.build(intparm=0xC0FFEE, ctrl0=0x00C2, lpm=0xC0, cpa=0x1000)

    def test_the_orb_that_linux_always_sends(self):
        said = words(d.describe_orb(self.raw))
        assert said["ctrl0"] == "format-1 CCWs, prefetch, format-2 IDAWs"
        assert said["lpm"] == "paths 0 1"
        assert said["ctrl1"] == ""
        assert shown(d.describe_orb(self.raw)) == {
            "intparm": "00c0ffee",
            "ctrl0": "00c2",
            "lpm": "c0",
            "ctrl1": "00",
            "cpa": "00001000",
        }

    def test_the_same_orb_in_host_order(self):
        host = codec.ORB_HOST.pack(codec.ORB.parse(self.raw))
        assert d.describe_orb(host, "host") == d.describe_orb(self.raw, "big")

    def test_the_firmware_reads_the_ipl_record_with_format_0(self):
        assert words(d.describe_orb(codec.ORB.build(ctrl0=0x0042)))["ctrl0"] == (
            "format-0 CCWs, prefetch, format-2 IDAWs"
        )

    def test_key_and_transport_mode(self):
        said = words(d.describe_orb(codec.ORB.build(ctrl0=0x3004, ctrl1=0xC0)))
        assert said["ctrl0"] == (
            "key 3, format-0 CCWs, no prefetch, transport mode, format-1 IDAWs"
        )
        assert said["ctrl1"] == "incorrect-length suppression, MIDAWs allowed"

    def test_line(self):
        assert d.line_orb(codec.ORB.parse(self.raw)) == (
            "program at 00001000, parm 00c0ffee, lpm c0, format-1 CCWs, prefetch, format-2 IDAWs"
        )

    def test_an_unknown_byte_order(self):
        with pytest.raises(ValueError, match="byte order 'little' is neither big nor host"):
            d.describe_orb(self.raw, "little")


class TestCcw:
    def test_fba_read_chain(self):
        lines = [
            d.line_ccw(codec.CCW1.parse(bytes.fromhex(ccw)), words_of("9336"))
            for ccw in (
                "6340001000002000",
                "4340000800002010",
                "4280020000003000",
                "4200020000003200",
            )
        ]
        assert lines == [
            "63/40/16 at 00002000: define extent, CC",
            "43/40/8 at 00002010: locate, CC",
            "42/80/512 at 00003000: read, CD",
            "42/00/512 at 00003200: read",
        ]

    def test_recognition(self):
        assert d.line_ccw(Ccw1(cmd=0xE4, flags=0x20, count=40, cda=0x8000)) == (
            "e4/20/40 at 00008000: sense id, SLI"
        )

    def test_rows_of_a_ccw_with_indirect_data(self):
        rows = d.describe_ccw(bytes.fromhex("8644100000004000"), device=words_of("3390"))
        assert words(rows) == {
            "cmd": "read data, multitrack",
            "flags": "chain command, indirect data addressing",
            "count": "4096 bytes",
            "cda": "address of the IDAW list",
        }

    def test_format_0(self):
        rows = d.describe_ccw(bytes.fromhex("0200300060000018"), format=0)
        assert rows[0] == d.Row("cmd", "02", "read")
        assert rows[3] == d.Row("cda", "003000", "address")
        assert d.line_ccw(Ccw0(0x08, 0x1000)) == "08/00/0 at 00001000: transfer in channel"

    def test_tic_and_midaw_addresses(self):
        assert words(d.describe_ccw(bytes.fromhex("0800000000001000")))["cda"] == (
            "address of the next CCW"
        )
        assert words(d.describe_ccw(bytes.fromhex("1800100000000000"), format=0))["cda"] == (
            "address of the next CCW"
        )
        assert words(d.describe_ccw(bytes.fromhex("1800000000001000")))["cda"] == "address"
        assert words(d.describe_ccw(bytes.fromhex("0601100000001000")))["cda"] == (
            "address of the MIDAW list"
        )

    def test_an_unknown_format(self):
        with pytest.raises(ValueError, match="CCW format 2 is neither 0 nor 1"):
            d.describe_ccw(bytes(8), format=2)


class TestCommandNames:
    @pytest.mark.parametrize(
        ("code", "device", "name"),
        [
            (0x03, "", "no-operation"),
            (0x04, "fba", "sense"),
            (0x08, "eckd", "transfer in channel"),
            (0x41, "fba", "write"),
            (0x42, "9336", "read"),
            (0x27, "3390", "perform subsystem function"),
            (0x27, "3490", "backspace block"),
            (0x47, "eckd", "locate record"),
            (0xE7, "eckd", "prefix"),
            (0xA6, "eckd", "read track data"),
            (0xFA, "eckd", "read configuration data"),
            (0x02, "3505", "read card"),
            (0x89, "1403", "write, skip to channel 1"),
            (0xE3, "1403", "skip to channel 12"),
            (0x0A, "3215", "read inquiry"),
            (0x01, "3525", "punch card"),
        ],
    )
    def test_of_a_device(self, code, device, name):
        assert d.command_name(code, words_of(device)) == name

    @pytest.mark.parametrize(
        ("code", "name"),
        [
            (0x00, "invalid command"),
            (0x50, "invalid command"),
            (0x41, "write"),
            (0x42, "read"),
            (0x43, "control"),
            (0x54, "sense"),
            (0x5C, "read backward"),
            (0x28, "transfer in channel (format 0)"),
        ],
    )
    def test_after_what_the_channel_makes_of_it(self, code, name):
        assert d.command_name(code) == name

    def test_every_device_names_every_code(self):
        for device in DEVICES:
            assert all(d.command_name(code, words_of(device)) for code in range(256))

    def test_an_unknown_device_has_the_common_names(self):
        assert words_of("8232") is d.EVERY_DEVICE
        assert d.command_name(0xE4, words_of("8232")) == "sense id"


class TestIrb:
    def test_a_good_end(self):
        said = words(d.describe_irb(GOOD_IRB))
        assert said["scsw.flags"] == "format-1 CCWs, prefetch"
        assert said["scsw.fctl"] == "start function"
        assert said["scsw.actl"] == ""
        assert said["scsw.stctl"] == "primary status, secondary status, status pending"
        assert said["scsw.dstat"] == "channel end, device end"
        assert said["scsw.cpa"] == "last CCW at 0x1008"
        assert said["scsw.count"] == "residual count 0"
        assert said["esw.logout"] == "last path used 80"
        assert not any(field.startswith("sense") for field in said)
        assert d.line_irb(codec.IRB.parse(GOOD_IRB)) == (
            "start function; primary status, secondary status, status pending; "
            "channel end, device end; cpa 00001010 count 0; path 80"
        )

    @pytest.mark.parametrize(("actl", "said"), [(0x0400, ""), (0x00C0, ""), (0x0020, "last")])
    def test_no_ccw_was_the_last_one_while_a_program_goes_on(self, actl, said):
        scsw = Scsw(0x00C0, 0x4000 | actl, 0x1010, 0, 0, 0)
        [cpa] = [row for row in d.describe_scsw(codec.SCSW.pack(scsw)) if row.field == "cpa"]
        assert cpa.meaning.startswith(said)
        assert bool(cpa.meaning) == bool(said)

    def test_unit_check_with_concurrent_sense(self):
        said = words(d.describe_irb(UNIT_CHECK_IRB, words_of("3390")))
        assert said["scsw.flags"] == ("ESW format 0, format-1 CCWs, prefetch, extended control")
        assert said["esw.logout"] == "format 0, last path used 80"
        assert said["esw.erw"] == "concurrent sense, sense count 32"
        assert said["ecw"] == "32 bytes of sense data"
        assert said["sense.byte 0"] == "command reject"
        assert said["sense.byte 7"] == "format 0: program or system check, invalid command"
        line = d.line_irb(codec.IRB.parse(UNIT_CHECK_IRB), words_of("3390"))
        assert line.endswith(
            "unit check; cpa 00001008 count 0; path 80; sense 80 00: command reject"
        )

    def test_sense_only_if_both_bits_say_so(self):
        irb = codec.IRB.parse(UNIT_CHECK_IRB)
        assert d.sense_of(irb) == REJECT
        assert d.sense_of(irb._replace(scsw_flags=0x00C0)) == b""
        assert d.sense_of(irb._replace(esw_erw=0x00200000)) == b""

    def test_clear_and_halt_have_no_address(self):
        clear = Irb(scsw_ctrl=0x1001)
        assert d.line_irb(clear) == "clear function; status pending"
        assert d.line_irb(Irb(scsw_ctrl=0x6001)) == "start function, halt function; status pending"

    def test_device_connect_time(self):
        said = words(d.describe_irb(codec.IRB.build(esw_logout=0x00800002)))
        assert said["esw.logout"] == "last path used 80, device-connect time 256 us"

    def test_a_failing_address(self):
        raw = codec.IRB.build(esw_erw=0x02C00000, esw_fsa=0x1234, esw_saddr=0x1000)
        said = words(d.describe_irb(raw))
        assert said["esw.fsa"] == "failing-storage address"
        assert said["esw.saddr"] == "secondary-CCW address"
        assert said["esw.erw"] == (
            "failing-storage address valid, secondary-CCW address valid, "
            "failing-storage address of 64 bits"
        )


class TestScsw:
    def test_pending_and_deferred(self):
        rows = d.describe_scsw(bytes.fromhex("030040010000000000000000"))
        assert words(rows)["flags"] == "deferred cc 3"
        assert d.line_scsw(Scsw(flags=0x0300, ctrl=0x4001)) == (
            "start function; status pending; deferred cc 3"
        )

    def test_activity(self):
        assert d.line_scsw(Scsw(ctrl=0x4400)) == "start function; start pending"
        assert d.line_scsw(Scsw(ctrl=0x40C0)) == "start function; subchannel active, device active"
        assert d.line_scsw(Scsw()) == "idle"

    def test_channel_status(self):
        rows = d.describe_scsw(codec.SCSW.build(cstat=0x60, cpa=0x1008, count=7))
        assert words(rows)["cstat"] == "incorrect length, program check"
        assert words(rows)["count"] == "residual count 7"

    def test_the_request_of_qemu_on_x86(self):
        host = codec.SCSW_HOST.build(ctrl=0x4000)
        assert words(d.describe_scsw(host, "host"))["fctl"] == "start function"


class TestSchib:
    raw = codec.SCHIB.build(
        pmcw_flags=0x1881,
        pmcw_devno=0x1234,
        pmcw_lpm=0xC0,
        pmcw_pim=0xC0,
        pmcw_pam=0xC0,
        pmcw_pom=0xFF,
        pmcw_lpum=0x80,
        pmcw_chpid=bytes.fromhex("4041000000000000"),
        pmcw_chars=1,
        scsw_ctrl=0x4440,
    )

    def test_two_paths(self):
        said = words(d.describe_schib(self.raw))
        assert said["pmcw.flags"] == "interruption subclass 3, enabled, device number valid"
        assert said["pmcw.pim"] == "installed: paths 0 1"
        assert said["pmcw.lpum"] == "last used: path 0"
        assert said["pmcw.pnom"] == "not operational: no path"
        assert said["pmcw.chpid"] == "channel paths 40 41"
        assert said["pmcw.chars"] == "concurrent sense"
        assert said["scsw.actl"] == "start pending, device active"

    def test_the_pmcw_alone(self):
        rows = d.describe_pmcw(self.raw[:28])
        assert [row._replace(field=f"pmcw.{row.field}") for row in rows] == d.describe_schib(
            self.raw
        )[: len(rows)]


class TestCrw:
    def test_a_chpid_goes_and_comes_back(self):
        gone, back = bytes.fromhex("04060041"), bytes.fromhex("04020041")
        assert words(d.describe_crw(gone)) == {
            "flags": "channel path, permanent error, facility not initialized",
            "rsid": "chpid 41",
        }
        assert words(d.describe_crw(back))["flags"] == "channel path, initialized"

    def test_the_region_has_the_halves_in_host_order(self):
        region = codec.CRW_REGION.build(flags=0x0406, rsid=0x0041)
        assert d.describe_crw(region) == d.describe_crw(bytes.fromhex("04060041"))

    def test_none(self):
        assert words(d.describe_crw(bytes(8)))["flags"] == "no report pending"

    def test_line(self):
        assert d.line_crw(Crw(0x0402, 0x41)) == "channel path, initialized: chpid 41"
        assert d.line_crw(Crw(0x2380, 0x313)) == (
            "overflow: reports were lost, subchannel, ancillary report, "
            "event information pending: subchannel 0313"
        )


class TestSense:
    def test_byte_0_is_common(self):
        assert words(d.describe_sense(b"\xfc"))["byte 0"] == (
            "command reject, intervention required, bus-out check, equipment check, data check, "
            "overrun"
        )
        assert words(d.describe_sense(bytes(2)))["byte 0"] == "no error"
        assert words(d.describe_sense(b"\x02"))["byte 0"] == "bit 0x02"

    @pytest.mark.parametrize(
        ("data", "device", "line"),
        [
            ("8100", "3390", "sense 81 00: command reject, incomplete domain"),
            ("0008", "3390", "sense 00 08: no record found"),
            ("0004", "9336", "sense 00 04: file protected"),
            ("1002", "3390", "sense 10 02: equipment check, write inhibited"),
            ("4010", "3505", "sense 40 10: intervention required"),
            ("8048", "3490", "sense 80 48: command reject, drive online, beginning of tape"),
            ("80", "3525", "sense 80: command reject"),
            ("0000", "fba", "sense 00 00: no error"),
            ("", "fba", "no sense data"),
        ],
    )
    def test_line(self, data, device, line):
        assert d.line_sense(bytes.fromhex(data), words_of(device)) == line

    def test_eckd_formats_and_the_failing_track(self):
        data = bytearray(32)
        data[0:2], data[7], data[27], data[29:32] = b"\x81\x00", 0x03, 0x80, b"\x00\x02\x03"
        said = words(d.describe_sense(bytes(data), words_of("3390")))
        assert said["byte 7"] == "format 0: program or system check, CCW count less than required"
        assert said["29-31"] == "cylinder 2, head 3"
        data[7] = 0x45
        assert words(d.describe_sense(bytes(data), words_of("eckd")))["byte 7"] == (
            "format 4: data check, message 5"
        )
        data[27] = 0
        said = words(d.describe_sense(bytes(data), words_of("eckd")))
        assert said["byte 25"] == "program action code"
        assert "byte 7" not in said

    def test_fba_has_24_bytes(self):
        said = words(d.describe_sense(b"\x80" + bytes(23), words_of("fba")))
        assert said == {"byte 0": "command reject", "byte 1": "", "all": "24 bytes"}


class TestHex:
    def test_as_tools_print_it(self):
        assert d.from_hex("0x00c2") == b"\x00\xc2"
        assert d.from_hex(" 00 c2\n80:40,01_02 ") == bytes.fromhex("00c280400102")
        assert d.from_hex("") == b""

    @pytest.mark.parametrize("text", ["zz", "123", "0x0", "00c2 \u0661\u0662"])
    def test_one_line_says_what_is_wrong(self, text):
        with pytest.raises(ValueError, match="is not pairs of hexadecimal digits") as error:
            d.from_hex(text)
        assert "\n" not in str(error.value)

    def test_a_long_text_is_cut(self):
        with pytest.raises(ValueError, match=r"^'x{37}\.\.\.' is not"):
            d.from_hex("x" * 1000)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("orb", "an ORB is 12 bytes, these are 11"),
        ("ccw", "a CCW is 8 bytes, these are 11"),
        ("scsw", "an SCSW is 12 bytes, these are 11"),
        ("irb", "an IRB is 96 bytes, these are 11"),
        ("schib", "a SCHIB is 52 bytes, these are 11"),
        ("pmcw", "a PMCW is 28 bytes, these are 11"),
        ("crw", "a CRW is 4 bytes, or 8 of the crw region in host order; these are 11"),
    ],
)
def test_a_wrong_length_names_the_right_one(what, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        d.DESCRIBERS[what](bytes(11))


@pytest.mark.parametrize("length", [0, 33])
def test_a_wrong_length_of_sense_data(length):
    with pytest.raises(ValueError, match=f"^sense data is 1 to 32 bytes, these are {length}$"):
        d.describe_sense(bytes(length))


@pytest.mark.parametrize("word", BITS)
@given(value=st.integers(0, 0xFFFFFFFF))
def test_every_bit_has_words(word, value):
    said = d.bits_in_words(word, value)
    assert not said.startswith(", ")
    assert ", , " not in said
    for bit in BITS[word]:
        if bit.mask.bit_count() == 1 and value & bit.mask:
            assert d.bits_in_words(word, bit.mask)


@pytest.mark.parametrize(
    ("what", "size"),
    [("orb", 12), ("ccw", 8), ("scsw", 12), ("irb", 96), ("schib", 52), ("pmcw", 28), ("crw", 4)],
)
@given(data=st.data())
def test_any_bytes_can_be_described(what, size, data):
    raw = data.draw(st.binary(min_size=size, max_size=size))
    for row in d.DESCRIBERS[what](raw):
        assert row.field
        assert row.value
        assert "\n" not in row.meaning


@given(raw=st.binary(min_size=1, max_size=32), device=st.sampled_from(DEVICES))
def test_any_sense_data_can_be_described(raw, device):
    assert d.describe_sense(raw, words_of(device))[-1].value == raw.hex()
    assert d.line_sense(raw, words_of(device))


@given(raw=st.binary(min_size=96, max_size=96), device=st.sampled_from(DEVICES))
def test_any_irb_fits_on_one_line(raw, device):
    assert "\n" not in d.line_irb(codec.IRB.parse(raw), words_of(device))
    assert d.line_orb(Orb._make(codec.ORB.parse(raw)))
