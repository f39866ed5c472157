/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The host's side of the silicon test: a child process that runs the sequences in compatibility
 * mode.
 *
 * The child may read, write, return from signals and exit (seccomp); a sequence that finds a way to
 * another system call ends it.  A sequence that faults ends in a signal handler, which takes the
 * state from the signal frame; one that comes to its end returns by a far jump
 * (silicon-native.asm).
 */
#include "silicon.h"

#include <asm/ldt.h>
#include <cpuid.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

/* ORDER: Context */
typedef struct {
  uint32_t gpr[8];
  uint64_t eflags;
  uint32_t far_offset;
  uint16_t far_selector, reserved;
  uint16_t ds, es, ss, gs;
  uint64_t host_rsp, host_return;
  uint32_t mxcsr;
  /* from the signal handler */
  uint32_t vector, error, cr2, eip;
  uint16_t cs;
  bool signalled;
  uint8_t fx[512] __attribute__ ((aligned (512)));
} Context;
_Static_assert (offsetof (Context, fx) == 512, "silicon-native.asm");
_Static_assert (offsetof (Context, mxcsr) == 72, "silicon-native.asm");

extern Context silicon_context;
Context silicon_context;
static Context *const context = &silicon_context;

void silicon_enter (void);
_Noreturn void silicon_abandon (void);
void silicon_signal (int number, siginfo_t *info, void *ucontext);
void silicon_on_signal (int number, siginfo_t *info, void *ucontext);
extern const uint8_t silicon_return[], silicon_return_address1[], silicon_return_address2[],
    silicon_return_end[];

static struct {
  pid_t pid;
  int to_child, from_child;
  unsigned pending; /* batches begun and not waited for */
} native;

/* ---- What it is ---- */

const Host *
native_host (void)
{
  static Host host;
  unsigned a, b, c, d;
  if (host.mxcsr_mask)
    return &host;
  __cpuid (0, a, b, c, d);
  host.amd = b == signature_AMD_ebx && c == signature_AMD_ecx && d == signature_AMD_edx;
  __cpuid (1, a, b, c, d);
  host.guest = c >> 31;
  uint8_t fx[512] __attribute__ ((aligned (16))) = { 0 };
  __asm__ volatile ("fxsave %0" : "+m"(fx));
  memcpy (&host.mxcsr_mask, fx + 28, 4);
  if (!host.mxcsr_mask)
    host.mxcsr_mask = 0xffbf;
  return &host;
}

/* ---- Faults ---- */

PLAIN void
silicon_on_signal (int number, siginfo_t *info, void *ucontext)
{
  const mcontext_t *m = &((const ucontext_t *) ucontext)->uc_mcontext;
  const greg_t *g = m->gregs;
  static const int order[8]
      = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI };
  for (int n = 0; n < 8; n++)
    context->gpr[n] = (uint32_t) g[order[n]];
  context->eflags = (uint64_t) g[REG_EFL];
  context->eip = (uint32_t) g[REG_RIP];
  context->cs = (uint16_t) g[REG_CSGSFS];
  context->ss = (uint16_t) ((uint64_t) g[REG_CSGSFS] >> 48);
  context->vector = (uint32_t) g[REG_TRAPNO];
  context->error = (uint32_t) g[REG_ERR];
  context->cr2 = (uint32_t) g[REG_CR2];
  __asm__ ("mov %%ds, %0" : "=r"(context->ds));
  __asm__ ("mov %%es, %0" : "=r"(context->es));
  __asm__ ("mov %%gs, %0" : "=r"(context->gs));
  memcpy (context->fx, m->fpregs, 512);
  context->signalled = true;
  silicon_abandon ();
}

