/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the two halves of the real-time clock share: the registers (rtc.c), and what the BIOS wants
 * to find in the CMOS memory with the file that keeps it (cmos.c).
 */
#pragma once

#include <tenon/tenon.h>

#define CMOS_SIZE 256
#define CMOS_FIRST_FREE 0x0e /* below are the clock's registers */
#define CMOS_CENTURY 0x32
/* Ten thousand years and a bit: all that the registers can say. */
#define RTC_MAX_OFFSET_US INT64_C (400000000000000000)

enum { FLOPPY_NONE, FLOPPY_360K, FLOPPY_1200K, FLOPPY_720K, FLOPPY_1440K, FLOPPY_2880K,
       FLOPPY_AUTO };

typedef struct {
  TnDevice *device;
  /* properties */
  const char *boot, *nvram;
  uint32_t floppy_a, floppy_b, translation;
  bool fast_boot, check_floppy;

  TnLine *irq, *nmi_disable;
  TnTimer *event_timer, *save_timer;

  uint8_t cmos[CMOS_SIZE]; /* clock registers: as written while the clock stands, else stale */
  uint8_t index, index_high;
  bool nmi_masked;
  uint8_t flags;         /* register C without IRQF */
  int64_t offset_us;     /* the clock's time less the host's wall clock */
  uint8_t weekday_shift; /* what the guest's day of the week is ahead of the calendar's */
  int64_t periodic_base; /* virtual time at which the divider chain was last released */
  int64_t seen_second;   /* flags are up to date to this second (since 1970) of the clock ... */
  int64_t seen_at;       /* ... and to this virtual time */
  bool dirty;            /* the file is older than the memory */
} Rtc;

/* Fills the configuration bytes from the properties, the file and the size of main memory. */
bool rtc_cmos_fill (Rtc *r, GError **error);
/* The floppy drives; those that are not configured are what the controller told. */
void rtc_cmos_fill_floppies (Rtc *r);
/* Reads the file, if there is one; a missing file is a fresh battery. */
bool rtc_cmos_load (Rtc *r, GError **error);
/* Replaces the file in one step. */
void rtc_cmos_save (Rtc *r);
