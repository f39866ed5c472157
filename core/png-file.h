/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pictures as PNG files. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

G_BEGIN_DECLS

/* Pixels are 0xRRGGBB, line by line; neither side may be 0. */
bool tn_png_write (const char *path, const uint32_t *pixels, uint32_t width, uint32_t height,
                   GError **error);

G_END_DECLS
