/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hostile drivers of the IDE function: commands and packets that are nearly right, PIO and
 * bus-master transfers with descriptor tables of all kinds, given up at any moment by resets, other
 * commands, changes of media and errors of the host.  One of the twins is saved, loaded and swapped
 * besides. Whatever happens,
 *
 *   the twins behave alike, and at last have the same memory and disks;
 *   a sector that no command has named for writing keeps its bytes, what was written well is there;
 *   what was read well is what the medium holds, raw sectors of a CD with all that surrounds it;
 *   a bus-master transfer touches no memory but what its table names;
 *   a packet's error and the sense that is asked for tell the same;
 *   after a reset the drives work.
 *
 * Some CDs are in drives whose discs are changed, as `tenon ctl` does it, for larger and smaller.
 *
 * See fuzz.h for the environment.
 */
#include "fuzz.h"

#include <errno.h>

#define DEVFN (7 << 3 | 1)
#define BM 0xc000
#define RAM (1u << 20)
#define CHECKED (RAM / 2) /* where tables and what they name lie */
#define ARENA 0x10000u
#define MAX_SECTORS 3000u
#define MAX_BLOCKS 300u
#define N_DISCS 3

enum { DATA, ERROR, COUNT, LOW, MID, HIGH, DEVICE, STATUS };
enum { ERR = 0x01, DRQ = 0x08, READY = 0x50, BSY = 0x80 };

typedef struct {
  const char *name, *link;
  uint16_t base;
  bool slave, exists, cd, read_only;
  bool changer; /* takes the discs below */
  bool present;
  int error;
  uint32_t blocks, block_size;
  uint8_t *bytes[2]; /* of the twins */
  uint8_t *shadow;   /* what is known to be there ... */
  uint8_t *unsure;   /* ... of sectors that are not named here */
} Drive;

typedef struct {
  char *path;
  uint32_t blocks;
  uint8_t *bytes;
} Disc;

static Disc discs[N_DISCS] = { { .blocks = MAX_BLOCKS }, { .blocks = 37 }, { .blocks = 1 } };
static Drive drives[4];
static Twins twins;
static Drive *current;
static bool calm; /* nothing has come between since the drive was selected */

/* ---- Discs ---- */

static void
make_discs (void)
{
  for (unsigned n = 0; n < N_DISCS; n++)
    {
      Disc *d = &discs[n];
      size_t size = d->blocks * 2048;
      int fd = g_file_open_tmp ("ide-fuzz-XXXXXX.iso", &d->path, NULL);
      g_assert_cmpint (fd, >=, 0);
      d->bytes = g_malloc (size);
      for (size_t i = 0; i < size; i++)
        d->bytes[i] = (i / 2048 + 7 * i + n) * 2654435761u >> 24;
      g_assert_cmpint (write (fd, d->bytes, size), ==, size);
      close (fd);
    }
}

static void
free_discs (void)
{
  for (unsigned n = 0; n < N_DISCS; n++)
    {
      unlink (discs[n].path);
      g_free (discs[n].path);
      g_free (discs[n].bytes);
    }
}

static void
disc_is_in (Drive *d, const Disc *disc)
{
  d->present = true;
  d->blocks = disc->blocks;
  memcpy (d->shadow, disc->bytes, (size_t) disc->blocks * 2048);
}

/* N_DISCS: none.  A drive that the guest has locked gives none away without force. */
static void
change_disc (Drive *d, unsigned n, bool force)
{
  bool done[2];
  TELL ("disc %s %u force %d\n", d->name, n, force);
  twins_settle (&twins);
  BOTH (&twins, i)
  done[i] = tn_harness_change_medium (twins.h[i], d->name, n < N_DISCS ? discs[n].path : NULL,
                                      force, NULL);
  g_assert_cmpint (done[0], ==, done[1]);
  if (!done[0])
    return;
  d->present = false;
  if (n < N_DISCS)
    disc_is_in (d, &discs[n]);
}

/* ---- Machine ---- */

static void
decode (void)
{
  twins_pci_write (&twins, DEVFN, 0x20, BM, 4);
  twins_pci_write (&twins, DEVFN, 0x04, 5, 2);
  twins_pci_write (&twins, DEVFN, 0x40, 0x80008000, 4);
}

