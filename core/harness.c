/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The test harness: a machine in counted time, with a main context of its own, without processors,
 * whose character and disk back ends, DMA requester and lines the test plays.
 */
#include "internal.h"

#include <tenon/harness.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct TnHarness {
  TnMachine *machine;
  GMainContext *context;
  GHashTable *chars;  /* name -> HostChar */
  GHashTable *blocks; /* name -> HostBlock */
  struct HostDma *dma[8];
  bool apic_sent;
  TnApicMessage apic;
  bool reset_asked, poweroff_asked;
  bool posting;
  TnResetKind reset_kind;
};

static void G_GNUC_PRINTF (1, 2) G_GNUC_NORETURN die (const char *format, ...)
{
  va_list args;

  va_start (args, format);
  fprintf (stderr, "harness: ");
  vfprintf (stderr, format, args);
  fputc ('\n', stderr);
  va_end (args);
  exit (2);
}

/* ---- Hooks ---- */

static void
hook_log (void *opaque, const char *category, TnLogLevel level, const char *device,
          const char *text)
{
  static const char *const names[] = { "error", "warning", "info", "guest-error", "debug" };

  if (g_getenv ("TENON_HARNESS_LOG"))
    fprintf (stderr, "%s: %s: %s: %s\n", names[level], category, device ? device : "-", text);
}

static void
hook_reset (void *opaque, TnResetKind kind)
{
  TnHarness *h = opaque;

  h->reset_asked = true;
  h->reset_kind = kind;
}

static void
hook_poweroff (void *opaque)
{
  ((TnHarness *) opaque)->poweroff_asked = true;
}

static bool
hook_apic (void *opaque, const TnApicMessage *message)
{
  TnHarness *h = opaque;

  h->apic = *message;
  h->apic_sent = true;
  return true;
}

static const TnMachineHooks hooks = { .log = hook_log,
                                      .request_reset = hook_reset,
                                      .request_poweroff = hook_poweroff,
                                      .send_apic = hook_apic };

/* ---- Life ---- */

static void free_char (void *data);
static void free_block (void *data);
static void free_dma (struct HostDma *dma);

TnHarness *
tn_harness_new (uint64_t ram_size)
{
  TnHarness *h = g_new0 (TnHarness, 1);
  GError *error = NULL;

  h->context = g_main_context_new ();
  h->chars = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, free_char);
  h->blocks = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, free_block);
  h->machine = tn_machine_new (&(TnMachineConfig){ .ram_size = ram_size,
                                                   .clock = TN_CLOCK_COUNTED,
                                                   .context = h->context,
                                                   .hooks = &hooks,
                                                   .opaque = h,
                                                   .block_by_hand = true },
                               &error);
  if (h->machine == NULL)
    die ("%s", error->message);
  return h;
}

void
tn_harness_free (TnHarness *h)
{
  if (h == NULL)
    return;
  tn_machine_free (h->machine);
  g_hash_table_unref (h->chars);
  g_hash_table_unref (h->blocks);
  for (unsigned n = 0; n < G_N_ELEMENTS (h->dma); n++)
    free_dma (h->dma[n]);
  g_main_context_unref (h->context);
  g_free (h);
}

static void
lock (TnHarness *h)
{
  tn_machine_lock (h->machine);
}

static void
unlock (TnHarness *h)
{
  tn_machine_unlock (h->machine);
}

TnDevice *
tn_harness_try_add (TnHarness *h, const char *name, const char *plugin, const char *const *pairs,
                    GError **error)
{
  TnDevice *device;
  bool valid = true;

  lock (h);
  device = tn_machine_add (h->machine, name, plugin, error);
  for (; device != NULL && pairs != NULL && *pairs != NULL && valid; pairs += 2)
    if (pairs[1] != NULL)
      valid = tn_device_config_string (device, pairs[0], pairs[1], error);
  if (!valid)
    {
      g_ptr_array_remove (tn_machine_devices (h->machine), device);
      tn_device_destroy (device);
      device = NULL;
    }
  unlock (h);
  return device;
}

