/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The co-routine: vmm_vcpu_execute () enters it, vmm_leave () leaves it.
 *
 * The interpreter runs on a host stack of its own, so that an exit may happen anywhere, deep inside
 * an instruction, and be resumed there:
 *
 *   embedder                          co-routine
 *   vmm_vcpu_execute (c, 1000)  --->  vmm_run: decode, execute ... IN AL, 60h
 *                               <---  vmm_leave (c, VMM_EXIT_IO_IN)
 *   exit->value = 0x1c
 *   vmm_vcpu_execute (c, 1000)  --->  ... returns; AL = 1Ch; the next instruction
 *
 * At VMM_EXIT_TIME_SLICE, HLT and SHUTDOWN the processor is at an instruction boundary: only there
 * does vmm_vcpu_get_state () give a state that can be set elsewhere.  Reset and set_state throw a
 * parked co-routine away (vmm_coroutine_abandon): nothing on that stack owns anything.  Whoever
 * keeps a host pointer across vmm_leave () must get it anew, for the embedder may have changed the
 * memory map meanwhile.
 *
 * AddressSanitizer must be told about each change of stack.
 */
#include "engine.h"
#include "exit.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#define GUARD 4096u

/* What vmm_switch pops; the layout stands in switch.asm. */
typedef struct {
  uint32_t mxcsr, x87_control;
  uint64_t r15, r14, r13, r12, rbx, rbp;
  uint64_t return_address;
} Frame;

void vmm_switch (void **save, void *load);
void vmm_switch_start (void);

bool
vmm_coroutine_new (VmmVcpu *c)
{
  uint8_t *p = mmap (NULL, VMM_STACK_SIZE + 2 * GUARD, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED)
    return false;
  if (mprotect (p + GUARD, VMM_STACK_SIZE, PROT_READ | PROT_WRITE) != 0)
    {
      munmap (p, VMM_STACK_SIZE + 2 * GUARD);
      return false;
    }
  c->stack = p + GUARD;
  return true;
}

void
vmm_coroutine_free (VmmVcpu *c)
{
  if (!c->stack)
    return;
  vmm_coroutine_abandon (c);
  munmap ((uint8_t *) c->stack - GUARD, VMM_STACK_SIZE + 2 * GUARD);
  c->stack = NULL;
}

void
vmm_coroutine_abandon (VmmVcpu *c)
{
  if (c->blocks) /* what came before in the block was executed, and what is cut off counts */
    {
      c->instructions = vmm_retired (c) + c->in_exit;
      c->blocks->running = NULL;
    }
  c->guest_rsp = NULL;
  c->in_exit = false;
  c->delivering = c->delivering_exception = c->external = false;
#ifdef __SANITIZE_ADDRESS__
  ASAN_UNPOISON_MEMORY_REGION (c->stack, VMM_STACK_SIZE);
  c->guest_fake_stack = NULL;
#endif
}

static void
coroutine_main (VmmVcpu *c)
{
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber (NULL, &c->host_stack_bottom, &c->host_stack_size);
#endif
  vmm_run (c);
}

static void
prepare (VmmVcpu *c)
{
  uint8_t *top = (uint8_t *) c->stack + VMM_STACK_SIZE;
  /* vmm_switch_start then has rsp at top - 64: a multiple of 16, as its call wants. */
  Frame *frame = (Frame *) (top - 64) - 1;
  *frame = (Frame){
    .mxcsr = 0x1f80,
    .x87_control = 0x37f,
    .r12 = (uint64_t) (uintptr_t) coroutine_main,
    .r13 = (uint64_t) (uintptr_t) c,
    .return_address = (uint64_t) (uintptr_t) vmm_switch_start,
  };
  c->guest_rsp = frame;
}

VmmExitReason
vmm_coroutine_enter (VmmVcpu *c)
{
  if (!c->guest_rsp)
    prepare (c);
  c->in_exit = false;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber (&c->host_fake_stack, c->stack, VMM_STACK_SIZE);
#endif
  vmm_switch (&c->host_rsp, c->guest_rsp);
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber (c->host_fake_stack, NULL, NULL);
#endif
  return c->exit.reason;
}

/* What the host did meanwhile must be seen before the instruction goes on. */
void
vmm_called_slow (VmmVcpu *c)
{
  uint32_t attention = atomic_load (&c->attention);
  if (attention & ATT_FLUSH)
    {
      atomic_fetch_and (&c->attention, ~ATT_FLUSH);
      vmm_tlb_flush (c, true);
    }
  if (attention)
    c->stop_block = true;
}

void
vmm_leave (VmmVcpu *c, VmmExitReason reason)
{
  vmm_fpu_sync (c);
  if (c->engine) /* no kicks while the host is at work; engine.c takes them up again */
    atomic_store_explicit (&c->engine->in_code, false, memory_order_relaxed);
  c->exit.reason = reason;
  c->exit.smm = c->smm;
  c->exit.items = c->items;
  c->stat.exits[reason]++;
  c->in_exit
      = reason != VMM_EXIT_TIME_SLICE && reason != VMM_EXIT_HLT && reason != VMM_EXIT_SHUTDOWN;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber (&c->guest_fake_stack, c->host_stack_bottom, c->host_stack_size);
#endif
  vmm_switch (&c->guest_rsp, c->host_rsp);
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber (c->guest_fake_stack, &c->host_stack_bottom, &c->host_stack_size);
#endif
  vmm_called_slow (c);
  if (c->config.counted) /* the new slice may end within the block */
    c->stop_block = true;
}

void
vmm_log (VmmVcpu *c, int level, const char *format, ...)
{
  char text[256];
  va_list args;
  if (!c->config.log)
    return;
  va_start (args, format);
  vsnprintf (text, sizeof text, format, args);
  va_end (args);
  c->config.log (c->config.opaque, level, text);
}

_Noreturn void
vmm_raise_error (VmmVcpu *c, unsigned vector, uint32_t error)
{
  bool selector_error = vector == EX_TS || vector == EX_NP || vector == EX_SS || vector == EX_GP;
  c->fault.vector = (uint8_t) vector;
  c->fault.has_error = true;
  c->fault.error = selector_error && c->external ? error | 1 : error;
  _longjmp (c->on_fault, 1);
}

_Noreturn void
vmm_restart (VmmVcpu *c)
{
  _longjmp (c->on_fault, VMM_RESTART);
}

_Noreturn void
vmm_raise (VmmVcpu *c, unsigned vector)
{
  c->fault.vector = (uint8_t) vector;
  c->fault.has_error = false;
  c->fault.error = 0;
  _longjmp (c->on_fault, 1);
}

const char *
vmm_exit_name (VmmExitReason reason)
{
  static const char *const names[VMM_EXIT_REASONS] = {
    [VMM_EXIT_TIME_SLICE] = "time-slice",
    [VMM_EXIT_IO_IN] = "io-in",
    [VMM_EXIT_IO_OUT] = "io-out",
    [VMM_EXIT_IO_INS] = "io-ins",
    [VMM_EXIT_IO_OUTS] = "io-outs",
    [VMM_EXIT_MMIO_READ] = "mmio-read",
    [VMM_EXIT_MMIO_WRITE] = "mmio-write",
    [VMM_EXIT_HLT] = "hlt",
    [VMM_EXIT_INTA] = "inta",
    [VMM_EXIT_SHUTDOWN] = "shutdown",
    [VMM_EXIT_DEBUG] = "debug",
    [VMM_EXIT_ADDITIONS_CALL] = "additions-call",
  };
  return (unsigned) reason < VMM_EXIT_REASONS ? names[reason] : "?";
}
