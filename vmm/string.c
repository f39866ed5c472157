/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * String instructions: MOVS, CMPS, STOS, LODS, SCAS, INS and OUTS, with and without REP.
 *
 * A repeated instruction works in steps.  A step of plain memory is as many items as lie within one
 * page of source and destination, within the segments' limits and before an address register wraps;
 * it is done through host pointers.  Where that is not possible (an item that crosses a page,
 * memory mapped I/O, pages with code or data breakpoints, #AC checks, single stepping) items are
 * done one by one.  After each step ESI, EDI and ECX are up to date and the instruction is executed
 * again by the loop as long as ECX is not 0: so it can be interrupted and a fault finds it
 * restartable.
 */
#include "insn.h"
#include "block.h"

/* At most so many items one by one before the instruction starts again; where there is a fast way,
   one: then that may be open again. */
#define ITEMS_SLOWLY 64

typedef struct {
  uint32_t mask; /* of the address registers and the count */
  uint32_t left; /* value of the count register */
} Rep;

static inline int32_t
item_step (const VmmVcpu *c, unsigned size)
{
  return c->eflags & FL_DF ? -(int32_t) size : (int32_t) size;
}

static inline void
advance (VmmVcpu *c, unsigned reg, uint32_t bytes, uint32_t mask)
{
  vmm_set_masked (c, reg, c->gpr[reg] + bytes, mask);
}

/* How many items at `offset`, upwards, lie before the segment's limit, a wrap of the offset and the
   page's end.  0 if not even one does (or the access is not allowed): then the slow way finds out
   why. */
static uint32_t
items_at (const VmmVcpu *c, VmmSegId s, uint32_t offset, unsigned size, uint32_t mask, unsigned can)
{
  const VmmSegment *seg = &c->seg[s];
  uint32_t high = seg->high < mask ? seg->high : mask;
  if (!(seg->can & can) || offset < seg->low || offset > high)
    return 0;
  uint64_t in_segment = (uint64_t) high - offset + 1;
  uint32_t in_page = 4096 - ((seg->base + offset) & 0xfff);
  return (uint32_t) (in_segment < in_page ? in_segment : in_page) / size;
}

static inline bool
may_go_fast (const VmmVcpu *c)
{
  return !(c->eflags & FL_DF) && !c->blocks->single && !vmm_ac_on (c);
}

static inline bool
must_stop (const VmmVcpu *c)
{
  return c->stop_block || c->debug_hits || c->blocks->single
         || atomic_load_explicit (&c->attention, memory_order_relaxed);
}

static inline uint32_t
least (uint32_t a, uint32_t b)
{
  return a < b ? a : b;
}

/* ---- One item ---- */

#define ITEM(bits, size)                                                                           \
  VMM_INLINE void movs_item##bits (VmmVcpu *c, const VmmInsn *i, uint32_t mask)                    \
  {                                                                                                \
    uint32_t step = (uint32_t) item_step (c, size);                                                \
    VmmType##bits v = vmm_read##bits (c, i->segment, c->gpr[VMM_ESI] & mask);                      \
    vmm_write##bits (c, VMM_ES, c->gpr[VMM_EDI] & mask, v);                                        \
    advance (c, VMM_ESI, step, mask);                                                              \
    advance (c, VMM_EDI, step, mask);                                                              \
  }                                                                                                \
  VMM_INLINE void stos_item##bits (VmmVcpu *c, const VmmInsn *i, uint32_t mask)                    \
  {                                                                                                \
    vmm_write##bits (c, VMM_ES, c->gpr[VMM_EDI] & mask, vmm_get##bits (c, 0));                     \
    advance (c, VMM_EDI, (uint32_t) item_step (c, size), mask);                                    \
  }                                                                                                \
  VMM_INLINE void lods_item##bits (VmmVcpu *c, const VmmInsn *i, uint32_t mask)                    \
  {                                                                                                \
    vmm_set##bits (c, 0, vmm_read##bits (c, i->segment, c->gpr[VMM_ESI] & mask));                  \
    advance (c, VMM_ESI, (uint32_t) item_step (c, size), mask);                                    \
  }                                                                                                \
  VMM_INLINE void cmps_item##bits (VmmVcpu *c, const VmmInsn *i, uint32_t mask)                    \
  {                                                                                                \
    uint32_t step = (uint32_t) item_step (c, size);                                                \
    VmmType##bits b = vmm_read##bits (c, VMM_ES, c->gpr[VMM_EDI] & mask);                          \
    VmmType##bits a = vmm_read##bits (c, i->segment, c->gpr[VMM_ESI] & mask);                      \
    do_cmp##bits (c, a, b);                                                                        \
    advance (c, VMM_ESI, step, mask);                                                              \
    advance (c, VMM_EDI, step, mask);                                                              \
  }                                                                                                \
  VMM_INLINE void scas_item##bits (VmmVcpu *c, const VmmInsn *i, uint32_t mask)                    \
  {                                                                                                \
    VmmType##bits b = vmm_read##bits (c, VMM_ES, c->gpr[VMM_EDI] & mask);                          \
    do_cmp##bits (c, vmm_get##bits (c, 0), b);                                                     \
    advance (c, VMM_EDI, (uint32_t) item_step (c, size), mask);                                    \
  }
VMM_HOST_BINARY (cmp, 8, "b", "")
VMM_HOST_BINARY (cmp, 16, "w", "")
VMM_HOST_BINARY (cmp, 32, "l", "")
ITEM (8, 1)
ITEM (16, 2)
ITEM (32, 4)

/* ---- Steps of plain memory; return how many items they did ---- */

static void
copy (void *to, const void *from, size_t items, unsigned size)
{
  /* Item by item upwards, whatever overlaps: that is what the guest's instruction promises. */
  if (size == 1)
    asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(items) : : "memory");
  else if (size == 2)
    asm volatile("rep movsw" : "+D"(to), "+S"(from), "+c"(items) : : "memory");
  else
    asm volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(items) : : "memory");
}