TnDevice *
tn_harness_add (TnHarness *h, const char *name, const char *plugin, ...)
{
  GPtrArray *pairs = g_ptr_array_new ();
  GError *error = NULL;
  TnDevice *device;
  const char *text;
  va_list args;

  va_start (args, plugin);
  while ((text = va_arg (args, const char *)) != NULL)
    g_ptr_array_add (pairs, (char *) text);
  va_end (args);
  g_ptr_array_add (pairs, NULL);
  if (pairs->len % 2 == 0)
    die ("%s: properties come in pairs", name);
  device = tn_harness_try_add (h, name, plugin, (const char *const *) pairs->pdata, &error);
  g_ptr_array_unref (pairs);
  if (device == NULL)
    die ("%s: %s", name, error->message);
  return device;
}

bool
tn_harness_try_start (TnHarness *h, GError **error)
{
  bool done;

  lock (h);
  done = tn_machine_realize (h->machine, error);
  if (done)
    tn_machine_reset (h->machine);
  unlock (h);
  return done;
}

void
tn_harness_start (TnHarness *h)
{
  GError *error = NULL;

  if (!tn_harness_try_start (h, &error))
    die ("%s", error->message);
}

void
tn_harness_reset (TnHarness *h)
{
  lock (h);
  tn_machine_reset (h->machine);
  unlock (h);
}

TnDevice *
tn_harness_device (TnHarness *h, const char *name)
{
  TnDevice *device = tn_machine_find (h->machine, name);

  if (device == NULL)
    die ("there is no device named '%s'", name);
  return device;
}

/* ---- Cycles ---- */

static uint32_t
port_in (TnHarness *h, uint16_t port, unsigned size)
{
  uint32_t value;

  lock (h);
  value = tn_machine_port_read (h->machine, port, size);
  unlock (h);
  return value;
}

static void
port_out (TnHarness *h, uint16_t port, uint32_t value, unsigned size)
{
  if (h->posting && (tn_machine_port_access (h->machine, port, size) & TN_ACCESS_WRITE_POSTED)
      && tn_machine_post_port (h->machine, port, value, size))
    return;
  lock (h);
  tn_machine_port_write (h->machine, port, value, size);
  unlock (h);
}

uint8_t
tn_harness_in8 (TnHarness *h, uint16_t port)
{
  return port_in (h, port, 1);
}

uint16_t
tn_harness_in16 (TnHarness *h, uint16_t port)
{
  return port_in (h, port, 2);
}

uint32_t
tn_harness_in32 (TnHarness *h, uint16_t port)
{
  return port_in (h, port, 4);
}

void
tn_harness_out8 (TnHarness *h, uint16_t port, uint8_t value)
{
  port_out (h, port, value, 1);
}

void
tn_harness_out16 (TnHarness *h, uint16_t port, uint16_t value)
{
  port_out (h, port, value, 2);
}

void
tn_harness_out32 (TnHarness *h, uint16_t port, uint32_t value)
{
  port_out (h, port, value, 4);
}

void
tn_harness_ins (TnHarness *h, uint16_t port, void *items, uint32_t count, unsigned size)
{
  uint8_t *to = items;

  lock (h);
  while (count > 0)
    {
      uint32_t done = tn_machine_port_ins (h->machine, port, to, count, size);

      count -= done;
      to += done * size;
    }
  unlock (h);
}

void
tn_harness_outs (TnHarness *h, uint16_t port, const void *items, uint32_t count, unsigned size)
{
  const uint8_t *from = items;

  lock (h);
  while (count > 0)
    {
      uint32_t done = tn_machine_port_outs (h->machine, port, from, count, size);

      count -= done;
      from += done * size;
    }
  unlock (h);
}

static uint32_t
mem_read (TnHarness *h, uint32_t address, unsigned size, bool smm)
{
  uint32_t value;

  lock (h);
  value = tn_machine_mem_read (h->machine, address, size, smm);
  unlock (h);
  return value;
}

uint32_t
tn_harness_read (TnHarness *h, uint32_t address, unsigned size)
{
  return mem_read (h, address, size, false);
}

uint32_t
tn_harness_read_smm (TnHarness *h, uint32_t address, unsigned size)
{
  return mem_read (h, address, size, true);
}

