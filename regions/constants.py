"""Every number of the interface, under the name that Linux or QEMU gives it.

Where a name comes from, in this order: the Linux uapi (`linux/vfio.h`, `linux/vfio_ccw.h`),
QEMU (`include/hw/s390x/ioinst.h`, `css.h`), the kernel (`arch/s390/include/asm/cio.h`,
`drivers/s390/block/dasd_eckd.h`, `dasd_fba.h`, `drivers/s390/char/tape_std.h`).  The meanings are
those of the z/Architecture *Principles of Operation* (SA22-7832), chapters 13 to 17.

A mask is written for the word that it lives in, as that word reads in big-endian order; no mask is
pre-shifted.  Only numbers live here: structures are in `layouts`, words for people in
`descriptions`.
"""

# ---------------------------------------------------------------- areas, regions: linux/vfio_ccw.h
ORB_AREA_SIZE = 12  # bytes of the io region that hold the ORB
SCSW_AREA_SIZE = 12  # bytes that hold the SCSW, which is the request while written
IRB_AREA_SIZE = 96  # bytes that hold the last interruption's IRB
SCHIB_AREA_SIZE = 52  # the whole schib region

ORB_AREA_OFFSET = 0
SCSW_AREA_OFFSET = 12
IRB_AREA_OFFSET = 24  # reading the byte here takes the interruption
RET_CODE_OFFSET = 120

IO_REGION_SIZE = 124
CMD_REGION_SIZE = 8
SCHIB_REGION_SIZE = 52
CRW_REGION_SIZE = 8
STATUS_REGION_SIZE = 128
PROGRAM_REGION_SIZE = 1008
MEASUREMENT_REGION_SIZE = 128
STATUS_REGION_VERSION = 1
PROGRAM_REGION_VERSION = 1
MEASUREMENT_REGION_VERSION = 1
PROGRAM_HALF_SIZE = 496  # bytes of each half of the program region
PROGRAM_HALF_A_OFFSET = 16  # where half A begins
PROGRAM_HALF_B_OFFSET = 512  # where half B begins
PROGRAM_HALF_NONE = 0  # values of `running`
PROGRAM_HALF_A = 1
PROGRAM_HALF_B = 2
MEASUREMENT_UNIT_NS = 128_000  # a unit of the channel-measurement block's times

VFIO_CCW_ASYNC_CMD_HSCH = 1 << 0
VFIO_CCW_ASYNC_CMD_CSCH = 1 << 1
# The interface `full` goes on where Linux stops.
VFIO_CCW_ASYNC_CMD_XSCH = 1 << 2
VFIO_CCW_ASYNC_CMD_RSCH = 1 << 3
VFIO_CCW_ASYNC_CMD_SSCH = 1 << 4  # the ORB is the io region's
VFIO_CCW_ASYNC_CMD_SSCH_A = 1 << 5  # the program is half A of the program region
VFIO_CCW_ASYNC_CMD_SSCH_B = 1 << 6  # the program is half B of the program region

# ------------------------------------------------------------------------------- linux/vfio.h
VFIO_DEVICE_FLAGS_RESET = 1 << 0
VFIO_DEVICE_FLAGS_CCW = 1 << 4

VFIO_REGION_INFO_FLAG_READ = 1 << 0
VFIO_REGION_INFO_FLAG_WRITE = 1 << 1
VFIO_REGION_INFO_FLAG_MMAP = 1 << 2
VFIO_REGION_INFO_FLAG_CAPS = 1 << 3

VFIO_REGION_INFO_CAP_TYPE = 2
VFIO_REGION_INFO_CAP_TYPE_VERSION = 1  # the header's version of the type capability

VFIO_REGION_TYPE_CCW = 2
VFIO_REGION_SUBTYPE_CCW_ASYNC_CMD = 1
VFIO_REGION_SUBTYPE_CCW_SCHIB = 2
VFIO_REGION_SUBTYPE_CCW_CRW = 3
# Ours, away from Linux's so that the kernel can go on counting.
VFIO_REGION_SUBTYPE_CCW_STATUS = 0x100
VFIO_REGION_SUBTYPE_CCW_PROGRAM = 0x101
VFIO_REGION_SUBTYPE_CCW_MEASUREMENT = 0x102

VFIO_CCW_CONFIG_REGION_INDEX = 0  # the io region; every other index is found by its capability

VFIO_IRQ_INFO_EVENTFD = 1 << 0

VFIO_CCW_IO_IRQ_INDEX = 0
VFIO_CCW_CRW_IRQ_INDEX = 1
VFIO_CCW_REQ_IRQ_INDEX = 2

