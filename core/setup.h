/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a configuration file to a machine.
 */
#pragma once

#include "configuration.h"
#include "machine.h"

G_BEGIN_DECLS

/* Reads and checks; reports errors on standard error.  Returns NULL and the exit code in *code if
   there were any. */
TnConfig *tn_setup_load (const char *file, const char *const *sets, int *code);
/* Makes the configured devices and sets their properties; the machine is locked. */
bool tn_setup_devices (TnMachine *m, const TnConfig *config, GError **error);
/* Builds the cards of the machine for a moment, without a processor and without what reaches into
   the host (back ends, and properties that name files or back ends): finds ports, memory and PCI
   slots that two cards want.  Reports on standard error. */
bool tn_setup_try (const TnConfig *config);
/* What is added to the host's wall clock. */
int64_t tn_setup_clock_offset_us (const TnConfig *config);

G_END_DECLS