void
tn_harness_post (TnHarness *h, bool on)
{
  h->posting = on;
}

void
tn_harness_write (TnHarness *h, uint32_t address, uint32_t value, unsigned size)
{
  bool crosses = (address & 0xfff) + size > 0x1000;

  if (h->posting && !crosses
      && (tn_machine_mem_access (h->machine, address) & TN_ACCESS_WRITE_POSTED)
      && tn_machine_post_mem (h->machine, address, value, size, false))
    return;
  lock (h);
  tn_machine_mem_write (h->machine, address, value, size, false);
  unlock (h);
}

void
tn_harness_mem_read (TnHarness *h, uint32_t address, void *buffer, size_t size)
{
  lock (h);
  tn_machine_dma_read (h->machine, address, buffer, size);
  unlock (h);
}

void
tn_harness_mem_write (TnHarness *h, uint32_t address, const void *buffer, size_t size)
{
  lock (h);
  tn_machine_dma_write (h->machine, address, buffer, size);
  unlock (h);
}

uint32_t
tn_harness_pci_read (TnHarness *h, unsigned bus, unsigned devfn, unsigned offset, unsigned size)
{
  uint32_t value;

  lock (h);
  value = tn_machine_pci_read (h->machine, bus, devfn, offset, size);
  unlock (h);
  return value;
}

void
tn_harness_pci_write (TnHarness *h, unsigned bus, unsigned devfn, unsigned offset, uint32_t value,
                      unsigned size)
{
  lock (h);
  tn_machine_pci_write (h->machine, bus, devfn, offset, value, size);
  unlock (h);
}

/* ---- Lines ---- */

bool
tn_harness_line (TnHarness *h, const char *name)
{
  bool level;

  lock (h);
  level = tn_machine_line_level (h->machine, name);
  unlock (h);
  return level;
}

unsigned
tn_harness_line_edges (TnHarness *h, const char *name)
{
  unsigned edges;

  lock (h);
  edges = tn_broker_edges (h->machine->broker, name);
  unlock (h);
  return edges;
}

void
tn_harness_set_line (TnHarness *h, const char *name, bool level)
{
  lock (h);
  tn_machine_drive_line (h->machine, name, level);
  unlock (h);
}

uint8_t
tn_harness_inta (TnHarness *h)
{
  uint8_t vector;

  lock (h);
  vector = tn_machine_inta (h->machine);
  unlock (h);
  return vector;
}

bool
tn_harness_apic_message (TnHarness *h, TnApicMessage *message)
{
  bool sent;

  lock (h);
  sent = h->apic_sent;
  if (sent)
    *message = h->apic;
  h->apic_sent = false;
  unlock (h);
  return sent;
}

void
tn_harness_apic_eoi (TnHarness *h, uint8_t vector)
{
  lock (h);
  tn_machine_apic_eoi (h->machine, vector);
  unlock (h);
}

/* ---- Time ---- */

void
tn_harness_clock_step (TnHarness *h, int64_t ns)
{
  lock (h);
  tn_clock_advance (h->machine->clock, tn_clock_now (h->machine->clock) + MAX (ns, 0));
  unlock (h);
}

int64_t
tn_harness_now (TnHarness *h)
{
  return tn_clock_now (h->machine->clock);
}

void
tn_harness_settle (TnHarness *h)
{
  bool busy;

  do
    {
      lock (h);
      busy = tn_machine_settle_blocks (h->machine, true);
      unlock (h);
      while (g_main_context_iteration (h->context, FALSE))
        busy = true;
    }
  while (busy);
}

/* ---- Characters ---- */

typedef struct {
  TnHarness *harness;
  char *name;
  GByteArray *sent;    /* by the device */
  GByteArray *waiting; /* fed by the test, not taken yet */
  size_t limit;
} HostChar;

static void
free_char (void *data)
{
  HostChar *c = data;

  g_byte_array_unref (c->sent);
  g_byte_array_unref (c->waiting);
  g_free (c->name);
  g_free (c);
}