static void
make_drive (unsigned n, bool exists, bool cd)
{
  static const char *const names[] = { "pm", "ps", "sm", "ss" };
  static const char *const links[]
      = { "primary-master", "primary-slave", "secondary-master", "secondary-slave" };
  Drive *d = &drives[n];
  *d = (Drive){ .name = names[n],
                .link = links[n],
                .base = n < 2 ? 0x1f0 : 0x170,
                .slave = n & 1,
                .exists = exists,
                .cd = cd,
                .present = true,
                .read_only = cd || one_in (8),
                .block_size = cd ? 2048 : 512,
                .blocks = 1
                          + roll (one_in (4) ? 8
                                  : cd       ? MAX_BLOCKS
                                             : MAX_SECTORS) };
  if (!exists)
    return;
  d->changer = cd && one_in (3);
  if (d->changer)
    d->blocks = MAX_BLOCKS;
  size_t size = (size_t) d->blocks * d->block_size;
  d->shadow = g_malloc (size);
  d->unsure = g_malloc0 (d->blocks);
  if (d->changer)
    {
      disc_is_in (d, &discs[0]);
      BOTH (&twins, i)
      tn_harness_add (twins.h[i], d->name, "disk-raw", "cdrom", "true", "file", discs[0].path,
                      NULL);
      return;
    }
  random_bytes (d->shadow, size);
  BOTH (&twins, i)
  {
    d->bytes[i] = g_memdup2 (d->shadow, size);
    tn_harness_add_block (twins.h[i], d->name, d->bytes[i], size, d->block_size, d->read_only, cd);
  }
}

static void
free_drives (void)
{
  for (unsigned n = 0; n < 4; n++)
    {
      g_free (drives[n].shadow);
      g_free (drives[n].unsure);
      BOTH (&twins, i)
      g_free (drives[n].bytes[i]);
    }
}

static const char *
link_of (unsigned n)
{
  return drives[n].exists ? drives[n].name : NULL;
}

static void
make_machine (void)
{
  GError *error = NULL;
  twins.device = "ide";
  BOTH (&twins, i)
  twins.h[i] = tn_harness_new (RAM);
  make_drive (0, true, one_in (16));
  make_drive (1, one_in (3), one_in (2));
  make_drive (2, true, !one_in (6));
  make_drive (3, one_in (3), one_in (2));
  BOTH (&twins, i)
  {
    const char *pairs[9] = { NULL };
    for (unsigned n = 0, k = 0; n < 4; n++)
      if (link_of (n))
        {
          pairs[k++] = drives[n].link;
          pairs[k++] = link_of (n);
        }
    tn_harness_try_add (twins.h[i], "ide", "ide", pairs, &error);
    g_assert_no_error (error);
    tn_harness_start (twins.h[i]);
  }
  decode ();
}

/* ---- What is known of the disks ---- */

static void
now_unsure (const Drive *d, uint32_t lba, uint32_t count)
{
  for (uint32_t n = lba; d->exists && n < d->blocks && n - lba < count; n++)
    d->unsure[n] = 1;
}

static bool
is_writing (uint8_t command)
{
  static const uint8_t writing[] = { 0x30, 0x31, 0x3c, 0xc5, 0xca, 0xcb };
  return memchr (writing, command, sizeof writing) != NULL;
}

/* A command that comes to whichever drive listens, with whatever address. */
static void
stray_command (uint16_t base, uint8_t command)
{
  for (unsigned n = 0; n < 4; n++)
    if (drives[n].base == base && is_writing (command))
      now_unsure (&drives[n], 0, drives[n].blocks);
}

/* ---- What comes between ---- */

static void
set_medium (Drive *d, bool present, int error)
{
  d->present = present;
  d->error = error;
  twins_block (&twins, d->name, present, error);
}

static Drive *
any_drive (void)
{
  Drive *d;
  do
    d = &drives[roll (4)];
  while (!d->exists);
  return d;
}