static void
fill (void *to, uint32_t value, size_t items, unsigned size)
{
  if (size == 1)
    asm volatile("rep stosb" : "+D"(to), "+c"(items) : "a"(value) : "memory");
  else if (size == 2)
    asm volatile("rep stosw" : "+D"(to), "+c"(items) : "a"(value) : "memory");
  else
    asm volatile("rep stosl" : "+D"(to), "+c"(items) : "a"(value) : "memory");
}

/* Changes whenever a device may have changed the memory map. */
static inline uint64_t
mmio_accesses (const VmmVcpu *c)
{
  return c->stat.exits[VMM_EXIT_MMIO_READ] + c->stat.exits[VMM_EXIT_MMIO_WRITE]
         + c->stat.fast_mmio_reads + c->stat.fast_mmio_writes;
}

static uint32_t
movs_step (VmmVcpu *c, const VmmInsn *i, const Rep *rep, unsigned size)
{
  uint32_t si = c->gpr[VMM_ESI] & rep->mask, di = c->gpr[VMM_EDI] & rep->mask;
  uint32_t n = least (rep->left, items_at (c, i->segment, si, size, rep->mask, VMM_CAN_READ));
  n = least (n, items_at (c, VMM_ES, di, size, rep->mask, VMM_CAN_WRITE));
  if (n == 0)
    return 0;
  const uint8_t *from = vmm_host_for_read (c, c->seg[i->segment].base + si, c->user);
  uint64_t accesses = mmio_accesses (c);
  uint8_t *to = from ? vmm_host_for_write (c, c->seg[VMM_ES].base + di, c->user) : NULL;
  if (!to || accesses != mmio_accesses (c)) /* page tables on a device: `from` may be stale */
    return 0;
  copy (to, from, n, size);
  advance (c, VMM_ESI, n * size, rep->mask);
  advance (c, VMM_EDI, n * size, rep->mask);
  return n;
}

static uint32_t
stos_step (VmmVcpu *c, const VmmInsn *i, const Rep *rep, unsigned size)
{
  uint32_t di = c->gpr[VMM_EDI] & rep->mask;
  uint32_t n = least (rep->left, items_at (c, VMM_ES, di, size, rep->mask, VMM_CAN_WRITE));
  uint8_t *to = n ? vmm_host_for_write (c, c->seg[VMM_ES].base + di, c->user) : NULL;
  if (!to)
    return 0;
  fill (to, c->gpr[VMM_EAX], n, size);
  advance (c, VMM_EDI, n * size, rep->mask);
  return n;
}