static size_t
host_char_send (void *self, const uint8_t *bytes, size_t size)
{
  HostChar *c = self;
  size_t taken = MIN (size, c->limit);

  g_byte_array_append (c->sent, bytes, taken);
  if (c->limit != SIZE_MAX)
    c->limit -= taken;
  return taken;
}

static void
host_char_accept (void *self)
{
  HostChar *c = self;
  size_t taken;

  if (c->waiting->len == 0)
    return;
  taken = tn_char_host_room (c->harness->machine, c->name);
  taken = MIN (taken, c->waiting->len);
  if (taken > 0)
    {
      GByteArray *part = g_byte_array_new ();

      /* Taken out first: the device may ask for more while it receives. */
      g_byte_array_append (part, c->waiting->data, taken);
      g_byte_array_remove_range (c->waiting, 0, taken);
      tn_char_host_receive (c->harness->machine, c->name, part->data, part->len);
      g_byte_array_unref (part);
    }
}

static const TnCharOps host_char_ops = { .send = host_char_send, .accept = host_char_accept };

static HostChar *
find_char (TnHarness *h, const char *name)
{
  HostChar *c = g_hash_table_lookup (h->chars, name);

  if (c == NULL)
    die ("there is no character back end named '%s'; tn_harness_add_char () adds one", name);
  return c;
}

void
tn_harness_add_char (TnHarness *h, const char *name)
{
  HostChar *c = g_new0 (HostChar, 1);

  c->harness = h;
  c->name = g_strdup (name);
  c->sent = g_byte_array_new ();
  c->waiting = g_byte_array_new ();
  c->limit = SIZE_MAX;
  g_hash_table_insert (h->chars, g_strdup (name), c);
  tn_char_add_host (h->machine, name, &host_char_ops, c);
}

void
tn_harness_char_feed (TnHarness *h, const char *name, const void *bytes, size_t size)
{
  HostChar *c = find_char (h, name);

  lock (h);
  g_byte_array_append (c->waiting, bytes, size);
  host_char_accept (c);
  unlock (h);
}

GByteArray *
tn_harness_char_take (TnHarness *h, const char *name)
{
  HostChar *c = find_char (h, name);
  GByteArray *sent;

  lock (h);
  sent = c->sent;
  c->sent = g_byte_array_new ();
  unlock (h);
  return sent;
}

void
tn_harness_char_limit (TnHarness *h, const char *name, size_t bytes)
{
  HostChar *c = find_char (h, name);

  lock (h);
  c->limit = bytes;
  if (bytes > 0)
    tn_char_host_writable (h->machine, name);
  unlock (h);
}

/* ---- Disks ---- */

typedef struct {
  uint8_t *bytes;
  TnBlockInfo info;
  int error; /* read by the worker */
  uint64_t size;
} HostBlock;

static void
free_block (void *data)
{
  g_free (data);
}

static TnBlockInfo
host_block_info (void *self)
{
  HostBlock *b = self;
  TnBlockInfo info = b->info;

  info.size = info.present ? b->size : 0;
  return info;
}

static int
host_block_check (HostBlock *b, uint64_t offset, size_t size)
{
  int error = __atomic_load_n (&b->error, __ATOMIC_RELAXED);

  if (error != 0)
    return error;
  if (!__atomic_load_n (&b->info.present, __ATOMIC_RELAXED))
    return ENOMEDIUM;
  return offset > b->size || size > b->size - offset ? EIO : 0;
}

static int
host_block_read (void *self, uint64_t offset, void *buffer, size_t size)
{
  HostBlock *b = self;
  int error = host_block_check (b, offset, size);

  if (error == 0)
    memcpy (buffer, b->bytes + offset, size);
  return error;
}

static int
host_block_write (void *self, uint64_t offset, const void *buffer, size_t size)
{
  HostBlock *b = self;
  int error = host_block_check (b, offset, size);

  if (error == 0 && b->info.read_only)
    error = EROFS;
  if (error == 0)
    memcpy (b->bytes + offset, buffer, size);
  return error;
}

static int
host_block_flush (void *self)
{
  return host_block_check (self, 0, 0);
}

static const TnBlockOps host_block_ops = { .info = host_block_info,
                                           .read = host_block_read,
                                           .write = host_block_write,
                                           .flush = host_block_flush };

