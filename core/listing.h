/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guest code, and what the translator made of it, as text. */
#pragma once

#include <glib.h>

#include "vmm.h"

G_BEGIN_DECLS

/* The block's instructions, and next to each the host's instructions for it. */
void tn_listing (const VmmVcpu *cpu, const VmmTranslation *t, GString *out);
/* Instruction n of the block, which is `at` bytes from its first byte, in Intel's notation. */
void tn_listing_guest (const VmmTranslation *t, unsigned n, uint32_t at, GString *out);
/* Hexadecimal, with or without "0x". */
gboolean tn_listing_address (const char *text, uint32_t *address, GError **error);

G_END_DECLS