/* How many leading items are equal (or differ, for REPNE), at most n; the one after it ended it. */
static uint32_t
matching (const uint8_t *a, const uint8_t *b, unsigned b_step, uint32_t n, unsigned size,
          bool equal)
{
  uint32_t k = 0;
  if (size == 1)
    while (k < n && (a[k] == b[k * b_step]) == equal)
      k++;
  else
    while (k < n && (memcmp (a + k * size, b + k * b_step, size) == 0) == equal)
      k++;
  return k;
}

/* The loops below leave the item that ends them, and the last one, to the slow way: it sets flags.
 */
static uint32_t
cmps_step (VmmVcpu *c, const VmmInsn *i, const Rep *rep, unsigned size)
{
  uint32_t si = c->gpr[VMM_ESI] & rep->mask, di = c->gpr[VMM_EDI] & rep->mask;
  uint32_t n = least (rep->left - 1, items_at (c, i->segment, si, size, rep->mask, VMM_CAN_READ));
  n = least (n, items_at (c, VMM_ES, di, size, rep->mask, VMM_CAN_READ));
  if (n == 0)
    return 0;
  const uint8_t *b = vmm_host_for_read (c, c->seg[VMM_ES].base + di, c->user);
  uint64_t accesses = mmio_accesses (c);
  const uint8_t *a = b ? vmm_host_for_read (c, c->seg[i->segment].base + si, c->user) : NULL;
  if (!a || accesses != mmio_accesses (c))
    return 0;
  n = matching (a, b, size, n, size, !(i->flags & VMM_INSN_REPNE));
  advance (c, VMM_ESI, n * size, rep->mask);
  advance (c, VMM_EDI, n * size, rep->mask);
  return n;
}

static uint32_t
scas_step (VmmVcpu *c, const VmmInsn *i, const Rep *rep, unsigned size)
{
  uint32_t di = c->gpr[VMM_EDI] & rep->mask;
  uint32_t n = least (rep->left - 1, items_at (c, VMM_ES, di, size, rep->mask, VMM_CAN_READ));
  const uint8_t *a = n ? vmm_host_for_read (c, c->seg[VMM_ES].base + di, c->user) : NULL;
  if (!a)
    return 0;
  n = matching (a, (const uint8_t *) &c->gpr[VMM_EAX], 0, n, size, !(i->flags & VMM_INSN_REPNE));
  advance (c, VMM_EDI, n * size, rep->mask);
  return n;
}

/* LODS has no fast way: nobody repeats it. */
static uint32_t
lods_step (VmmVcpu *c, const VmmInsn *i, const Rep *rep, unsigned size)
{
  return 0;
}

/* ---- The instructions ---- */

VMM_INLINE void
put_count (VmmVcpu *c, const Rep *rep)
{
  vmm_set_masked (c, VMM_ECX, rep->left, rep->mask);
}

/* CMPS and SCAS end when the comparison says so. */
#define ENDS_NEVER false
#define ENDS_BY_ZF (!(c->eflags & FL_ZF) == !(i->flags & VMM_INSN_REPNE))
/* How many items a round of plain memory would do.  Where instructions are counted so many are done,
   one by one, though the page holds decoded code: what is decoded may not change the count. */
static uint32_t
movs_items (const VmmVcpu *c, const VmmInsn *i, const Rep *rep, unsigned size)
{
  uint32_t si = c->gpr[VMM_ESI] & rep->mask, di = c->gpr[VMM_EDI] & rep->mask;
  return least (items_at (c, i->segment, si, size, rep->mask, VMM_CAN_READ),
                items_at (c, VMM_ES, di, size, rep->mask, VMM_CAN_WRITE));
}

static uint32_t
stos_items (const VmmVcpu *c, const VmmInsn *i, const Rep *rep, unsigned size)
{
  return items_at (c, VMM_ES, c->gpr[VMM_EDI] & rep->mask, size, rep->mask, VMM_CAN_WRITE);
}

#define lods_items(c, i, rep, size) 0
#define cmps_items(c, i, rep, size) 0
#define scas_items(c, i, rep, size) 0

static inline bool
must_stop_counted (const VmmVcpu *c, uint64_t accesses)
{
  return c->debug_hits || c->blocks->single || accesses != mmio_accesses (c)
         || (atomic_load_explicit (&c->attention, memory_order_relaxed) & ~ATT_KICK);
}