/* No eject: the drive opens its tray, and what lies in it is the test's business. */

static HostBlock *
find_block (TnHarness *h, const char *name)
{
  HostBlock *b = g_hash_table_lookup (h->blocks, name);

  if (b == NULL)
    die ("there is no disk back end named '%s'; tn_harness_add_block () adds one", name);
  return b;
}

void
tn_harness_add_block (TnHarness *h, const char *name, uint8_t *bytes, uint64_t size,
                      uint32_t sector_size, bool read_only, bool removable)
{
  HostBlock *b = g_new0 (HostBlock, 1);

  b->bytes = bytes;
  b->size = size;
  b->info = (TnBlockInfo){
    .sector_size = sector_size, .read_only = read_only, .removable = removable, .present = true
  };
  g_hash_table_insert (h->blocks, g_strdup (name), b);
  tn_block_add_host (h->machine, name, &host_block_ops, b);
}

void
tn_harness_block_error (TnHarness *h, const char *name, int error)
{
  __atomic_store_n (&find_block (h, name)->error, error, __ATOMIC_RELAXED);
}

void
tn_harness_block_present (TnHarness *h, const char *name, bool present)
{
  HostBlock *b = find_block (h, name);

  lock (h);
  if (b->info.present != present)
    {
      __atomic_store_n (&b->info.present, present, __ATOMIC_RELAXED);
      tn_block_host_changed (h->machine, name);
    }
  unlock (h);
}

bool
tn_harness_change_medium (TnHarness *h, const char *name, const char *file, bool force,
                          GError **error)
{
  bool done;

  lock (h);
  done = tn_machine_change_medium (h->machine, tn_harness_device (h, name), file, force, error);
  unlock (h);
  return done;
}

/* ---- DMA ---- */

typedef struct HostDma {
  TnHarness *harness;
  unsigned channel;
  GByteArray *give; /* to memory */
  GByteArray *take; /* from memory */
  size_t room;
} HostDma;

static void
free_dma (HostDma *dma)
{
  if (dma == NULL)
    return;
  g_byte_array_unref (dma->give);
  g_byte_array_unref (dma->take);
  g_free (dma);
}

static size_t
host_dma_move (void *self, uint8_t *data, size_t size, bool to_memory, bool tc, void *user)
{
  HostDma *dma = user;
  size_t moved;

  if (to_memory)
    {
      moved = MIN (size, dma->give->len);
      if (moved > 0)
        {
          memcpy (data, dma->give->data, moved);
          g_byte_array_remove_range (dma->give, 0, moved);
        }
    }
  else
    {
      moved = MIN (size, dma->room);
      g_byte_array_append (dma->take, data, moved);
      dma->room -= moved;
    }
  /* Like a card whose FIFO ran empty, or full. */
  if (to_memory ? dma->give->len == 0 : dma->room == 0)
    tn_isadma_request_host (dma->harness->machine, dma->channel, false);
  return moved;
}

static HostDma *
find_dma (TnHarness *h, unsigned channel)
{
  if (channel >= G_N_ELEMENTS (h->dma) || h->dma[channel] == NULL)
    die ("nothing plays DMA channel %u; tn_harness_add_dma () does", channel);
  return h->dma[channel];
}

void
tn_harness_add_dma (TnHarness *h, unsigned channel)
{
  HostDma *dma;

  if (channel >= G_N_ELEMENTS (h->dma) || h->dma[channel] != NULL)
    die ("DMA channel %u does not exist or is played already", channel);
  dma = g_new0 (HostDma, 1);
  dma->harness = h;
  dma->channel = channel;
  dma->give = g_byte_array_new ();
  dma->take = g_byte_array_new ();
  h->dma[channel] = dma;
  tn_isadma_set_host (h->machine, channel, host_dma_move, dma);
}

void
tn_harness_dma_give (TnHarness *h, unsigned channel, const void *bytes, size_t size)
{
  HostDma *dma = find_dma (h, channel);

  lock (h);
  g_byte_array_append (dma->give, bytes, size);
  tn_isadma_request_host (h->machine, channel, false); /* it may have been emptied since */
  if (size > 0)
    tn_isadma_request_host (h->machine, channel, true);
  unlock (h);
}

