/* Of the SCSW, in the bytes of the IRB: fctl, then actl and stctl, and unit status (PoP 16). */
#ifndef SCSW_H
#define SCSW_H

#define IRB_FCTL 2
#define IRB_STCTL 3
#define IRB_DSTAT 8
#define FCTL_START 0x40
#define FCTL_HALT 0x20
#define FCTL_CLEAR 0x10
#define STCTL_ENDING 0x17    /* alert, primary, secondary, status pending */
#define STCTL_ALONE 0x01     /* status pending */
#define DSTAT_EXCEPTION 0x0d /* channel end, device end, unit exception */

#endif