# Not uapi: the kernel's VFIO_CCW_OFFSET_SHIFT (vfio_ccw_private.h).
REGION_OFFSET_SHIFT = 10  # offset in the device file = index << 10
REGION_MAX_SIZE = 1 << REGION_OFFSET_SHIFT

# -------------------------------------------------------------------- ORB: PoP 15; QEMU ioinst.h
ORB_SIZE = 12
ORB_CTRL0_MASK_KEY = 0xF000  # subchannel key, checked against storage keys
ORB_KEY_SHIFT = 12  # right shift that brings ORB_CTRL0_MASK_KEY to 0-15
ORB_CTRL0_MASK_SPND = 0x0800  # S: suspend is allowed
ORB_CTRL0_MASK_STR = 0x0400  # C: streaming mode
ORB_CTRL0_MASK_MOD = 0x0200  # M: modification
ORB_CTRL0_MASK_SYNC = 0x0100  # Y: synchronization
ORB_CTRL0_MASK_FMT = 0x0080  # F: format-1 CCWs
ORB_CTRL0_MASK_PFCH = 0x0040  # P: prefetch is allowed
ORB_CTRL0_MASK_ISIC = 0x0020  # I: initial-status interruption
ORB_CTRL0_MASK_ALCC = 0x0010  # A: address-limit checking
ORB_CTRL0_MASK_SSIC = 0x0008  # U: suppress suspended interruption
ORB_CTRL0_MASK_TRANSPORT = 0x0004  # B: channel-program type, 1 = transport mode
ORB_CTRL0_MASK_C64 = 0x0002  # H: format-2 IDAWs
ORB_CTRL0_MASK_I2K = 0x0001  # T: 2K blocks for format-2 IDAWs
ORB_CTRL1_MASK_ILS = 0x80  # L: incorrect-length suppression of immediate operations
ORB_CTRL1_MASK_MIDAW = 0x40  # D: modified-CCW-indirect-data-addressing
ORB_CTRL1_MASK_INVALID = 0x3E  # must be zero
ORB_CTRL1_MASK_ORBX = 0x01  # X: the ORB has its extension words

# ------------------------------------------------------------------- SCSW: PoP 16; QEMU ioinst.h
SCSW_SIZE = 12
SCSW_FLAGS_MASK_KEY = 0xF000
SCSW_FLAGS_MASK_SCTL = 0x0800  # S: suspend control
SCSW_FLAGS_MASK_ESWF = 0x0400  # L: extended-status-word format, 1 = format 0
SCSW_FLAGS_MASK_CC = 0x0300  # deferred condition code
SCSW_FLAGS_MASK_FMT = 0x0080
SCSW_FLAGS_MASK_PFCH = 0x0040
SCSW_FLAGS_MASK_ISIC = 0x0020
SCSW_FLAGS_MASK_ALCC = 0x0010
SCSW_FLAGS_MASK_SSI = 0x0008  # U: suppress suspended interruption
SCSW_FLAGS_MASK_ZCC = 0x0004  # Z: zero condition code
SCSW_FLAGS_MASK_ECTL = 0x0002  # E: extended control, the ECW holds something
SCSW_FLAGS_MASK_PNO = 0x0001  # N: path not operational
SCSW_CC_SHIFT = 8  # right shift that brings SCSW_FLAGS_MASK_CC to 0-3

SCSW_CTRL_MASK_FCTL = 0x7000
SCSW_CTRL_MASK_ACTL = 0x0FE0
SCSW_CTRL_MASK_STCTL = 0x001F
SCSW_FCTL_START_FUNC = 0x4000
SCSW_FCTL_HALT_FUNC = 0x2000
SCSW_FCTL_CLEAR_FUNC = 0x1000
SCSW_ACTL_RESUME_PEND = 0x0800
SCSW_ACTL_START_PEND = 0x0400
SCSW_ACTL_HALT_PEND = 0x0200
SCSW_ACTL_CLEAR_PEND = 0x0100
SCSW_ACTL_SUBCH_ACTIVE = 0x0080
SCSW_ACTL_DEVICE_ACTIVE = 0x0040
SCSW_ACTL_SUSP = 0x0020
SCSW_STCTL_ALERT = 0x0010
SCSW_STCTL_INTERMEDIATE = 0x0008
SCSW_STCTL_PRIMARY = 0x0004
SCSW_STCTL_SECONDARY = 0x0002
SCSW_STCTL_STATUS_PEND = 0x0001