static void
interfere (void)
{
  Drive *d = any_drive ();
  uint32_t value = g_rand_int (dice);
  calm = false;
  switch (roll (12))
    {
    case 0: twins_out (&twins, d->base + 0x206, value & 0x0e, 1); break;
    case 1: twins_out (&twins, d->base + 0x206, 0, 1); break;
    case 2:
      value = one_in (2) ? 0x08 : is_writing (value) && !one_in (20) ? 0xec : value & 0xff;
      stray_command (d->base, value);
      twins_out (&twins, d->base + STATUS, value, 1);
      break;
    case 3: twins_out (&twins, d->base + value % 7, value >> 8, 1); break;
    case 4: twins_in (&twins, d->base + (value & 7), 1 << (value >> 16) % 3); break;
    case 5: twins_out (&twins, BM + (value & 15), value >> 8, 1 << (value >> 16) % 3); break;
    case 6: twins_in (&twins, BM + (value & 15), 1 << (value >> 16) % 3); break;
    case 7:
      if (d->changer)
        change_disc (d, roll (N_DISCS + 1), one_in (2));
      else if (d->cd)
        set_medium (d, one_in (2), d->error);
      break;
    case 8:
      if (!d->changer)
        set_medium (d, d->present, one_in (2) ? 0 : PICK (EIO, ENOSPC, EROFS, ENOMEDIUM));
      break;
    case 9:
      twins_pci_write (&twins, DEVFN, PICK (4, 0x40, 0x42), value & 0x8005, 2);
      if (one_in (2))
        decode ();
      break;
    case 10:
      if (one_in (8))
        {
          twins_reset (&twins);
          decode ();
        }
      break;
    default: twins_step (&twins, roll (1000000)); break;
    }
}

/* Lets things go on, or not yet. */
static void
pass (void)
{
  if (!one_in (4))
    twins_settle (&twins);
  twins_step (&twins, roll (120000));
  if (one_in (60))
    twins_disturb (&twins);
  twins_line (&twins, "isa:14");
  twins_line (&twins, "isa:15");
  if (one_in (40))
    interfere ();
}

/* The status when it is no longer BSY; BSY if that does not end. */
static uint8_t
wait_ready (void)
{
  uint8_t status = BSY;
  for (unsigned n = 0; n < 8 && (status & BSY); n++)
    {
      pass ();
      status = twins_in (&twins, current->base + (one_in (3) ? 0x206 : STATUS), 1);
    }
  return status;
}

/* ---- Commands ---- */

static void
select_drive (Drive *d)
{
  current = d;
  calm = !(twins_in (&twins, d->base + 0x206, 1) & BSY); /* or it will not hear */
  twins_out (&twins, d->base + DEVICE, 0xa0 | d->slave << 4, 1);
}

static void
set_task (uint8_t feature, uint8_t count, uint32_t address, uint8_t head)
{
  uint16_t base = current->base;
  twins_out (&twins, base + ERROR, feature, 1);
  twins_out (&twins, base + COUNT, count, 1);
  twins_out (&twins, base + LOW, address, 1);
  twins_out (&twins, base + MID, address >> 8, 1);
  twins_out (&twins, base + HIGH, address >> 16, 1);
  twins_out (&twins, base + DEVICE, head | current->slave << 4, 1);
}

typedef struct {
  uint32_t lba, count;
  bool valid; /* lies on the disk, and was said so that no doubt is left */
  bool raw;   /* sectors of 2,352 bytes of a CD */
} Extent;

/* An address, by LBA for the most part; a wrong one now and then. */
static Extent
set_extent (void)
{
  Extent e = { .lba = roll (current->blocks), .count = 1 + roll (one_in (8) ? 256 : 12) };
  bool lba = !one_in (6);
  if (one_in (10))
    e.lba = PICK (current->blocks - 1, current->blocks, 0x0fffffff, 0);
  e.valid = lba && e.lba < current->blocks && e.count <= current->blocks - e.lba;
  set_task (g_rand_int (dice), e.count, lba ? e.lba : g_rand_int (dice),
            lba ? 0xe0 | (e.lba >> 24 & 15) : 0xa0 | roll (16));
  return e;
}

static void
give (uint8_t command)
{
  if (twins_in (&twins, current->base + 0x206, 1) & BSY || !current->present || current->error)
    calm = false;
  if (!calm)
    stray_command (current->base, command);
  twins_out (&twins, current->base + STATUS, command, 1);
}