#define INSTRUCTION(name, bits, size, fast, ends)                                                  \
  void vmm_op_##name##bits (VmmVcpu *c, const VmmInsn *i)                                          \
  {                                                                                                \
    name##_item##bits (c, i, vmm_address_mask (i));                                                \
  }                                                                                                \
  void vmm_op_rep_##name##bits (VmmVcpu *c, const VmmInsn *i)                                      \
  {                                                                                                \
    Rep rep = { .mask = vmm_address_mask (i), .left = c->gpr[VMM_ECX] & vmm_address_mask (i) };    \
    if (rep.left == 0)                                                                             \
      return;                                                                                      \
    uint32_t k = may_go_fast (c) && (fast) ? 1 : ITEMS_SLOWLY;                                     \
    uint64_t accesses = mmio_accesses (c);                                                         \
    if (may_go_fast (c))                                                                           \
      {                                                                                            \
        uint32_t done = name##_step (c, i, &rep, size);                                            \
        rep.left -= done;                                                                          \
        put_count (c, &rep);                                                                       \
        if (VMM_UNLIKELY (c->config.counted) && done == 0 && (fast))                               \
          k += name##_items (c, i, &rep, size);                                                    \
      }                                                                                            \
    /* Flags come from the last item alone: a fault or interrupt before it finds the old ones. */  \
    for (; k != 0 && rep.left != 0; k--)                                                           \
      {                                                                                            \
        uint32_t flags = c->eflags;                                                                \
        name##_item##bits (c, i, rep.mask);                                                        \
        rep.left--;                                                                                \
        put_count (c, &rep);                                                                       \
        if ((ends) || rep.left == 0)                                                               \
          return;                                                                                  \
        c->eflags = flags;                                                                         \
        if (VMM_UNLIKELY (c->config.counted) ? must_stop_counted (c, accesses) : must_stop (c))    \
          break;                                                                                   \
      }                                                                                            \
    if (rep.left != 0)                                                                             \
      vmm_again (c);                                                                               \
  }
#define INSTRUCTIONS(name, fast, ends)                                                             \
  INSTRUCTION (name, 8, 1, fast, ends)                                                             \
  INSTRUCTION (name, 16, 2, fast, ends)                                                            \
  INSTRUCTION (name, 32, 4, fast, ends)
INSTRUCTIONS (movs, true, ENDS_NEVER)
INSTRUCTIONS (stos, true, ENDS_NEVER)
INSTRUCTIONS (lods, false, ENDS_NEVER)
INSTRUCTIONS (cmps, true, ENDS_BY_ZF)
INSTRUCTIONS (scas, true, ENDS_BY_ZF)

/* ---- INS and OUTS ---- */

static uint32_t
item_in (VmmVcpu *c, unsigned size)
{
  return vmm_io_in (c, (uint16_t) c->gpr[VMM_EDX], size);
}

/* The destination is checked before the port is read: a fault must not lose data. */
static void
ins_item (VmmVcpu *c, const VmmInsn *i, unsigned size, uint32_t mask)
{
  uint32_t linear = vmm_linear (c, VMM_ES, c->gpr[VMM_EDI] & mask, size, VMM_CAN_WRITE);
  vmm_probe_write (c, linear, size, c->user);
  uint32_t v = item_in (c, size);
  if (size == 1)
    vmm_write_linear8 (c, linear, (uint8_t) v, c->user);
  else if (size == 2)
    vmm_write_linear16 (c, linear, (uint16_t) v, c->user);
  else
    vmm_write_linear32 (c, linear, v, c->user);
  advance (c, VMM_EDI, (uint32_t) item_step (c, size), mask);
}

static void
outs_item (VmmVcpu *c, const VmmInsn *i, unsigned size, uint32_t mask)
{
  uint32_t offset = c->gpr[VMM_ESI] & mask, v;
  if (size == 1)
    v = vmm_read8 (c, i->segment, offset);
  else if (size == 2)
    v = vmm_read16 (c, i->segment, offset);
  else
    v = vmm_read32 (c, i->segment, offset);
  vmm_io_out (c, (uint16_t) c->gpr[VMM_EDX], v, size);
  advance (c, VMM_ESI, (uint32_t) item_step (c, size), mask);
}

/* Many items at once: callback, or exit.  They pass through the vCPU's buffer: the embedder may
   change the map meanwhile, so the destination is looked up again. */
