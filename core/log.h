/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where messages go: standard error, and a file if the user wants one.  Each line is
 * "tenon: NAME: TEXT", NAME being the device, or the part of the program where there is none.
 * What is shown is decided by category (plugin's or device's name) and level.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <tenon/device.h>

G_BEGIN_DECLS

typedef struct TnLog TnLog;

TnLog *tn_log_new (void);
void tn_log_free (TnLog *log);
/* "LEVEL" for everything, or "CATEGORY:LEVEL", several with commas.  Later ones win. */
bool tn_log_configure (TnLog *log, const char *specification, GError **error);
/* Copies what is shown into a file, with the time, from now on; it is appended to. */
bool tn_log_open (TnLog *log, const char *file, GError **error);
bool tn_log_wants (TnLog *log, const char *category, const char *device, TnLogLevel level);
/* [any thread] `device` may be NULL; text may have several lines. */
void tn_log_write (TnLog *log, const char *category, TnLogLevel level, const char *device,
                   const char *text);
void tn_log_print (TnLog *log, const char *category, TnLogLevel level, const char *format, ...)
    G_GNUC_PRINTF (4, 5);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (TnLog, tn_log_free)

G_END_DECLS