/* What a write may touch is not known until it has ended well. */
static void
begin_write (Extent e)
{
  if (e.valid)
    now_unsure (current, e.lba, e.count);
  else
    now_unsure (current, 0, current->blocks);
}

static void
end_write (Extent e, const uint8_t *data)
{
  if (!e.valid || current->read_only)
    return;
  memcpy (current->shadow + e.lba * 512, data, e.count * 512);
  memset (current->unsure + e.lba, 0, e.count);
}

static void
check_read (Extent e, const uint8_t *data)
{
  for (uint32_t n = 0; n < e.count; n++)
    if (!current->unsure[e.lba + n])
      g_assert_cmpmem (data + n * 512, 512, current->shadow + (e.lba + n) * 512, 512);
}

/* Moves a piece of what DRQ offers; now and then less, or more, than there is. */
static uint32_t
move_some (uint8_t *data, uint32_t room, bool out)
{
  unsigned size = one_in (4) ? 4 : 2;
  uint32_t bytes = one_in (3) ? roll (600) : 512, items;
  items = MIN (bytes, room) / size;
  if (out)
    twins_outs (&twins, current->base, data, items, size);
  else
    twins_ins (&twins, current->base, data, items, size);
  return items * size;
}

static void
pio (bool write)
{
  Extent e = set_extent ();
  uint32_t size = e.count * 512, done = 0;
  g_autofree uint8_t *data = g_malloc0 (size);
  uint8_t status = 0;
  if (write)
    {
      random_bytes (data, size);
      begin_write (e);
    }
  give (write ? PICK (0x30, 0x30, 0x31, 0xc5, 0x3c) : PICK (0x20, 0x20, 0x21, 0xc4));
  for (unsigned n = 0; n < 1200 && done + 4 <= size; n++)
    {
      status = wait_ready ();
      if (!(status & DRQ) || (status & BSY) || one_in (400))
        break;
      done += move_some (data + done, size - done, write);
    }
  status = done == size ? wait_ready () : BSY;
  if (status & (BSY | ERR | DRQ) || !calm)
    return;
  if (write)
    end_write (e, data);
  else if (e.valid)
    check_read (e, data);
}

/* ---- Bus master ---- */

typedef struct {
  uint32_t address, count;
} Piece;

typedef struct {
  uint32_t table, pieces, total;
  Piece piece[40];
  bool good; /* lies in RAM, in the right order, and has an end */
} Table;

/* A descriptor table for so many bytes, or not quite. */
static void
make_table (Table *t, uint32_t size)
{
  uint32_t at = ARENA + roll (4096) * 2, rest = size;
  *t = (Table){ .table = 0x1000 + roll (1024) * 4, .good = true };
  while (rest && t->pieces < G_N_ELEMENTS (t->piece))
    {
      Piece *p = &t->piece[t->pieces++];
      uint32_t most = MIN (rest, 65536);
      p->count = one_in (3) ? 65536 : 2 * (1 + roll (8192));
      p->count = MIN (p->count, most);
      p->address = at;
      rest -= p->count;
      at += p->count + roll (64) * 2;
    }
  t->good = !rest;
  if (one_in (8)) /* too short, too long, out of RAM, into itself */
    {
      Piece *p = &t->piece[roll (t->pieces)];
      t->good = false;
      if (one_in (2))
        p->count = roll (65537) & ~1u;
      else
        p->address = PICK (RAM - 100, 0xfffffffe, t->table, 0x40000001, RAM, 0xa0000);
    }
  for (unsigned n = 0; n < t->pieces; n++)
    {
      uint32_t last = n + 1 == t->pieces && !one_in (30) ? UINT32_C (1) << 31 : 0;
      uint32_t entry[2] = { t->piece[n].address, (t->piece[n].count & 0xffff) | last };
      if (n + 1 == t->pieces && !last)
        t->good = false;
      twins_mem_write (&twins, t->table + 8 * n, entry, sizeof entry);
    }
}

static uint16_t
bus_master (void)
{
  return BM + (current->base == 0x170 ? 8 : 0);
}