static uint32_t
read_items (VmmVcpu *c, uint32_t n, unsigned size)
{
  uint16_t port = (uint16_t) c->gpr[VMM_EDX];
  if (c->config.io_read_block)
    {
      vmm_call (c);
      uint32_t done = c->config.io_read_block (c->config.opaque, port, size, c->items, n);
      if (done != 0)
        {
          c->stat.fast_block_ins++;
          vmm_called (c);
          return least (done, n);
        }
    }
  c->exit.address = port;
  c->exit.size = size;
  c->exit.count = n;
  vmm_leave (c, VMM_EXIT_IO_INS);
  return least (c->exit.count, n);
}

static uint32_t
write_items (VmmVcpu *c, uint32_t n, unsigned size)
{
  uint16_t port = (uint16_t) c->gpr[VMM_EDX];
  if (c->config.io_write_block)
    {
      vmm_call (c);
      uint32_t done = c->config.io_write_block (c->config.opaque, port, size, c->items, n);
      if (done != 0)
        {
          c->stat.fast_block_outs++;
          vmm_called (c);
          return least (done, n);
        }
    }
  c->exit.address = port;
  c->exit.size = size;
  c->exit.count = n;
  vmm_leave (c, VMM_EXIT_IO_OUTS);
  return least (c->exit.count, n);
}

static uint32_t
ins_step (VmmVcpu *c, const VmmInsn *i, const Rep *rep, unsigned size)
{
  uint32_t di = c->gpr[VMM_EDI] & rep->mask, linear = c->seg[VMM_ES].base + di;
  uint32_t n = least (rep->left, items_at (c, VMM_ES, di, size, rep->mask, VMM_CAN_WRITE));
  if (n < 2
      || (!vmm_host_for_write (c, linear, c->user)
          && !(c->config.counted && vmm_is_memory (c, linear, c->user))))
    return 0;
  uint32_t done = read_items (c, n, size);
  for (uint32_t at = 0; at < done * size;)
    {
      uint32_t part = least (done * size - at, 512);
      vmm_write_bytes (c, linear + at, c->items + at, part, c->user);
      at += part;
    }
  advance (c, VMM_EDI, done * size, rep->mask);
  return done;
}

static uint32_t
outs_step (VmmVcpu *c, const VmmInsn *i, const Rep *rep, unsigned size)
{
  uint32_t si = c->gpr[VMM_ESI] & rep->mask;
  uint32_t n = least (rep->left, items_at (c, i->segment, si, size, rep->mask, VMM_CAN_READ));
  if (n < 2)
    return 0;
  const uint8_t *from = vmm_host_for_read (c, c->seg[i->segment].base + si, c->user);
  if (!from)
    return 0;
  memcpy (c->items, from, n * size);
  uint32_t done = write_items (c, n, size);
  advance (c, VMM_ESI, done * size, rep->mask);
  return done;
}

static void
io_string (VmmVcpu *c, const VmmInsn *i, unsigned size, bool input)
{
  vmm_check_io (c, (uint16_t) c->gpr[VMM_EDX], size);
  (input ? ins_item : outs_item) (c, i, size, vmm_address_mask (i));
}

static void
rep_io_string (VmmVcpu *c, const VmmInsn *i, unsigned size, bool input)
{
  Rep rep = { .mask = vmm_address_mask (i), .left = c->gpr[VMM_ECX] & vmm_address_mask (i) };
  uint32_t done = 0;
  if (rep.left == 0)
    return;
  vmm_check_io (c, (uint16_t) c->gpr[VMM_EDX], size);
  if (may_go_fast (c))
    done = (input ? ins_step : outs_step) (c, i, &rep, size);
  if (done == 0)
    {
      (input ? ins_item : outs_item) (c, i, size, rep.mask);
      done = 1;
    }
  rep.left -= done;
  put_count (c, &rep);
  if (rep.left != 0)
    vmm_again (c);
}

#define IO_INSTRUCTION(name, bits, size, input)                                                    \
  void vmm_op_##name##bits (VmmVcpu *c, const VmmInsn *i) { io_string (c, i, size, input); }       \
  void vmm_op_rep_##name##bits (VmmVcpu *c, const VmmInsn *i) { rep_io_string (c, i, size, input); }
IO_INSTRUCTION (ins, 8, 1, true)
IO_INSTRUCTION (ins, 16, 2, true)
IO_INSTRUCTION (ins, 32, 4, true)
IO_INSTRUCTION (outs, 8, 1, false)
IO_INSTRUCTION (outs, 16, 2, false)
IO_INSTRUCTION (outs, 32, 4, false)
