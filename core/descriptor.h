/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checks of a plugin's descriptor. */
#pragma once

#include "machine.h"

/* Copies the descriptor into *plugin (zero-extended where it is older than this core) and checks
   all of it: whatever passes can be used without further checks. */
bool tn_descriptor_take (TnPlugin *plugin, const TnPlugin *raw, const char *path, GError **error);