static void
start_master (const Table *t, bool to_memory)
{
  twins_out (&twins, bus_master () + 4, t->table | roll (4), 4);
  twins_out (&twins, bus_master () + 2, 0x06, 1);
  if (one_in (2))
    twins_out (&twins, bus_master (), to_memory ? 8 : 0, 1);
  pass ();
  twins_out (&twins, bus_master (), (to_memory ? 8 : 0) | 1, 1);
}

static void
collect (const Table *t, uint8_t *data, bool into_memory)
{
  for (unsigned n = 0; n < t->pieces; n++)
    {
      if (into_memory)
        twins_mem_write (&twins, t->piece[n].address, data, t->piece[n].count);
      else
        twins_mem_read (&twins, t->piece[n].address, data, t->piece[n].count);
      data += t->piece[n].count;
    }
}

/* So that a master that runs yet, on the table of before, takes no part; true for the most part. */
static bool
stop_masters (void)
{
  if (one_in (10))
    return false;
  twins_out (&twins, BM, 0, 1);
  twins_out (&twins, BM + 8, 0, 1);
  return true;
}

static uint8_t *
copy_of_ram (void)
{
  uint8_t *ram = g_malloc (CHECKED);
  twins_mem_read (&twins, 0, ram, CHECKED);
  return ram;
}

/* Nothing outside of the table's pieces has changed. */
static void
check_memory (const Table *t, const uint8_t *before)
{
  g_autofree uint8_t *after = copy_of_ram ();
  for (unsigned n = 0; n < t->pieces; n++)
    memcpy (after + t->piece[n].address, before + t->piece[n].address, t->piece[n].count);
  g_assert_cmpint (memcmp (after, before, CHECKED), ==, 0);
}

static uint8_t
end_dma (void)
{
  uint8_t status = wait_ready ();
  if (!one_in (10))
    twins_out (&twins, bus_master (), 0, 1);
  return status;
}

static void
dma (bool write)
{
  Extent e = set_extent ();
  uint32_t size = e.count * 512;
  g_autofree uint8_t *data = g_malloc0 (size), *before = NULL;
  bool early = one_in (3), quiet = stop_masters ();
  uint8_t status;
  Table t;
  make_table (&t, size);
  random_bytes (data, size);
  if (write && t.good)
    collect (&t, data, true);
  if (write)
    begin_write (e);
  before = copy_of_ram ();
  if (early)
    start_master (&t, !write);
  give (write ? PICK (0xca, 0xcb) : PICK (0xc8, 0xc9));
  if (!early)
    start_master (&t, !write);
  status = end_dma ();
  if (!calm || !t.good || !quiet)
    return;
  check_memory (&t, before);
  if (status & (BSY | ERR | DRQ))
    return;
  if (write)
    end_write (e, data);
  else if (e.valid)
    {
      collect (&t, data, false);
      check_read (e, data);
    }
}

/* ---- Packets ---- */

static void
put_msf (uint8_t *at, uint32_t lba)
{
  at[0] = (lba + 150) / 75 / 60;
  at[1] = (lba + 150) / 75 % 60;
  at[2] = (lba + 150) % 75;
}

/* The rest of a command that reads sectors; of others nothing can be said. */
static void
make_read (uint8_t cdb[12], Extent *e)
{
  uint8_t type = cdb[1] >> 2 & 7, parts = PICK (0x10, 0xf8, 0xf8, 0x00, 0x80);
  bool mode_1 = (type == 0 || type == 2) && (parts == 0x10 || parts == 0xf8);
  e->valid = e->lba < current->blocks && e->count <= current->blocks - e->lba;
  switch (cdb[0])
    {
    case 0x28:
      cdb[7] = 0;
      cdb[8] = e->count;
      return;
    case 0xa8:
      cdb[6] = cdb[7] = cdb[8] = 0;
      cdb[9] = e->count;
      return;
    case 0xbe:
      cdb[6] = cdb[7] = 0;
      cdb[8] = e->count;
      break;
    case 0xb9:
      put_msf (cdb + 3, e->lba);
      put_msf (cdb + 6, e->lba + e->count);
      break;
    default: mode_1 = false;
    }
  if (cdb[0] == 0xbe || cdb[0] == 0xb9)
    cdb[9] = parts;
  e->valid = e->valid && mode_1;
  e->raw = e->valid && parts == 0xf8;
}

