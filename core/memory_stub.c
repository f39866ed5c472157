/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stands in for the VMM's memory until it links: weak definitions. */
#include "internal.h"
#include <sys/mman.h>
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#define WEAK __attribute__ ((weak))
struct VmmVm { uint64_t size; uint8_t *ram; };
WEAK VmmVm *vmm_vm_new (uint64_t size, const char **error) { VmmVm *vm = g_new0 (VmmVm, 1); vm->size = size; vm->ram = mmap (NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0); return vm; }
WEAK void vmm_vm_free (VmmVm *vm) { munmap (vm->ram, vm->size); g_free (vm); }
WEAK void *vmm_vm_ram_page (VmmVm *vm, uint64_t offset) { return vm->ram + offset; }
WEAK void vmm_vm_map_read (VmmVm *vm, VmmView view, uint32_t first, uint64_t size, VmmMapKind kind, uint64_t ram_offset, const void *host) { }
WEAK void vmm_vm_map_write (VmmVm *vm, VmmView view, uint32_t first, uint64_t size, VmmMapKind kind, uint64_t ram_offset, void *host) { }
WEAK uint32_t vmm_vm_read (VmmVm *vm, uint32_t address, void *buffer, uint32_t size) { return 0; }
WEAK uint32_t vmm_vm_write (VmmVm *vm, uint32_t address, const void *buffer, uint32_t size) { return 0; }
