/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The co-routine of a virtual processor, for vcpu.c and state.c; see exit.c. */
#pragma once

#include "vcpu.h"

/* Callbacks run on it, down to the code of devices; what is never touched costs nothing. */
#define VMM_STACK_SIZE (1u << 20)

bool vmm_coroutine_new (VmmVcpu *c);
void vmm_coroutine_free (VmmVcpu *c);
/* Throws away what is parked; the next entry starts vmm_run anew. */
void vmm_coroutine_abandon (VmmVcpu *c);
VmmExitReason vmm_coroutine_enter (VmmVcpu *c);