/* Parameters that lead somewhere. */
static void
shape_packet (uint8_t cdb[12])
{
  switch (cdb[0])
    {
    case 0x1a:
    case 0x5a:
      cdb[2] = PICK (0x3f, 0x2a, 0x01, 0x0d, 0x0e, 0x00) | (one_in (3) ? roll (4) << 6 : 0);
      break;
    case 0x1b:
    case 0x1e: cdb[4] = roll (4); break;
    case 0x42:
      cdb[2] = one_in (4) ? cdb[2] : 0x40;
      cdb[3] = roll (5);
      break;
    case 0x43:
      cdb[2] = roll (4);
      cdb[6] = PICK (0, 1, 2, 0xaa);
      cdb[9] = roll (4) << 6;
      break;
    case 0x46:
      cdb[1] = roll (4);
      cdb[2] = 0;
      cdb[3] = PICK (0, 1, 2, 3, 0x10, 0x1e, 0x1f, 0xff);
      break;
    case 0x4a:
      cdb[1] = !one_in (8);
      cdb[4] = one_in (4) ? cdb[4] : 0x10;
      break;
    }
}

static void
make_packet (uint8_t cdb[12], Extent *read)
{
  static const uint8_t opcodes[]
      = { 0x28, 0x28, 0x28, 0xa8, 0xbe, 0xb9, 0x43, 0x46, 0x4a, 0x5a, 0x1a, 0x55, 0x15, 0x03,
          0x03, 0x12, 0x1b, 0x1e, 0x42, 0x51, 0x52, 0xbd, 0x00, 0x25, 0x2b, 0x44, 0x4e, 0xbb };
  Extent e = { .lba = roll (current->blocks), .count = 1 + roll (one_in (6) ? 70 : 5) };
  if (one_in (8))
    e.lba = PICK (current->blocks - 1, current->blocks, UINT32_MAX, 0);
  random_bytes (cdb, 12);
  cdb[0] = opcodes[roll (sizeof opcodes)];
  cdb[1] = one_in (3) ? cdb[1] : 0;
  for (unsigned n = 0; n < 4; n++)
    cdb[2 + n] = e.lba >> 8 * (3 - n);
  make_read (cdb, &e);
  if (!one_in (8))
    shape_packet (cdb);
  if (one_in (12))
    {
      cdb[roll (12)] ^= 1 << roll (8);
      e.valid = false;
    }
  *read = e;
}

/* What a command sends comes in pieces of at most `limit` bytes; what it asks for is given. */
static uint32_t
drain (uint8_t *data, uint32_t room)
{
  uint32_t done = 0;
  for (unsigned n = 0; n < 600; n++)
    {
      uint8_t status = wait_ready (), reason;
      uint32_t bytes, some;
      if (!(status & DRQ) || (status & BSY) || one_in (400))
        break;
      reason = twins_in (&twins, current->base + COUNT, 1);
      bytes = twins_in (&twins, current->base + MID, 1)
              | twins_in (&twins, current->base + HIGH, 1) << 8;
      some = MIN ((bytes + 1) / 2 * 2, room - done);
      if (one_in (12))
        some = roll (some + 1);
      if (reason & 2)
        twins_ins (&twins, current->base, data + done, some / 2, 2);
      else
        twins_outs (&twins, current->base, data, some / 2, 2);
      done += some / 2 * 2;
    }
  return done;
}

static uint8_t
bcd (uint8_t value)
{
  return value / 10 << 4 | value % 10;
}

/* The bytes of a sector before and behind those of its user, as mode 1 has them. */
static void
check_surroundings (uint32_t lba, const uint8_t raw[2352])
{
  static const uint8_t zeros[2352 - 2064];
  uint8_t head[16], msf[3];
  put_msf (msf, lba);
  memset (head, 0xff, 12);
  head[0] = head[11] = 0;
  for (unsigned n = 0; n < 3; n++)
    head[12 + n] = bcd (msf[n]);
  head[15] = 1;
  g_assert_cmpmem (raw, 16, head, 16);
  g_assert_cmpmem (raw + 2064, sizeof zeros, zeros, sizeof zeros);
}