SCSW_DSTAT_ATTENTION = 0x80
SCSW_DSTAT_STAT_MOD = 0x40
SCSW_DSTAT_CU_END = 0x20
SCSW_DSTAT_BUSY = 0x10
SCSW_DSTAT_CHANNEL_END = 0x08
SCSW_DSTAT_DEVICE_END = 0x04
SCSW_DSTAT_UNIT_CHECK = 0x02
SCSW_DSTAT_UNIT_EXCEP = 0x01

SCSW_CSTAT_PCI = 0x80
SCSW_CSTAT_INCORR_LEN = 0x40
SCSW_CSTAT_PROG_CHECK = 0x20
SCSW_CSTAT_PROT_CHECK = 0x10
SCSW_CSTAT_DATA_CHECK = 0x08
SCSW_CSTAT_CHN_CTRL_CHK = 0x04
SCSW_CSTAT_INTF_CTRL_CHK = 0x02
SCSW_CSTAT_CHAIN_CHECK = 0x01

# ------------------------------------- ESW, ERW, ECW: PoP 16; kernel cio.h struct erw, esw0 sublog
IRB_SIZE = 96
ESW_OFFSET = 12  # in the IRB
ESW_SIZE = 20
ECW_OFFSET = 32
ECW_SIZE = 32
EMW_OFFSET = 64
EMW_SIZE = 32

ESW_LPUM_SHIFT = 16
ESW_DCTI_MASK = 0x0000FFFF  # word 0 of format 2: device-connect-time interval, 128 us a unit

SUBLOG_ESF = 0x7F000000  # word 0 of format 0, the subchannel logout: extended status flags
SUBLOG_LPUM = 0x00FF0000
SUBLOG_AREP = 0x00008000  # ancillary report
SUBLOG_FVF = 0x00007C00  # field-validity flags
SUBLOG_SACC = 0x00000300  # storage-access code
SUBLOG_TERMC = 0x000000C0  # termination code
SUBLOG_DEVSC = 0x00000020  # device-status check
SUBLOG_SERR = 0x00000010  # secondary error
SUBLOG_IOERR = 0x00000008  # I/O-error alert
SUBLOG_SEQC = 0x00000007  # sequence code

ERW_RLOG = 0x40000000  # L: request logging only
ERW_ESLP = 0x20000000  # E: extended subchannel logout pending
ERW_AUTH = 0x10000000  # A: authorization check
ERW_PVRF = 0x08000000  # P: path verification required
ERW_CPT = 0x04000000  # T: channel-path timeout
ERW_FSAVF = 0x02000000  # F: the failing-storage address is valid
ERW_CONS = 0x01000000  # S: concurrent sense, the ECW holds sense data
ERW_SCAVF = 0x00800000  # C: the secondary-CCW address is valid
ERW_FSAF = 0x00400000  # R: format of the failing-storage address, 1 = 64 bits
ERW_SCNT_MASK = 0x3F  # concurrent-sense count in bytes, after the shift
ERW_SCNT_SHIFT = 16

# ------------------------------------------------------------ PMCW, SCHIB: PoP 15; QEMU ioinst.h
PMCW_SIZE = 28
SCHIB_SIZE = 52
SCHIB_SCSW_OFFSET = 28
SCHIB_MDA_OFFSET = 40  # model-dependent area, and the measurement-block address if MBFC is one
PMCW_FLAGS_MASK_QF = 0x8000  # QDIO facility
PMCW_FLAGS_MASK_W = 0x4000
PMCW_FLAGS_MASK_ISC = 0x3800  # interruption subclass
PMCW_FLAGS_MASK_INVALID = 0x0700  # must be zero for MSCH
PMCW_FLAGS_MASK_ENA = 0x0080  # E: enabled
PMCW_FLAGS_MASK_LM = 0x0060  # limit mode
PMCW_FLAGS_MASK_MME = 0x0018  # measurement mode: 0x10 block update, 0x08 device-connect time
PMCW_FLAGS_MASK_MP = 0x0004  # D: multipath mode
PMCW_FLAGS_MASK_TF = 0x0002  # T: timing facility
PMCW_FLAGS_MASK_DNV = 0x0001  # V: the device number is valid
PMCW_ISC_SHIFT = 11
PMCW_CHARS_MASK_ST = 0x00E00000  # subchannel type, 0 = I/O
PMCW_CHARS_MASK_MBFC = 0x00000004  # measurement-block format control
PMCW_CHARS_MASK_XMWME = 0x00000002  # extended measurement word mode
PMCW_CHARS_MASK_CSENSE = 0x00000001  # concurrent sense
PMCW_CHARS_MASK_INVALID = 0xFF1FFFF8  # must be zero for MSCH