static void
catch_signals (void)
{
  static const int numbers[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP };
  size_t size = 1 << 18;
  stack_t stack = { .ss_size = size };
  stack.ss_sp = mmap (NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (stack.ss_sp == MAP_FAILED || sigaltstack (&stack, NULL))
    _exit (3);
  for (size_t n = 0; n < sizeof numbers / sizeof numbers[0]; n++)
    {
      struct sigaction action = { .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
      action.sa_sigaction = silicon_signal;
      if (sigaction (numbers[n], &action, NULL))
        _exit (3);
    }
}

/* ---- One case ---- */

static PLAIN void
run_case (Batch *batch, Case *k, Result *r, unsigned area, uint8_t *const pages[RW_PAGES])
{
  Context *c = context;
  memcpy (c->gpr, k->gpr, sizeof c->gpr);
  memcpy (c->fx, k->fx, 512);
  c->eflags = k->eflags;
  c->far_offset = (k->code16 ? 0 : CODE (area)) + k->start;
  c->far_selector = k->cs;
  c->ds = k->ds;
  c->es = k->es;
  c->ss = k->ss;
  c->gs = k->gs;
  c->signalled = false;
  silicon_enter ();
  memcpy (r->gpr, c->gpr, sizeof r->gpr);
  memcpy (r->fx, c->fx, 512);
  r->eflags = (uint32_t) c->eflags;
  r->ds = c->ds;
  r->es = c->es;
  r->ss = c->ss;
  r->gs = c->gs;
  r->cs = k->cs;
  r->vector = VECTOR_END;
  r->eip = k->start + k->offset[k->count] + (k->code16 ? 0 : CODE (area));
  r->error = r->cr2 = 0;
  /* A single-step trap behind the last instruction strikes on the way back: no difference. */
  if (c->signalled && !(c->cs == 0x33 && c->vector == 1))
    {
      r->vector = c->vector;
      r->eip = c->eip;
      r->cs = c->cs;
      r->error = c->error;
      r->cr2 = c->cr2;
    }
  memory_take (r, pages, batch->memory);
  if (!k->images)
    return;
  copy_plain (r->image, (void *) (uintptr_t) IMAGE_START, IMAGE_WINDOW);
  copy_plain ((void *) (uintptr_t) IMAGE_START, batch->image, IMAGE_WINDOW);
}

static PLAIN void
run_batch (Batch *batch, unsigned area)
{
  uint8_t *pages[RW_PAGES];
  mprotect ((void *) (uintptr_t) CODE (area), CODE_SIZE, PROT_READ | PROT_EXEC);
  mprotect ((void *) (uintptr_t) CODE (area ^ 1), CODE_SIZE, PROT_NONE);
  for (unsigned n = 0; n < DATA_PAGES; n++)
    if (n != 0 && n != 3 && n != 7)
      {
        uint8_t *page = (uint8_t *) (uintptr_t) (DATA + n * 4096);
        bool writable = memchr (rw_pages, (int) n, RW_PAGES);
        if (!writable)
          mprotect (page, 4096, PROT_READ | PROT_WRITE);
        copy_plain (page, batch->memory + n * 4096, 4096);
        if (!writable)
          mprotect (page, 4096, PROT_READ);
      }
  copy_plain ((void *) (uintptr_t) IMAGE_START, batch->image, IMAGE_WINDOW);
  for (unsigned n = 0; n < RW_PAGES; n++)
    pages[n] = (uint8_t *) (uintptr_t) (DATA + rw_pages[n] * 4096);
  for (unsigned n = 0; n < batch->count; n++)
    {
      batch->current = n;
      run_case (batch, &batch->cases[n], &batch->native[n], area, pages);
    }
}

/* ---- The child ---- */

static void *
map_fixed (uint32_t address, size_t size, int protection)
{
  return mmap ((void *) (uintptr_t) address, size, protection,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}

static bool
map_memory (void)
{
  if (map_fixed (IMAGE, 4096, PROT_READ | PROT_WRITE) == MAP_FAILED)
    return false;
  for (unsigned n = 0; n < DATA_PAGES; n++)
    if (n != 0 && n != 3 && n != 7
        && map_fixed (DATA + n * 4096, 4096, PROT_READ | PROT_WRITE) == MAP_FAILED)
      return false;
  return !mprotect ((void *) (uintptr_t) RETURN, 4096, PROT_READ | PROT_EXEC);
}

static bool
make_ldt (void)
{
  for (unsigned n = 0; n < LDT_COUNT; n++)
    {
      const LdtEntry *e = &ldt_entries[n];
      struct user_desc d = {
        .entry_number = n,
        .base_addr = e->base,
        .limit = e->limit,
        .seg_32bit = e->big,
        .contents = e->code ? 2 : e->down ? 1 : 0,
        .read_exec_only = e->readonly,
      };
      if (syscall (SYS_modify_ldt, 0x11, &d, sizeof d))
        return false;
    }
  return true;
}

static bool
confine (void)
{
#define ALLOW(call)                                                                                \
  BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, (call), 0, 1), BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
  struct sock_filter filter[] = {
    BPF_STMT (BPF_LD | BPF_W | BPF_ABS, offsetof (struct seccomp_data, arch)),
    BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
    BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    BPF_STMT (BPF_LD | BPF_W | BPF_ABS, offsetof (struct seccomp_data, nr)),
    ALLOW (SYS_read),
    ALLOW (SYS_write),
    ALLOW (SYS_mprotect),
    ALLOW (SYS_rt_sigreturn),
    ALLOW (SYS_exit_group),
    BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
  };
#undef ALLOW
  struct sock_fprog program = { .len = sizeof filter / sizeof filter[0], .filter = filter };
  return !prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
         && !prctl (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static _Noreturn void
child (Batch *batches[2], int from, int to)
{
  char byte;
  prctl (PR_SET_PDEATHSIG, SIGKILL);
  for (int fd = 3; fd < 256; fd++)
    if (fd != from && fd != to)
      close (fd);
  if (!map_memory () || !make_ldt ())
    _exit (2);
  catch_signals ();
#ifdef __SANITIZE_ADDRESS__
  /* The sanitizer's notes on low memory are where sequences expect nothing. */
  munmap ((void *) 0x7fff7000, 0x80009000u);
#endif
  if (!confine ())
    _exit (3);
  for (byte = 'r'; write (to, &byte, 1) == 1 && read (from, &byte, 1) == 1; byte = 'd')
    run_batch (batches[(unsigned) byte & 1], (unsigned) byte & 1);
  syscall (SYS_exit_group, 0);
  for (;;)
    ;
}

/* ---- The parent ---- */

/* The way back, with the address of the context in it. */
static bool
make_return_page (void)
{
  uint8_t *page = map_fixed (RETURN, 4096, PROT_READ | PROT_WRITE);
  uint64_t address = (uintptr_t) context;
  if (page == MAP_FAILED)
    return false;
  memcpy (page, silicon_return, (size_t) (silicon_return_end - silicon_return));
  memcpy (page + (silicon_return_address1 - silicon_return), &address, 8);
  memcpy (page + (silicon_return_address2 - silicon_return), &address, 8);
  return true;
}

const uint8_t *
native_return_page (void)
{
  return (const uint8_t *) (uintptr_t) RETURN;
}

const char *
native_start (Batch *batches[2], uint8_t *code[2])
{
  int there[2], back[2];
  for (unsigned area = 0; area < 2; area++)
    {
      code[area] = mmap ((void *) (uintptr_t) CODE (area), CODE_SIZE, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
      if (code[area] == MAP_FAILED)
        return "no memory below 4 GiB";
    }
  if (!make_return_page ())
    return "no memory below 4 GiB";
  if (pipe (there) || pipe (back))
    return "no pipes";
  native.pid = fork ();
  if (native.pid < 0)
    return "no process";
  if (native.pid == 0)
    child (batches, there[0], back[1]);
  close (there[0]);
  close (back[1]);
  native.to_child = there[1];
  native.from_child = back[0];
  native.pending = 1; /* it says that it is ready */
  if (!native_wait ())
    return "the host lacks compatibility mode, an LDT or seccomp";
  return NULL;
}

void
native_begin (unsigned area)
{
  char byte = (char) ('0' + area);
  if (write (native.to_child, &byte, 1) == 1)
    native.pending++;
}

bool
native_wait (void)
{
  char byte;
  ssize_t n = 1;
  while (native.pending && n == 1)
    {
      do
        n = read (native.from_child, &byte, 1);
      while (n < 0 && errno == EINTR);
      native.pending--;
    }
  return n == 1;
}

void
native_stop (void)
{
  if (native.pid <= 0)
    return;
  close (native.to_child);
  kill (native.pid, SIGKILL);
  waitpid (native.pid, NULL, 0);
  native.pid = 0;
}