static uint32_t
bytes_of (Extent e)
{
  return e.count * (e.raw ? 2352 : 2048);
}

static void
check_blocks (Extent e, const uint8_t *data)
{
  for (uint32_t n = 0; n < e.count; n++)
    {
      const uint8_t *at = data + n * (e.raw ? 2352 : 2048);
      if (e.raw)
        check_surroundings (e.lba + n, at);
      g_assert_cmpmem (at + (e.raw ? 16 : 0), 2048, current->shadow + (e.lba + n) * 2048, 2048);
    }
}

/* The sense key is in the error register, and REQUEST SENSE gives the same. */
static void
check_sense (uint8_t status)
{
  static const uint8_t cdb[12] = { 0x03, [4] = 18 };
  uint8_t data[18] = { 0 }, error;
  if (!calm || (status & (BSY | ERR | DRQ)) != ERR)
    return;
  error = twins_in (&twins, current->base + ERROR, 1);
  set_task (0, 0, sizeof data << 8, 0xa0);
  give (0xa0);
  if ((wait_ready () & (DRQ | BSY)) != DRQ)
    return;
  twins_outs (&twins, current->base, cdb, 6, 2);
  wait_ready ();
  twins_ins (&twins, current->base, data, sizeof data / 2, 2);
  if ((wait_ready () & (BSY | ERR | DRQ)) || !calm)
    return;
  g_assert_cmphex (data[0], ==, 0x70);
  g_assert_cmphex (data[2], ==, error >> 4);
  g_assert_cmphex (error & 0x0f, ==, 0x04); /* ABRT */
}

static void
packet (void)
{
  uint32_t room = 200 * 1024, size, limit = PICK (0, 1, 2, 3, 64, 2047, 2048, 2352, 0xfffe, 0xffff);
  g_autofree uint8_t *data = g_malloc0 (room), *before = NULL;
  bool use_dma = one_in (3), quiet;
  uint8_t cdb[12], status;
  Extent e;
  Table t;
  make_packet (cdb, &e);
  size = bytes_of (e);
  if (limit < 64)
    limit = one_in (8) ? limit : 2048;
  set_task (use_dma | (one_in (30) ? g_rand_int (dice) : 0), g_rand_int (dice), limit << 8, 0xa0);
  give (0xa0);
  status = wait_ready ();
  if (!(status & DRQ) || (status & BSY))
    return;
  quiet = stop_masters ();
  make_table (&t, size);
  before = copy_of_ram ();
  if (one_in (40))
    {
      twins_outs (&twins, current->base, cdb, roll (6), 2);
      calm = false; /* the rest will be what drain () gives */
    }
  else
    twins_outs (&twins, current->base, cdb, 6, 2);
  if (!use_dma)
    {
      uint32_t done = drain (data, room);
      status = wait_ready ();
      if (calm && e.valid && done == size && !(status & (BSY | ERR | DRQ)))
        check_blocks (e, data);
      check_sense (status);
      return;
    }
  if (!one_in (20))
    start_master (&t, cdb[0] != 0x55 && cdb[0] != 0x15);
  status = end_dma ();
  if (calm && t.good && quiet)
    {
      check_memory (&t, before);
      if (e.valid && !(status & (BSY | ERR | DRQ)))
        {
          collect (&t, data, false);
          check_blocks (e, data);
        }
    }
  check_sense (status);
}

/* ---- Everything else ---- */