GByteArray *
tn_harness_dma_take (TnHarness *h, unsigned channel, size_t room)
{
  HostDma *dma = find_dma (h, channel);
  GByteArray *taken;

  lock (h);
  dma->room = room;
  tn_isadma_request_host (h->machine, channel, false);
  if (room > 0)
    tn_isadma_request_host (h->machine, channel, true);
  taken = dma->take;
  dma->take = g_byte_array_new ();
  unlock (h);
  return taken;
}

/* ---- State ---- */

void
tn_harness_key (TnHarness *h, TnKey key, bool down)
{
  lock (h);
  tn_machine_send_key (h->machine, key, down);
  unlock (h);
}

void
tn_harness_type (TnHarness *h, const char *text)
{
  lock (h);
  tn_machine_type (h->machine, text);
  unlock (h);
}

void
tn_harness_pointer (TnHarness *h, int dx, int dy, int wheel, unsigned buttons)
{
  TnPointerEvent event = { .dx = dx, .dy = dy, .wheel = wheel, .buttons = buttons };

  lock (h);
  tn_machine_send_pointer (h->machine, &event);
  unlock (h);
}

const TnScreen *
tn_harness_screen (TnHarness *h, const char *card)
{
  GError *error = NULL;
  const TnScreen *screen;

  lock (h);
  screen = tn_machine_screen (h->machine, card, &error);
  unlock (h);
  if (screen == NULL)
    die ("%s", error->message);
  return screen;
}

char *
tn_harness_screen_text (TnHarness *h, const char *card)
{
  return tn_screen_text (tn_harness_screen (h, card));
}

void
tn_harness_run (TnHarness *h, unsigned ms)
{
  int64_t end = g_get_monotonic_time () + ms * (int64_t) 1000;

  while (g_get_monotonic_time () < end)
    if (!g_main_context_iteration (h->context, FALSE))
      g_usleep (500);
}

GBytes *
tn_harness_save (TnHarness *h)
{
  GError *error = NULL;
  GVariant *state;
  GBytes *bytes;

  lock (h);
  state = tn_machine_save (h->machine, &error);
  unlock (h);
  if (state == NULL)
    die ("%s", error->message);
  bytes = g_variant_get_data_as_bytes (state);
  g_variant_unref (state);
  return bytes;
}

bool
tn_harness_load (TnHarness *h, GBytes *bytes, GError **error)
{
  GVariant *state = g_variant_new_from_bytes (G_VARIANT_TYPE_VARDICT, bytes, FALSE);
  bool done;

  g_variant_ref_sink (state);
  lock (h);
  done = tn_machine_load (h->machine, state, error);
  unlock (h);
  g_variant_unref (state);
  return done;
}

bool
tn_harness_swap (TnHarness *h, const char *name, const char *file, GError **error)
{
  TnDevice *device = tn_harness_device (h, name);
  bool done;

  lock (h);
  done = tn_machine_swap (h->machine, device, file, error);
  unlock (h);
  return done;
}

const TnPlugin *
tn_harness_plugin (TnHarness *h, const char *name)
{
  return tn_device_plugin (tn_harness_device (h, name));
}

GObject *
tn_harness_card (TnHarness *h, const char *name)
{
  return tn_device_card (tn_harness_device (h, name));
}

void
tn_harness_resources (TnHarness *h, const char *name, TnHarnessResourceFunc func, void *data)
{
  lock (h);
  tn_device_resources (tn_harness_device (h, name), func, data);
  unlock (h);
}

bool
tn_harness_take_reset (TnHarness *h, TnResetKind *kind)
{
  bool asked;

  lock (h);
  asked = h->reset_asked;
  if (asked && kind != NULL)
    *kind = h->reset_kind;
  h->reset_asked = false;
  unlock (h);
  return asked;
}

bool
tn_harness_take_poweroff (TnHarness *h)
{
  bool asked;

  lock (h);
  asked = h->poweroff_asked;
  h->poweroff_asked = false;
  unlock (h);
  return asked;
}
