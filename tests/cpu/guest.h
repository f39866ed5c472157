/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What tests of the processor write to their guest's memory. */
#pragma once

#include "vmm.h"

static inline void
put (VmmVm *vm, uint32_t address, const void *data, size_t size)
{
  vmm_vm_write (vm, address, data, (uint32_t) size);
}

static inline void
put32 (VmmVm *vm, uint32_t address, uint32_t v)
{
  put (vm, address, &v, sizeof v);
}

static inline void
put64 (VmmVm *vm, uint32_t address, uint64_t v)
{
  put (vm, address, &v, sizeof v);
}