static void
other_command (void)
{
  static const uint8_t commands[] = { 0xec, 0xa1, 0x91, 0xc6, 0xc6, 0xef, 0xe7, 0x40, 0x70,
                                      0x10, 0xb0, 0xb0, 0xb0, 0x90, 0x08, 0xe5, 0xe0, 0x98 };
  uint8_t data[512], command = one_in (10) ? roll (256) : commands[roll (sizeof commands)];
  set_extent ();
  if (command == 0xb0)
    set_task (PICK (0xd0, 0xd1, 0xd2, 0xd4, 0xd5, 0xd6, 0xd8, 0xd9, 0xda), roll (3),
              0xc24f00 | PICK (0, 1, 2, 6, 0x7f, 0x81, 0x82, 0x80), 0xa0);
  if (command == 0xc6)
    set_task (0, PICK (0, 1, 2, 4, 8, 16, 3, 32), 0, 0xa0);
  if (command == 0xef)
    set_task (PICK (3, 2, 0x82, 0xaa, 0x55, 0x66, 0xcc, 0x99), roll (256), 0, 0xa0);
  stray_command (current->base, command);
  give (command);
  if ((wait_ready () & (DRQ | BSY)) == DRQ && !is_writing (command))
    twins_ins (&twins, current->base, data, roll (257), 2);
  twins_in (&twins, current->base + ERROR, 1);
}

static void
one_command (void)
{
  Drive *d = any_drive ();
  select_drive (d);
  if (one_in (6))
    other_command ();
  else if (d->cd)
    packet ();
  else if (one_in (2))
    dma (one_in (2));
  else
    pio (one_in (2));
  for (unsigned n = one_in (10) ? roll (8) : 0; n > 0; n--)
    {
      interfere ();
      pass ();
    }
}

/* ---- At last ---- */

/* A reset ends whatever there was; the first drive that is a disk and the first CD then work. */
static void
recover (void)
{
  for (unsigned n = 0; n < 4; n++)
    if (drives[n].changer)
      change_disc (&drives[n], roll (N_DISCS), true);
    else if (drives[n].exists)
      set_medium (&drives[n], true, 0);
  twins_settle (&twins);
  twins_reset (&twins);
  decode ();
  twins_settle (&twins);
}

static void
check_works (Drive *d)
{
  static const uint8_t ready[12];
  uint8_t cdb[12] = { 0x28, [8] = 1 }, data[2048];
  select_drive (d);
  for (unsigned n = 0; d->cd && n < 3; n++)
    {
      set_task (0, 0, 2048 << 8, 0xa0);
      give (0xa0);
      twins_outs (&twins, d->base, n < 2 ? ready : cdb, 6, 2);
      twins_settle (&twins);
      twins_step (&twins, 100000);
    }
  if (!d->cd)
    {
      set_task (0, 1, 0, 0xe0);
      give (0x20);
      twins_settle (&twins);
    }
  g_assert_cmphex (twins_in (&twins, d->base + STATUS, 1), ==, READY | DRQ);
  twins_ins (&twins, d->base, data, d->block_size / 2, 2);
  if (!d->unsure[0])
    g_assert_cmpmem (data, d->block_size, d->shadow, d->block_size);
}

static void
check_disk (const Drive *d)
{
  if (d->changer)
    return;
  g_assert_cmpint (memcmp (d->bytes[0], d->bytes[1], (size_t) d->blocks * d->block_size), ==, 0);
  for (uint32_t n = 0; n < d->blocks; n++)
    if (!d->unsure[n])
      g_assert_cmpmem (d->bytes[0] + (size_t) n * d->block_size, d->block_size,
                       d->shadow + (size_t) n * d->block_size, d->block_size);
}

static void
one (void)
{
  bool tampering = one_in (4);
  make_machine ();
  for (unsigned n = 20 + roll (60); n > 0; n--)
    {
      one_command ();
      if (one_in (16))
        twins_compare (&twins);
      if (!tampering || !one_in (8))
        continue;
      twins_tamper (&twins); /* it may write anywhere */
      for (unsigned i = 0; i < 4; i++)
        if (drives[i].exists && !drives[i].read_only)
          now_unsure (&drives[i], 0, drives[i].blocks);
      decode ();
    }
  recover ();
  for (unsigned n = 0; n < 4; n++)
    if (drives[n].exists)
      check_works (&drives[n]);
  for (unsigned n = 0; n < 4; n++)
    if (drives[n].exists)
      check_disk (&drives[n]);
  g_free (copy_of_ram ());
  twins_free (&twins);
  free_drives ();
}

int
main (int argc, char **argv)
{
  make_discs ();
  int code = fuzz_main (argc, argv, "/ide-fuzz", one);
  free_discs ();
  return code;
}