# ------------------------------------------------------------------- CRW: PoP 17; QEMU ioinst.h
CRW_SIZE = 4
CRW_FLAGS_MASK_S = 0x4000  # solicited
CRW_FLAGS_MASK_R = 0x2000  # overflow: reports were lost
CRW_FLAGS_MASK_C = 0x1000  # chained: the next word belongs to this report
CRW_FLAGS_MASK_RSC = 0x0F00  # reporting-source code
CRW_FLAGS_MASK_A = 0x0080  # ancillary report
CRW_FLAGS_MASK_ERC = 0x003F  # error-recovery code
CRW_RSC_SHIFT = 8
CRW_RSC_MONITOR = 0x2
CRW_RSC_SUBCH = 0x3
CRW_RSC_CHP = 0x4
CRW_RSC_CONFIG = 0x9
CRW_RSC_CSS = 0xB
CRW_ERC_EVENT = 0x00  # event information pending
CRW_ERC_AVAIL = 0x01
CRW_ERC_INIT = 0x02
CRW_ERC_TERROR = 0x03  # temporary error
CRW_ERC_IPI = 0x04  # installed parameters initialized
CRW_ERC_TERM = 0x05  # terminal
CRW_ERC_PERRN = 0x06  # permanent error, facility not initialized
CRW_ERC_PERRI = 0x07  # permanent error, facility initialized
CRW_ERC_PMOD = 0x08  # installed parameters modified

# ----------------------------------------------------- CCW, IDAW, MIDAW: PoP 15; QEMU css.h
CCW_SIZE = 8
CCW_FLAG_DC = 0x80  # chain data
CCW_FLAG_CC = 0x40  # chain command
CCW_FLAG_SLI = 0x20  # suppress length indication
CCW_FLAG_SKIP = 0x10
CCW_FLAG_PCI = 0x08  # program-controlled interruption
CCW_FLAG_IDA = 0x04  # indirect data addressing
CCW_FLAG_SUSPEND = 0x02
CCW_FLAG_MIDA = 0x01  # modified indirect data addressing

CCW0_ADDRESS_MASK = 0x00FFFFFF
CCW1_ADDRESS_MASK = 0x7FFFFFFF

IDAW1_SIZE = 4
IDAW2_SIZE = 8
IDAW_BLOCK_2K = 2048
IDAW_BLOCK_4K = 4096

MIDAW_SIZE = 16
MIDAW_FLAG_LAST = 0x80
MIDAW_FLAG_SKIP = 0x40
MIDAW_FLAG_DTIC = 0x20  # data-transfer-interruption control
MIDAW_FLAG_RESERVED = 0x1F  # must be zero

# ------------------------------------------------------- commands of every device: kernel cio.h
CCW_CMD_READ_IPL = 0x02  # READ with no modifier
CCW_CMD_NOOP = 0x03  # CONTROL with no modifier
CCW_CMD_BASIC_SENSE = 0x04
CCW_CMD_TIC = 0x08
CCW_CMD_SENSE_PGID = 0x34
CCW_CMD_SUSPEND_RECONN = 0x5B
CCW_CMD_RDC = 0x64
CCW_CMD_SET_PGID = 0xAF
CCW_CMD_SENSE_ID = 0xE4
CCW_CMD_RCD = 0xFA  # what the CIW of type 0 names on every device of ours

# Path groups: byte 0 of the SET PGID data asks, byte 0 of the SENSE PGID data tells; the other
# eleven bytes are the group's id.  Kernel cio.h; there the SNID values are not yet shifted.
PGID_SIZE = 12
SPID_FUNC_MULTI_PATH = 0x80
SPID_FUNC_ESTABLISH = 0x00
SPID_FUNC_DISBAND = 0x20
SNID_STATE1_SHIFT = 6  # two bits: the path
SNID_STATE1_RESET = 0
SNID_STATE1_UNGROUPED = 2
SNID_STATE1_GROUPED = 3
SNID_STATE2_SHIFT = 4  # two bits: who has reserved the device
SNID_STATE2_RESVD_ELSE = 2
SNID_STATE2_RESVD_SELF = 3
SNID_STATE3_SHIFT = 3  # one bit: the mode
SNID_STATE3_MULTI_PATH = 1

# --------------------------- sense byte 0, common to all devices: PoP 16; kernel cio.h SNS0_*
SNS0_CMD_REJECT = 0x80
SNS0_INTERVENTION_REQ = 0x40
SNS0_BUS_OUT_CHECK = 0x20
SNS0_EQUIPMENT_CHECK = 0x10
SNS0_DATA_CHECK = 0x08
SNS0_OVERRUN = 0x04
SENSE_MAX_COUNT = 32
